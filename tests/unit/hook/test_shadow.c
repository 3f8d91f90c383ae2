/* SPDX-License-Identifier: BSD-2-Clause */
/* Exit probes on functions that do not come back in the usual way. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "victims.h"

static u64 entered, returned, last_result, last_caller;

static u64 note_entry(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	entered++;
	return 0;
}

static u64 note_return(struct abi_pt_regs_x86_64 *regs)
{
	returned++;
	last_result = regs->ax;
	last_caller = regs->ip;
	return 0;
}

/* Without a program at the entry, returns are hooked by another path. */
static bool returns_only;

#define CHECK_ENTERED(count) CHECK_EQ(entered, returns_only ? 0 : (u64)(count))

static struct hook_link *attach_both(const void *function)
{
	struct hook_attach both[] = {
		attachment(nop_site(function), HOOK_RETURN, note_return, 1),
		attachment(nop_site(function), HOOK_ENTRY, note_entry, 0),
	};
	struct hook_link *link = NULL;
	u32 failed;

	entered = returned = 0;
	CHECK_EQ(hook_attach_batch(both, returns_only ? 1 : 2, NULL, &link, &failed), 0);
	return link;
}

static NOP_AT_ENTRY long recurse(long depth)
{
	long below;

	if (depth == 0)
		return 0;
	below = recurse(depth - 1);
	__asm__ volatile("" : "+r"(below));
	return below + 1;
}

