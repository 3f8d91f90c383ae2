/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Code that changes under the feet of another processor, in every way that the poker knows.
 *
 * A cell is a protocol, a place (how the five bytes lie to words, cache lines and pages) and a transition. Each runs in a child, so
 * that a crash is counted and not the end: one thread toggles the site, the other, on another processor, executes it all
 * the time and checks that it did what the old or the new instruction does.
 *
 * usage: poke SECONDS      for all cells together
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "hook/poke.h"
#include "sync/reader.h"

#define PAGE	     4096u
#define SITE_PAGE    PAGE /* the site is on the second page, or runs from it into the third */
#define BURST	     64u
#define MOST_CRASHES 20u

struct place {
	const char *name;
	u32 offset;
};

/* Some offsets of each class; a child takes one, the next child the next. */
static const struct place word_places[] = {{"start of word", 0}, {"end of word", 59}};
static const struct place spin_places[] = {
	{"in a word", 2}, {"across a word", 4}, {"across a line", 62}, {"across a page", 4094}};
static const struct place stop_places[] = {
	{"in a word", 1}, {"across a word", 7}, {"across a line", 63}, {"across a page", 4095}};
static const struct place trap_places[] = {
	{"in a word", 3}, {"across a word", 7}, {"across a line", 61}, {"across a page", 4093}};

static const struct {
	const char *name;
	enum poke_protocol protocol;
	const struct place *places;
	u32 count;
} protocols[] = {
	{"word", POKE_WORD, word_places, ARRAY_SIZE(word_places)},
	{"spin", POKE_SPIN, spin_places, ARRAY_SIZE(spin_places)},
	{"stop", POKE_STOP, stop_places, ARRAY_SIZE(stop_places)},
	{"trap", POKE_TRAP, trap_places, ARRAY_SIZE(trap_places)},
};

/*
 * What a site may hold, and what a call of it then gives: the site is followed by an add of 1 and ret.
 * RAW is add $64, %eax, which has five bytes.
 */
enum holds { HOLDS_NOP, HOLDS_CALL, HOLDS_CALL2, HOLDS_JUMP, HOLDS_RAW };

static const u8 raw_bytes[8] = {0x05, 64, 0, 0, 0};
static const u64 results[] = {
	[HOLDS_NOP] = 1, [HOLDS_CALL] = 17, [HOLDS_CALL2] = 33, [HOLDS_JUMP] = 2, [HOLDS_RAW] = 65};

static const struct {
	const char *name;
	enum holds from, to;
} transitions[] = {
	{"NOP  <-> CALL", HOLDS_NOP, HOLDS_CALL},  {"NOP  <-> JUMP", HOLDS_NOP, HOLDS_JUMP},
	{"CALL <-> JUMP", HOLDS_CALL, HOLDS_JUMP}, {"CALL <-> CALL'", HOLDS_CALL, HOLDS_CALL2},
	{"RAW  <-> JUMP", HOLDS_RAW, HOLDS_JUMP},
};

/* Shared with the child, so that what it did before it crashed counts. */
struct tally {
	u64 executions, toggles, wrong;
	int error; /* of the poker */
};

