/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Children of fork() go on in probed functions, and in the code they were forked with, whatever the parent does.
 * INLAY_STRESS_SECONDS: how long the two that race take (default 2).
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "victims.h"

/* As in test_swap: mix's NOP lies in one word, behind_endbr's crosses one. */
long mix(long a, long b);
long behind_endbr(long a, long b);
__asm__(".text\n.balign 16\nmix:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea (%rdi,%rdi,2), %rax\nadd %rsi, %rax\nret\n"
	".balign 16\nbehind_endbr:\nendbr64\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea (%rdi,%rdi,2), %rax\nadd %rsi, %rax\nret\n");

/* Neighbours, whose stubs and images lie among the others'. All cross a word. */
#define NEIGHBOURS 256
#define DISTANCE   32
extern u8 neighbours[];
__asm__(".text\n.balign 32\nneighbours:\n.rept 256\nendbr64\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea (%rdi,%rdi,2), %rax\nadd %rsi, %rax\nret\n.balign 32\n.endr\n");

static struct site_spec spec_at(const void *function, u32 offset)
{
	struct site_spec spec = nop_site(function);

	spec.address += offset;
	memcpy(spec.displaced.bytes, (const u8 *)function + offset, 5);
	return spec;
}

static long call_neighbour(u32 i, long a, long b)
{
	long (*function)(long, long) = (long (*)(long, long))(uintptr_t)(neighbours + i * DISTANCE);

	return function(a, b);
}

static u32 ran[3]; /* private, as the programs' map values are not: a child counts for itself */

static u64 count_first(struct abi_pt_regs_x86_64 *regs)
{
	ran[0] += regs->di + 7 == regs->si;
	return 0;
}

static u64 count_second(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	ran[1]++;
	return 0;
}