static void recursion_comes_back_level_by_level(void)
{
	struct hook_link *link = attach_both((void *)recurse);
	u64 missed = reader_missed();

	CHECK_EQ(recurse(10000), 10000);
	CHECK_ENTERED(10001);
	CHECK_EQ(returned, 10001);
	CHECK_EQ(last_result, 10000);
	CHECK_EQ(reader_missed(), missed);
	/* Deeper than the shadow stack: the function is right, and what was not seen is counted. */
	CHECK_EQ(recurse(30000), 30000);
	CHECK_ENTERED(10001 + 30001);
	CHECK(returned < 10001 + 30001);
	CHECK_EQ(returned + reader_missed() - missed, 10001 + 30001);
	returned = 0;
	CHECK_EQ(recurse(100), 100);
	CHECK_EQ(returned, 101);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

static jmp_buf back;

static NOP_AT_ENTRY int jump_out(int depth)
{
	volatile int here = depth;

	if (depth == 0)
		longjmp(back, 1);
	return depth < 0 ? here : jump_out(here - 1) + here;
}

static NOP_AT_ENTRY int jump_over(int depth)
{
	volatile int here = depth;

	return jump_out(here);
}

static void frames_left_by_longjmp_are_forgotten(void)
{
	struct hook_link *over = attach_both((void *)jump_over);
	struct hook_link *out = attach_both((void *)jump_out);
	struct hook_link *deep = attach_both((void *)recurse);
	u64 missed = reader_missed();
	volatile int round;

	/* Leaves 60,000 entries behind in a stack of 21,845. */
	for (round = 0; round < 5000; round++) {
		if (!setjmp(back))
			jump_over(10);
	}
	CHECK_EQ(returned, 0);
	CHECK_ENTERED(5000 * 12);
	CHECK_EQ(recurse(5000), 5000);
	CHECK_EQ(returned, 5001);
	CHECK_EQ(reader_missed(), missed);
	CHECK_EQ(hook_detach(over, NULL), 0);
	CHECK_EQ(hook_detach(out, NULL), 0);
	CHECK_EQ(hook_detach(deep, NULL), 0);
}

/* tail_first jumps to tail_second, which returns through the slot of both. */
long tail_first(long value);
long tail_second(long value);
__asm__(".text\n.balign 16\ntail_first:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"add $1, %rdi\njmp tail_second\n"
	".balign 16\ntail_second:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea 100(%rdi), %rax\nret\n");

static void sibling_calls_share_a_return_slot(void)
{
	struct hook_link *first = attach_both((void *)tail_first);
	struct hook_link *second = attach_both((void *)tail_second);
	u64 caller;

	CHECK_EQ(tail_second(1), 101);
	CHECK_EQ(returned, 1);
	CHECK_EQ(tail_first(1), 102);
	caller = last_caller;
	CHECK_ENTERED(3);
	CHECK_EQ(returned, 3);
	CHECK_EQ(last_result, 102);
	/* Both saw the caller proper, not one another's landing. */
	CHECK(caller - ptr_to_u64((void *)sibling_calls_share_a_return_slot) < 4096);
	CHECK_EQ(hook_detach(first, NULL), 0);
	CHECK_EQ(tail_first(1), 102);
	CHECK_EQ(returned, 4);
	CHECK_EQ(hook_detach(second, NULL), 0);
}

static u64 nested_hits;

static NOP_AT_ENTRY int sleepy(int value)
{
	__asm__ volatile("" : : : "memory");
	return value + 1;
}

/* The probe hits the probed function again: guarded, and counted. */
static u64 call_again(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	nested_hits++;
	sleepy(5);
	return 0;
}

static void a_program_does_not_run_inside_itself(void)
{
	struct hook_attach both[] = {
		attachment(nop_site((void *)sleepy), HOOK_ENTRY, call_again, 7),
		attachment(nop_site((void *)sleepy), HOOK_RETURN, call_again, 63),
	};
	u64 missed = reader_missed(), hits = reader_hits(7) + reader_hits(63);
	struct hook_link *link;
	u32 failed;

	nested_hits = 0;
	CHECK_EQ(hook_attach_batch(both, 2, NULL, &link, &failed), 0);
	CHECK_EQ(sleepy(1), 2);
	/* Outer entry runs 7, whose inner call runs 63 at its return; outer return runs 63, whose inner entry runs 7. The
	 * innermost calls of each find one or both guards set. */
	CHECK_EQ(reader_hits(7) + reader_hits(63) - hits, nested_hits);
	CHECK(nested_hits >= 2);
	CHECK(reader_missed() > missed);
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK_EQ(reader_self()->active, 0);
	CHECK_EQ(reader_self()->nest, 0);
}

static u64 signals, spoiled;

static void handle(int signal)
{
	int error = errno;

	(void)signal;
	if (sleepy(3) != 4)
		_exit(1);
	spoiled += errno != error;
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

static void *send_signals(void *opaque)
{
	/* A signal that is pending already is lost: until enough have come. */
	for (int i = 0; i < 10000000 && __atomic_load_n(&signals, __ATOMIC_RELAXED) < 2000; i++) {
		pthread_kill(*(pthread_t *)opaque, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

static void signal_handlers_hit_the_same_probe(void)
{
	struct hook_link *link = attach_both((void *)sleepy);
	pthread_t self = pthread_self(), sender;
	struct sigaction action = {.sa_handler = handle};
	u64 calls = 0, missed = reader_missed();

	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	pthread_create(&sender, NULL, send_signals, &self);
	while (pthread_tryjoin_np(sender, NULL)) {
		for (int i = 0; i < 100; i++) {
			if (sleepy(i) != i + 1)
				CHECK(false);
			calls++;
		}
	}
	printf("# %llu signals, %llu missed\n", (unsigned long long)signals,
	       (unsigned long long)(reader_missed() - missed));
	CHECK(signals >= 2000 && spoiled == 0);
	CHECK_EQ(entered + returned + reader_missed() - missed,
		 (returns_only ? 1 : 2) * (calls + signals));
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK_EQ(reader_self()->nest, 0);
}

static ucontext_t main_context, co_context[2];

static NOP_AT_ENTRY long co_work(long id)
{
	for (int i = 0; i < 3; i++)
		swapcontext(&co_context[id], &main_context);
	return id + 10;
}

static void co_main(int id)
{
	if (co_work(id) != id + 10)
		_exit(1);
}

static void coroutines_interleave(void)
{
	struct hook_link *link = attach_both((void *)co_work);
	static char stacks[2][65536];

	for (int i = 0; i < 2; i++) {
		getcontext(&co_context[i]);
		co_context[i].uc_stack.ss_sp = stacks[i];
		co_context[i].uc_stack.ss_size = sizeof(stacks[i]);
		co_context[i].uc_link = &main_context;
		makecontext(&co_context[i], (void (*)(void))co_main, 1, i);
	}
	/* 0 first in, first out: not the order of a stack. */
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 2; i++)
			swapcontext(&main_context, &co_context[i]);
	}
	CHECK_ENTERED(2);
	CHECK_EQ(returned, 2);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

static void *finish_elsewhere(void *opaque)
{
	(void)opaque;
	for (int round = 0; round < 3; round++)
		swapcontext(&main_context, &co_context[0]);
	return NULL;
}

static void a_coroutine_may_end_in_another_thread(void)
{
	struct hook_link *link = attach_both((void *)co_work);
	static char stack[65536];
	pthread_t thread;

	getcontext(&co_context[0]);
	co_context[0].uc_stack.ss_sp = stack;
	co_context[0].uc_stack.ss_size = sizeof(stack);
	co_context[0].uc_link = &main_context;
	makecontext(&co_context[0], (void (*)(void))co_main, 1, 0);
	swapcontext(&main_context, &co_context[0]);
	pthread_create(&thread, NULL, finish_elsewhere, NULL);
	pthread_join(thread, NULL);
	CHECK_ENTERED(1);
	CHECK_EQ(returned, 1);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

static struct hook_link *while_inside;

static NOP_AT_ENTRY long detach_inside(long value)
{
	CHECK_EQ(hook_detach(while_inside, NULL), 0);
	return value + 1;
}

static void a_function_returns_after_its_probe_went(void)
{
	while_inside = attach_both((void *)detach_inside);
	CHECK_EQ(detach_inside(4), 5);
	CHECK_ENTERED(1);
	CHECK_EQ(returned, 0);
}

static NOP_AT_ENTRY int fork_inside(void)
{
	return fork();
}

static void both_sides_of_a_fork_return(void)
{
	struct hook_link *link = attach_both((void *)fork_inside);
	int pid = fork_inside(), status = -1;

	if (pid == 0)
		_exit(returned == 1 && last_result == 0 ? 0 : 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(returned, 1);
	CHECK_EQ(last_result, pid);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

/* Results in vector and x87 registers come through. */
static NOP_AT_ENTRY double half(double value)
{
	return value / 2;
}

static NOP_AT_ENTRY long double third(long double value)
{
	return value / 3;
}

static void floating_results_survive(void)
{
	struct hook_link *first = attach_both((void *)half);
	struct hook_link *second = attach_both((void *)third);

	CHECK(half(3.0) == 1.5);
	CHECK(third(4.5L) == 1.5L);
	CHECK_EQ(returned, 2);
	CHECK_EQ(hook_detach(first, NULL), 0);
	CHECK_EQ(hook_detach(second, NULL), 0);
}

/* The way from entry to function changes under a thread that is between them. */
static void an_entry_program_comes_and_goes(void)
{
	struct hook_attach entry = attachment(nop_site((void *)sleepy), HOOK_ENTRY, note_entry, 0);
	struct hook_link *returns, *entries;

	returns_only = true;
	returns = attach_both((void *)sleepy);
	for (u64 round = 1; round <= 3; round++) {
		CHECK_EQ(sleepy(1), 2);
		CHECK_EQ(entered, round - 1);
		CHECK_EQ(hook_attach_batch(&entry, 1, NULL, &entries, NULL), 0);
		CHECK_EQ(sleepy(1), 2);
		CHECK_EQ(entered, round);
		CHECK_EQ(returned, 2 * round);
		CHECK_EQ(hook_detach(entries, NULL), 0);
	}
	CHECK_EQ(hook_detach(returns, NULL), 0);
	CHECK_EQ(sleepy(1), 2);
	CHECK_EQ(returned, 6);
}

int main(void)
{
	for (int pass = 0; pass < 2; pass++) {
		returns_only = pass;
		RUN(recursion_comes_back_level_by_level);
		RUN(frames_left_by_longjmp_are_forgotten);
		RUN(sibling_calls_share_a_return_slot);
		RUN(a_program_does_not_run_inside_itself);
		RUN(signal_handlers_hit_the_same_probe);
		RUN(coroutines_interleave);
		RUN(a_coroutine_may_end_in_another_thread);
		RUN(a_function_returns_after_its_probe_went);
		RUN(both_sides_of_a_fork_return);
		RUN(floating_results_survive);
	}
	RUN(an_entry_program_comes_and_goes);
	return test_done();
}