struct cell {
	u64 site, call, call2, jump;
	u64 good[2];
	struct tally *tally;
	bool ready, done;
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

/* ---- the site ---- */

static bool make_text(struct cell *cell, u32 offset, enum holds first)
{
	static u8 content[4 * PAGE];
	u32 site = SITE_PAGE + offset;
	int fd = memfd_create("torture", MFD_CLOEXEC);
	u8 *text;

	memset(content, 0xcc, sizeof(content));
	memcpy(content, "\x83\xc0\x10\xc3", 4);	      /* add $16, %eax; ret */
	memcpy(content + 64, "\x83\xc0\x20\xc3", 4);  /* add $32, %eax; ret */
	memcpy(content + 128, "\x83\xc0\x02\xc3", 4); /* add $2, %eax; ret */
	memcpy(content + site + 5, "\x83\xc0\x01\xc3", 4);
	if (first == HOLDS_RAW)
		memcpy(content + site, raw_bytes, 5);
	else
		memcpy(content + site, "\x0f\x1f\x44\x00\x00", 5);
	if (fd < 0 || write(fd, content, sizeof(content)) != (ssize_t)sizeof(content))
		return false;
	text = mmap(NULL, sizeof(content), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	close(fd);
	cell->site = ptr_to_u64(text) + site;
	cell->call = ptr_to_u64(text);
	cell->call2 = ptr_to_u64(text) + 64;
	cell->jump = ptr_to_u64(text) + 128;
	return text != MAP_FAILED;
}

static struct poke_content content_of(const struct cell *cell, enum holds holds)
{
	switch (holds) {
	case HOLDS_CALL:
		return (struct poke_content){PATCH_CALL, cell->call, NULL};
	case HOLDS_CALL2:
		return (struct poke_content){PATCH_CALL, cell->call2, NULL};
	case HOLDS_JUMP:
		return (struct poke_content){PATCH_JUMP, cell->jump, NULL};
	case HOLDS_RAW:
		return (struct poke_content){PATCH_RAW, 0, raw_bytes};
	default:
		return (struct poke_content){PATCH_NOP, 0, NULL};
	}
}

static u64 call_site(u64 site)
{
	u64 result = 0;

	__asm__ volatile("call *%1" : "+a"(result) : "r"(site) : "memory", "cc");
	return result;
}

static void *execute(void *opaque)
{
	struct cell *cell = opaque;
	struct tally *tally = cell->tally;

	pin(1);
	__atomic_store_n(&cell->ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&cell->done, __ATOMIC_RELAXED)) {
		u64 wrong = 0;

		for (u32 i = 0; i < BURST; i++) {
			u64 result = call_site(cell->site);

			wrong += result != cell->good[0] && result != cell->good[1];
		}
		tally->executions += BURST;
		tally->wrong += wrong;
	}
	return NULL;
}

/* ---- stopping the other thread, by a signal ---- */

enum parking { PARK_NONE, PARK_ASKED, PARK_PARKED };

static u32 parking;
static pthread_t executor;

static void park(int signal)
{
	(void)signal;
	__atomic_store_n(&parking, PARK_PARKED, __ATOMIC_RELEASE);
	while (__atomic_load_n(&parking, __ATOMIC_ACQUIRE) == PARK_PARKED)
		__builtin_ia32_pause();
}

static int stop(void *opaque, const struct poke *pokes, u32 count)
{
	(void)opaque;
	(void)pokes;
	(void)count;
	__atomic_store_n(&parking, PARK_ASKED, __ATOMIC_RELEASE);
	pthread_kill(executor, SIGUSR1);
	while (__atomic_load_n(&parking, __ATOMIC_ACQUIRE) != PARK_PARKED)
		__builtin_ia32_pause();
	return 0;
}

static void resume(void *opaque)
{
	(void)opaque;
	__atomic_store_n(&parking, PARK_NONE, __ATOMIC_RELEASE);
}

/* ---- one child ---- */

static int toggle(struct cell *cell, enum poke_protocol protocol, u32 transition, double seconds)
{
	const struct poke_stopper stopper = {stop, resume, NULL};
	const struct poke_content first = content_of(cell, transitions[transition].from);
	const struct poke_content second = content_of(cell, transitions[transition].to);
	struct poke pokes[2];
	double end = now() + seconds;
	int err = poke_describe(cell->site, &first, &second, &pokes[0]);

	err = err ? err : poke_describe(cell->site, &second, &first, &pokes[1]);
	for (u32 i = 0; i < 2; i++)
		pokes[i].protocol = (u8)protocol;
	while (!err) {
		for (u32 i = 0; i < BURST && !err; i++)
			err = poke_batch(&pokes[i % 2], 1, &stopper, NULL);
		cell->tally->toggles += BURST;
		if (now() > end)
			break;
	}
	return err;
}

/* From NOP, which the file has, to what the transition begins with; nobody executes it yet. */
static int begin(const struct cell *cell, enum holds from)
{
	const struct poke_content nop = {PATCH_NOP, 0, NULL}, content = content_of(cell, from);
	struct poke poke;
	int err;

	if (from == HOLDS_RAW || from == HOLDS_NOP)
		return 0;
	err = poke_describe(cell->site, &nop, &content, &poke);
	/* Out of a word it needs the trap protocol here. */
	if (!err && poke_choose(&poke) == POKE_STOP)
		poke.protocol = POKE_TRAP;
	return err ? err : poke_batch(&poke, 1, NULL, NULL);
}

static int run_child(enum poke_protocol protocol, u32 offset, u32 transition, double seconds,
		     struct tally *tally)
{
	struct cell cell = {.tally = tally,
			    .good = {results[transitions[transition].from],
				     results[transitions[transition].to]}};
	struct sigaction action = {.sa_handler = park, .sa_flags = SA_RESTART};
	int err;

