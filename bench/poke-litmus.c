/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * May a five-byte instruction be changed by one 8-byte store while another processor executes it? On this processor?
 *
 * nop5 <-> call, written through a second mapping of the page, by each method at each alignment; the other thread executes the
 * site all the time. Each cell runs in children, since a torn instruction kills: it ends after SECONDS or MOST_CRASHES.
 * No crash in a cell is no proof; crashes are.
 *
 * usage: poke-litmus [SECONDS]      a cell; default 1
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/sys.h"
#include "sync/reader.h"

#define PAGE	     4096u
#define SIZE	     (4 * PAGE)
#define MOST_CRASHES 50u
#define BURST	     64u

static const u8 nop[8] = {0x0f, 0x1f, 0x44, 0x00,
			  0x00, 0x83, 0xc0, 0x01}; /* add $1, %eax follows */

struct method {
	const char *name;
	void (*write)(volatile u8 *at, const u8 *bytes);
};

static void store8(volatile u8 *at, const u8 *bytes)
{
	u64 value;

	memcpy(&value, bytes, 8);
	__asm__ volatile("movq %1, (%0)" : : "r"(at), "r"(value) : "memory");
}

static void store_1_4(volatile u8 *at, const u8 *bytes)
{
	u32 tail;

	memcpy(&tail, bytes + 1, 4);
	*at = bytes[0];
	__asm__ volatile("movl %1, 1(%0)" : : "r"(at), "r"(tail) : "memory");
}

static void copy(volatile u8 *at, const u8 *bytes)
{
	u64 count = 5;
	const u8 *from = bytes;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(count) : : "memory");
}

/* One or two bytes, by one store. */
static void put_head(volatile u8 *at, const u8 *bytes, u32 size)
{
	u16 both = (u16)(bytes[0] | bytes[1] << 8);

	if (size == 1)
		*at = bytes[0];
	else
		__asm__ volatile("movw %1, (%0)" : : "r"(at), "r"(both) : "memory");
}

static void barrier(volatile u8 *at, const u8 *bytes, const u8 *head, u32 size, bool sync)
{
	put_head(at, head, size);
	if (sync)
		sync_core();
	for (u32 i = size; i < 5; i++)
		at[i] = bytes[i];
	if (sync)
		sync_core();
	put_head(at, bytes, size);
	if (sync)
		sync_core();
}

static void int3_alone(volatile u8 *at, const u8 *bytes)
{
	barrier(at, bytes, (const u8 *)"\xcc", 1, false);
}

static void int3_sync(volatile u8 *at, const u8 *bytes)
{
	barrier(at, bytes, (const u8 *)"\xcc", 1, true);
}

static void spin_sync(volatile u8 *at, const u8 *bytes)
{
	barrier(at, bytes, (const u8 *)"\xeb\xfe", 2, true);
}

static const struct method methods[] = {
	{"1 + 4 bytes", store_1_4}, {"memcpy", copy},		{"one 8-byte store", store8},
	{"int3", int3_alone},	    {"int3 + sync", int3_sync}, {"jmp . + sync", spin_sync},
};

static const struct {
	const char *name;
	u32 offset;
} places[] = {
	{"in a word", 0},	 {"across a word", 12},
	{"across a line", 60},	 {"across a line, first byte alone", 63},
	{"across a page", 4093},
};

struct tally {
	u64 executions, toggles, wrong;
};