static u64 count_return(struct abi_pt_regs_x86_64 *regs)
{
	ran[2] += regs->ax != 0;
	return 0;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double stress_seconds(void)
{
	const char *text = getenv("INLAY_STRESS_SECONDS");

	return text ? atof(text) : 2;
}

static struct hook_link *attach_to(struct hook_attach *entries, u32 count)
{
	struct hook_link *link = NULL;
	u32 failed;

	CHECK_EQ(hook_attach_batch(entries, count, NULL, &link, &failed), 0);
	return link;
}

static enum poke_protocol protocol; /* of churn's neighbours */

/* Other programs at the same sites, and all neighbours: whatever was freed is soon written over. */
static void churn(u32 cycles)
{
	static struct hook_attach entries[NEIGHBOURS];

	for (u32 i = 0; i < NEIGHBOURS; i++) {
		struct site_spec spec = spec_at(neighbours + i * DISTANCE, 4);

		spec.protocol = (u8)protocol;
		entries[i] = attachment(spec, (enum hook_side)(i % 2), count_second, 8);
	}
	for (u32 i = 0; i < cycles; i++) {
		struct hook_attach same[] = {
			attachment(spec_at((void *)mix, 0), HOOK_RETURN, count_second, 9),
			attachment(spec_at((void *)behind_endbr, 4), HOOK_ENTRY, count_second, 10),
		};
		struct hook_link *link = attach_to(entries, NEIGHBOURS - i % 7);
		struct hook_link *other = attach_to(same, 2);

		CHECK_EQ(hook_detach(link, NULL), 0);
		CHECK_EQ(hook_detach(other, NULL), 0);
	}
}

/* Calls until told to stop. 0: every result was right and every call ran the programs it was forked with. */
static int call_until(int stop_fd)
{
	u32 calls = 0;
	char byte;

	alarm(60);
	memset(ran, 0, sizeof(ran));
	while (read(stop_fd, &byte, 1) != 1) {
		for (long i = 1; i <= 1000; i++) {
			if (mix(i, i + 7) != 4 * i + 7 || behind_endbr(i, i + 7) != 4 * i + 7)
				return 1;
		}
		calls += 1000;
	}
	if (ran[0] != 2 * calls || ran[2] != 2 * calls)
		return 2;
	return ran[1] != 0 ? 3 : 0;
}

static void a_child_runs_what_it_was_forked_with(void)
{
	struct hook_attach mine[] = {
		attachment(spec_at((void *)mix, 0), HOOK_ENTRY, count_first, 0),
		attachment(spec_at((void *)behind_endbr, 4), HOOK_ENTRY, count_first, 1),
		attachment(spec_at((void *)mix, 0), HOOK_RETURN, count_return, 2),
		attachment(spec_at((void *)behind_endbr, 4), HOOK_RETURN, count_return, 3),
	};
	struct hook_link *link = attach_to(mine, 4);
	int stop[2], status;
	pid_t child;

	CHECK_EQ(mix(1, 8), 11); /* the thread has a record now */
	CHECK_EQ(pipe2(stop, O_NONBLOCK), 0);
	child = fork();
	if (!child)
		_exit(call_until(stop[0]));
	CHECK_EQ(hook_detach(link, NULL), 0);
	churn(300);
	CHECK_EQ(write(stop[1], "x", 1), 1);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	close(stop[0]);
	close(stop[1]);
	CHECK_EQ(mix(1, 8), 11);
}

static NOP_AT_ENTRY long fork_inside(pid_t *ret_child)
{
	*ret_child = fork();
	return 77;
}

static void a_child_returns_through_a_hooked_return(void)
{
	struct hook_attach one =
		attachment(nop_site((void *)fork_inside), HOOK_RETURN, count_return, 4);
	struct hook_link *link = attach_to(&one, 1);
	u32 before = ran[2];
	pid_t child;
	int status;
	long result = fork_inside(&child);

	if (!child)
		_exit(result != 77 || ran[2] != before + 1);
	CHECK_EQ(result, 77);
	CHECK_EQ(ran[2], before + 1);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

/* A thread that has no record yet, and one that the child makes. */
static void *call_in_thread(void *opaque)
{
	*(long *)opaque = mix(2, 3) + behind_endbr(2, 3);
	return NULL;
}

static void a_child_has_threads_and_attaches_by_itself(void)
{
	struct hook_attach one = attachment(spec_at((void *)mix, 0), HOOK_ENTRY, count_first, 0);
	struct hook_attach two =
		attachment(spec_at((void *)behind_endbr, 4), HOOK_RETURN, count_second, 1);
	struct hook_link *link = attach_to(&one, 1), *own;
	int status;
	pid_t child = fork();

	if (!child) {
		pthread_t thread;
		long result = 0;
		int bad;

		alarm(20);
		bad = pthread_create(&thread, NULL, call_in_thread, &result) != 0;
		pthread_join(thread, NULL);
		bad |= result != 18;
		own = attach_to(&two, 1);
		ran[1] = 0;
		bad |= behind_endbr(2, 3) != 9 || ran[1] != 1;
		bad |= hook_detach(own, NULL) != 0 || hook_detach(link, NULL) != 0;
		bad |= mix(2, 3) != 9 || ((u8 *)(void *)mix)[0] != 0x0f;
		_exit(bad || test_failed_here);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	ran[0] = 0;
	CHECK_EQ(mix(1, 8), 11);
	CHECK_EQ(ran[0], 1);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

static bool stop_forking;

struct forker {
	u32 forks, bad, stuck;
};

/* Each child calls every function once. */
static void *fork_on(void *opaque)
{
	struct forker *forker = opaque;

	while (!__atomic_load_n(&stop_forking, __ATOMIC_RELAXED)) {
		pid_t child = fork();
		int status;

		if (!child) {
			alarm(3);
			for (u32 i = 0; i < NEIGHBOURS; i++) {
				if (call_neighbour(i, 5, 6) != 21)
					_exit(1);
			}
			_exit(mix(5, 6) != 21 || behind_endbr(5, 6) != 21);
		}
		if (child < 0)
			continue;
		waitpid(child, &status, 0);
		forker->forks++;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
			forker->stuck++;
		else
			forker->bad += status != 0;
	}
	return NULL;
}

/* A child may be forked between any two writes of a change. */
static void fork_at_any_time(void)
{
	struct forker forkers[2] = {{0}};
	double end = now() + stress_seconds();
	pthread_t threads[2];
	u32 cycles = 0;

	stop_forking = false;
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, fork_on, &forkers[i]), 0);
	for (; now() < end; cycles++)
		churn(1);
	__atomic_store_n(&stop_forking, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		CHECK_EQ(forkers[i].bad, 0);
		CHECK_EQ(forkers[i].stuck, 0);
		CHECK(forkers[i].forks > 20);
	}
	printf("# %u cycles, %u forks\n", cycles, forkers[0].forks + forkers[1].forks);
}

static void a_child_is_forked_at_any_time(void)
{
	fork_at_any_time();
}

static void a_child_is_forked_at_any_time_with_breakpoints(void)
{
	if (poke_allow_traps(true))
		SKIP("this processor needs no breakpoints");
	protocol = POKE_TRAP;
	fork_at_any_time();
	protocol = POKE_AUTO;
	CHECK_EQ(poke_allow_traps(false), 0);
}

int main(void)
{
	RUN(a_child_runs_what_it_was_forked_with);
	RUN(a_child_returns_through_a_hooked_return);
	RUN(a_child_has_threads_and_attaches_by_itself);
	RUN(a_child_is_forked_at_any_time);
	RUN(a_child_is_forked_at_any_time_with_breakpoints);
	return test_done();
}
