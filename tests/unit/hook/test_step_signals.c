/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attachments changed while a thread is asleep in a signal handler that interrupted it at every instruction boundary of its way
 * through a probe: see step.h.
 */
#include "step.h"

static const struct kind kinds[] = {
	{"return", {HOOK_RETURN}, 1, false, 0},
	{"fexit", {HOOK_EXIT}, 1, true, 0},
	{"entry and return", {HOOK_ENTRY, HOOK_RETURN}, 2, false, 0},
	{"fentry, fmod_ret, fexit", {HOOK_ENTRY, HOOK_MODIFY, HOOK_EXIT}, 3, true, 0},
};

static void walk_all(enum manner manner)
{
	u32 boundaries = 0;

	if (UNDER_TSAN)
		SKIP("the sanitizer's own code is stepped through and uses vector registers");
	for (u32 victim = 0; victim < ARRAY_SIZE(sites); victim++) {
		for (u32 i = 0; i < ARRAY_SIZE(kinds) && !test_failed_here; i++)
			boundaries += walk(victim, &kinds[i], manner);
	}
	printf("# %u boundaries visited\n", boundaries);
}

static void a_handler_that_returns_sleeps_at_every_boundary(void)
{
	walk_all(MANNER_HANDLER);
}

static void a_handler_that_jumps_out_sleeps_at_every_boundary(void)
{
	walk_all(MANNER_JUMP);
}

int main(void)
{
	if (!share())
		return 1;
	RUN(a_handler_that_returns_sleeps_at_every_boundary);
	RUN(a_handler_that_jumps_out_sleeps_at_every_boundary);
	return test_done();
}