struct cell {
	u64 site;
	struct tally *tally;
	bool ready;
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Executes the site anew until the breakpoint is gone. */
static void retry(int signal, siginfo_t *info, void *frame)
{
	(void)signal;
	(void)info;
	((ucontext_t *)frame)->uc_mcontext.gregs[REG_RIP]--;
}

static void *execute(void *opaque)
{
	struct cell *cell = opaque;

	pin(1);
	__atomic_store_n(&cell->ready, true, __ATOMIC_RELEASE);
	for (;;) {
		for (u32 i = 0; i < BURST; i++) {
			u64 result = 0;

			__asm__ volatile("call *%1"
					 : "+a"(result)
					 : "r"(cell->site)
					 : "memory", "cc");
			cell->tally->wrong += result != 1 && result != 17;
		}
		cell->tally->executions += BURST;
	}
	return NULL;
}

/* The site on its page, read-execute, and the same page read-write. */
static u8 *make_text(u32 offset, struct cell *cell)
{
	static const u8 called[] = {0x83, 0xc0, 0x10, 0xc3}; /* add $16, %eax; ret */
	int fd = memfd_create("litmus", MFD_CLOEXEC);
	u8 *write, *text;

	if (fd < 0 || ftruncate(fd, SIZE))
		return NULL;
	write = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	text = mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (write == MAP_FAILED || text == MAP_FAILED)
		return NULL;
	memset(write, 0xcc, SIZE);
	memcpy(write, called, sizeof(called));
	memcpy(write + PAGE + offset, nop, sizeof(nop));
	write[PAGE + offset + 8] = 0xc3;
	cell->site = ptr_to_u64(text) + PAGE + offset;
	return write + PAGE + offset;
}

static void run_child(const struct method *method, u32 offset, double seconds, struct tally *tally)
{
	struct sigaction action = {.sa_sigaction = retry, .sa_flags = SA_SIGINFO};
	struct cell cell = {.tally = tally};
	volatile u8 *at = make_text(offset, &cell);
	double end = now() + seconds;
	s32 distance = -(s32)(PAGE + offset + 5);
	u8 call[8];
	pthread_t thread;

	memcpy(call, nop, 8);
	call[0] = 0xe8;
	memcpy(call + 1, &distance, 4);
	sigaction(SIGTRAP, &action, NULL);
	alarm((u32)seconds + 5);
	pin(0);
	if (!at || sync_core() || pthread_create(&thread, NULL, execute, &cell))
		_exit(2);
	while (!__atomic_load_n(&cell.ready, __ATOMIC_ACQUIRE))
		sched_yield();
	do {
		for (u32 i = 0; i < BURST; i++)
			method->write(at, i % 2 ? nop : call);
		tally->toggles += BURST;
	} while (now() < end);
	_exit(0);
}

/* Returns crashes, or -1. */
static int run_cell(const struct method *method, u32 offset, double seconds, struct tally *tally)
{
	double end = now() + seconds;
	u32 crashes = 0;

	memset(tally, 0, sizeof(*tally));
	do {
		int status = 0;
		pid_t child = fork();

		if (!child)
			run_child(method, offset, end - now(), tally);
		if (child < 0 || waitpid(child, &status, 0) != child ||
		    (WIFEXITED(status) && WEXITSTATUS(status)))
			return -1;
		crashes += (u32)WIFSIGNALED(status);
	} while (now() < end && crashes < MOST_CRASHES);
	return (int)crashes;
}

static void print_row(const char *method, const char *place, const char *metric, u64 value)
{
	printf("{\"bench\":\"poke-litmus\",\"variant\":\"%s, %s\",\"metric\":\"%s\",\"unit\":\"\","
	       "\"value\":%llu,\"spread\":null}\n",
	       method, place, metric, (unsigned long long)value);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1;
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || tally == MAP_FAILED) {
		fprintf(stderr, "poke-litmus: needs two processors\n");
		return 1;
	}
	for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
		for (size_t p = 0; p < ARRAY_SIZE(places); p++) {
			int crashes = run_cell(&methods[m], places[p].offset, seconds, tally);

			if (crashes < 0) {
				fprintf(stderr, "poke-litmus: a child could not run\n");
				return 1;
			}
			print_row(methods[m].name, places[p].name, "executions", tally->executions);
			print_row(methods[m].name, places[p].name, "toggles", tally->toggles);
			print_row(methods[m].name, places[p].name, "crashes", (u64)crashes);
			print_row(methods[m].name, places[p].name, "wrong results", tally->wrong);
			fflush(stdout);
		}
	}
	return 0;
}