	pin(0);
	sigaction(SIGUSR1, &action, NULL);
	err = poke_allow_traps(true);
	if (!err && !make_text(&cell, offset, transitions[transition].from))
		err = -ENOMEM;
	if (!err)
		err = begin(&cell, transitions[transition].from);
	if (err || pthread_create(&executor, NULL, execute, &cell)) {
		tally->error = err ? err : -EAGAIN;
		return 1;
	}
	while (!__atomic_load_n(&cell.ready, __ATOMIC_ACQUIRE))
		sched_yield();
	tally->error = toggle(&cell, protocol, transition, seconds);
	__atomic_store_n(&cell.done, true, __ATOMIC_RELAXED);
	pthread_join(executor, NULL);
	return tally->error != 0;
}

static u32 run_cell(enum poke_protocol protocol, u32 offset, u32 transition, double seconds,
		    struct tally *tally)
{
	double end = now() + seconds;
	u32 crashes = 0;

	memset(tally, 0, sizeof(*tally));
	do {
		int status = 0;
		pid_t child = fork();

		if (child == 0)
			_exit(run_child(protocol, offset, transition, end - now(), tally));
		if (child < 0 || waitpid(child, &status, 0) != child) {
			tally->error = -errno;
			break;
		}
		if (!WIFSIGNALED(status))
			break;
		crashes++;
	} while (now() < end && crashes < MOST_CRASHES);
	return crashes;
}

static u32 count_cells(void)
{
	u32 count = 0;

	for (u32 p = 0; p < ARRAY_SIZE(protocols); p++)
		count += protocols[p].count * (u32)ARRAY_SIZE(transitions);
	return count;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 60;
	u32 cells = count_cells(), number = 0, failed = 0;
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	u64 executions = 0, toggles = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("ok 1 - torture # SKIP one processor: nobody executes while the other pokes\n1..1\n");
		return 0;
	}
	printf("# protocol place          transition         executions    toggles crashes wrong\n");
	for (u32 p = 0; p < ARRAY_SIZE(protocols); p++) {
		for (u32 i = 0; i < protocols[p].count * ARRAY_SIZE(transitions); i++) {
			const struct place *place =
				&protocols[p].places[i / ARRAY_SIZE(transitions)];
			u32 transition = i % (u32)ARRAY_SIZE(transitions), crashes;
			bool bad;

			crashes = run_cell(protocols[p].protocol, place->offset, transition,
					   seconds / cells, tally);
			bad = crashes || tally->wrong || tally->error || !tally->toggles ||
			      !tally->executions;
			failed += bad;
			executions += tally->executions;
			toggles += tally->toggles;
			printf("%sok %u - %-8s %-14s %-14s %14llu %10llu %7u %5llu",
			       bad ? "not " : "", ++number, protocols[p].name, place->name,
			       transitions[transition].name, (unsigned long long)tally->executions,
			       (unsigned long long)tally->toggles, crashes,
			       (unsigned long long)tally->wrong);
			printf(tally->error ? " (%s)\n" : "\n", strerror(-tally->error));
			fflush(stdout);
		}
	}
	printf("1..%u\n# %llu executions, %llu toggles\n", number, (unsigned long long)executions,
	       (unsigned long long)toggles);
	return failed != 0;
}
