/* SPDX-License-Identifier: BSD-2-Clause */
/* Probes come and go under threads that never stop calling. INLAY_STRESS_SECONDS: how long (default 2). */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "base/arena.h"
#include "victims.h"

#define THREADS 3

/*
 * mix's NOP lies in one word. behind_endbr's is at entry + 4 and crosses a word, so the spin protocol changes it. Both are one
 * instruction, unlike the five that gcc's patchable_function_entry makes, so that nobody can be parked inside.
 */
long mix(long a, long b);
long behind_endbr(long a, long b);
__asm__(".text\n.balign 16\nmix:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea (%rdi,%rdi,2), %rax\nadd %rsi, %rax\nret\n"
	".balign 16\nbehind_endbr:\nendbr64\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea (%rdi,%rdi,2), %rax\nadd %rsi, %rax\nret\n");

static struct site_spec sites[2];

static bool stop_calling;
static u64 calls, wrong;

static u64 spoil(struct abi_pt_regs_x86_64 *regs)
{
	u64 sum = regs->di + regs->si;

	/* What the image must put back. */
	__asm__ volatile("mov $-1, %%rsi\nmov $-1, %%rdx\nmov $-1, %%rcx\nmov $-1, %%r8\n"
			 "mov $-1, %%r9\nmov $-1, %%r10\nmov $-1, %%r11\n"
			 :
			 :
			 : "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11");
	return sum;
}

static void *call_on(void *opaque)
{
	u64 done = 0, bad = 0;

	(void)opaque;
	while (!__atomic_load_n(&stop_calling, __ATOMIC_RELAXED)) {
		for (long i = 0; i < 1000; i++, done += 2) {
			bad += mix(i, 7) != 3 * i + 7;
			bad += behind_endbr(i, 9) != 3 * i + 9;
		}
	}
	__atomic_fetch_add(&calls, done, __ATOMIC_RELAXED);
	__atomic_fetch_add(&wrong, bad, __ATOMIC_RELAXED);
	return NULL;
}

/* A signal handler that may interrupt anything, stubs included, and calls too. */
static void handle(int signal)
{
	(void)signal;
	if (mix(1, 2) != 5 || behind_endbr(1, 2) != 5)
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
}

static u32 count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	u32 count = 0;
	int c;

	while (maps && (c = fgetc(maps)) != EOF)
		count += c == '\n';
	if (maps)
		fclose(maps);
	return count;
}

static void find_sites(void)
{
	sites[0] = nop_site((void *)mix);
	sites[1] = nop_site((void *)behind_endbr);
	sites[1].address += 4;
	memcpy(sites[1].displaced.bytes, (char *)(void *)behind_endbr + 4, 5);
}

static struct hook_link *attach_two(enum hook_side side, u32 slot)
{
	struct hook_attach two[] = {
		attachment(sites[0], side, spoil, slot),
		attachment(sites[1], side, spoil, slot + 1),
	};
	struct hook_link *link = NULL;
	u32 failed;

	CHECK_EQ(hook_attach_batch(two, 2, NULL, &link, &failed), 0);
	return link;
}

static void detach(struct hook_link *link, u32 *timeouts)
{
	int err = hook_detach(link, NULL);

	*timeouts += err == -ETIMEDOUT;
	if (err && err != -ETIMEDOUT)
		CHECK_EQ(err, 0);
}

static void cycle(u32 *timeouts)
{
	struct hook_link *entry = attach_two(HOOK_ENTRY, 0), *exit, *more;

	exit = attach_two(HOOK_RETURN, 2);
	more = attach_two(HOOK_ENTRY, 4);
	detach(entry, timeouts);
	detach(exit, timeouts);
	detach(more, timeouts);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void start_signals(long microseconds)
{
	struct itimerval timer = {{0, (int)microseconds}, {0, (int)microseconds}};
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void probes_come_and_go_under_threads(void)
{
	const char *text = getenv("INLAY_STRESS_SECONDS");
	u8 before[2][16];
	pthread_t threads[THREADS];
	u32 cycles = 0, timeouts = 0, mappings = 0;
	size_t arena = 0;
	u64 hits = reader_hits(0);
	sigset_t alarm;
	double end;

	find_sites();
	memcpy(before[0], (void *)mix, 16);
	memcpy(before[1], (void *)behind_endbr, 16);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, call_on, NULL);
	/* The calling threads take the signals. */
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	start_signals(200);
	/* The first cycles make what stays: stubs, records, shadow stacks. */
	for (end = now() + (text ? atof(text) : 2); cycles < 150 || now() < end; cycles++) {
		cycle(&timeouts);
		if (cycles == 100) {
			hook_reap();
			mappings = count_mappings();
			arena = arena_in_use();
		}
	}
	start_signals(0);
	hook_reap();
	CHECK_EQ(count_mappings(), mappings);
	CHECK_EQ(arena_in_use(), arena);
	__atomic_store_n(&stop_calling, true, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(hook_reap(), 0);
	printf("# %u cycles, %llu calls, %llu hits, %u timeouts, %llu wrong\n", cycles,
	       (unsigned long long)calls, (unsigned long long)(reader_hits(0) - hits), timeouts,
	       (unsigned long long)wrong);
	CHECK_EQ(wrong, 0);
	CHECK(reader_hits(0) > hits);
	CHECK(memcmp(before[0], (void *)mix, 16) == 0);
	CHECK(memcmp(before[1], (void *)behind_endbr, 16) == 0);
}

int main(void)
{
	RUN(probes_come_and_go_under_threads);
	return test_done();
}
