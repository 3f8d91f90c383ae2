/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread is asleep in a program while the programs behind it are detached one after the other: the three situations of
 * CVE-2026-98799, where the kernel freed programs that the sleeper was about to call.
 *
 * The programs behind it are code in pages of their own, which are unmapped as soon as they may be freed: whoever enters them then
 * dies.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "victims.h"

#define PAGE	4096
#define RESULT	11
#define LATER	2 /* programs that are detached meanwhile */
#define WAIT_MS 10

int busy_victim(int a, int b);
__asm__(".text\n.balign 16\nbusy_victim:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nlea (%rdi,%rsi,2), %eax\nret\n");

static const struct signature signature = {.known = 1,
					   .slot_count = 2,
					   .returns = SIGNATURE_INTEGER,
					   .slots = {SIGNATURE_GENERAL, SIGNATURE_GENERAL + 1}};

static struct site_spec site; /* as it was before anything was attached */
static bool asleep, awake;
static u64 runs[LATER];

static u64 sleep_in_program(u64 *args)
{
	(void)args;
	__atomic_store_n(&asleep, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&awake, __ATOMIC_ACQUIRE))
		sched_yield();
	return 0;
}

/* movabs $counter, %rax; incq (%rax); xor %eax, %eax; ret */
static void *make_program(u64 *counter)
{
	u8 code[] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0xff, 0x00, 0x31, 0xc0, 0xc3};
	u8 *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	memcpy(code + 2, &counter, 8);
	memcpy(page, code, sizeof(code));
	CHECK_EQ(mprotect(page, PAGE, PROT_READ | PROT_EXEC), 0);
	return page;
}

static struct hook_link *attach(enum hook_side side, const void *program, u32 slot)
{
	struct hook_attach entry = attachment(site, side, NULL, slot);
	struct hook_link *link = NULL;
	u32 failed;

	entry.program.entry = ptr_to_u64(program);
	if (side == HOOK_EXIT || side == HOOK_ENTRY)
		entry.signature = signature;
	CHECK_EQ(hook_attach_batch(&entry, 1, NULL, &link, &failed), 0);
	return link;
}

static void *call_victim(void *ret_result)
{
	*(int *)ret_result = busy_victim(3, 4);
	return NULL;
}

/* The sleeper's program and those behind it, which are detached in this order or the other. */
static void check(enum hook_side sleeper, enum hook_side later, bool last_first)
{
	struct hook_link *links[LATER], *sleeping;
	void *programs[LATER];
	pthread_t thread;
	int result = 0;

	asleep = awake = false;
	memset(runs, 0, sizeof(runs));
	hook_set_timeout(WAIT_MS);
	sleeping = attach(sleeper, (const void *)sleep_in_program, 0);
	for (u32 i = 0; i < LATER; i++) {
		programs[i] = make_program(&runs[i]);
		links[i] = attach(later, programs[i], 1 + i);
	}
	pthread_create(&thread, NULL, call_victim, &result);
	while (!__atomic_load_n(&asleep, __ATOMIC_ACQUIRE))
		sched_yield();
	for (u32 i = 0; i < LATER; i++) {
		CHECK_EQ(hook_detach(links[last_first ? LATER - 1 - i : i], NULL), -ETIMEDOUT);
		CHECK(hook_reap() > 0);
	}
	/* Who calls now meets neither, and is not held up. */
	__atomic_store_n(&awake, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	CHECK_EQ(result, RESULT);
	CHECK_EQ(hook_reap(), 0);
	for (u32 i = 0; i < LATER; i++) {
		CHECK(runs[i] <= 1);
		munmap(programs[i], PAGE);
	}
	CHECK_EQ(busy_victim(3, 4), RESULT);
	CHECK_EQ(hook_detach(sleeping, NULL), 0);
	CHECK_EQ(busy_victim(3, 4), RESULT);
}

static void asleep_in_fentry_before_others(void)
{
	check(HOOK_ENTRY, HOOK_ENTRY, false);
	check(HOOK_ENTRY, HOOK_ENTRY, true);
}

static void asleep_in_fexit_before_others(void)
{
	check(HOOK_EXIT, HOOK_EXIT, false);
	check(HOOK_EXIT, HOOK_EXIT, true);
}

static void asleep_in_fentry_while_fexits_go(void)
{
	check(HOOK_ENTRY, HOOK_EXIT, false);
	check(HOOK_ENTRY, HOOK_EXIT, true);
}

static void asleep_at_a_hooked_return_before_others(void)
{
	check(HOOK_RETURN, HOOK_RETURN, false);
	check(HOOK_RETURN, HOOK_RETURN, true);
}

int main(void)
{
	site = nop_site((void *)busy_victim);
	RUN(asleep_in_fentry_before_others);
	RUN(asleep_in_fexit_before_others);
	RUN(asleep_in_fentry_while_fexits_go);
	RUN(asleep_at_a_hooked_return_before_others);
	return test_done();
}
