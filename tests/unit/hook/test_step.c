/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of attachment, changed while a thread stands still at every instruction boundary of its way: see step.h. */
#include "step.h"

static const struct kind kinds[] = {
	{"entry", {HOOK_ENTRY}, 1, false, 0},
	{"return", {HOOK_RETURN}, 1, false, 0},
	{"entry and return", {HOOK_ENTRY, HOOK_RETURN}, 2, false, 0},
	{"fentry", {HOOK_ENTRY}, 1, true, 0},
	{"fexit", {HOOK_EXIT}, 1, true, 0},
	{"fentry and fexit", {HOOK_ENTRY, HOOK_EXIT}, 2, true, 0},
	{"fmod_ret", {HOOK_MODIFY}, 1, true, 0},
	{"fmod_ret that skips", {HOOK_MODIFY}, 1, true, RESULT},
	{"fentry, fmod_ret, fexit", {HOOK_ENTRY, HOOK_MODIFY, HOOK_EXIT}, 3, true, 0},
};

static void walk_all(u32 victim)
{
	u32 boundaries = 0;

	if (UNDER_TSAN)
		SKIP("the sanitizer's own code is stepped through and uses vector registers");
	for (u32 i = 0; i < ARRAY_SIZE(kinds) && !test_failed_here; i++)
		boundaries += walk(victim, &kinds[i], MANNER_STOPPED);
	printf("# %u boundaries visited\n", boundaries);
}

static void every_boundary_of_a_nop_site(void)
{
	walk_all(0);
}

static void every_boundary_of_a_displaced_prologue(void)
{
	walk_all(1);
}

int main(void)
{
	if (!share())
		return 1;
	RUN(every_boundary_of_a_nop_site);
	RUN(every_boundary_of_a_displaced_prologue);
	return test_done();
}
