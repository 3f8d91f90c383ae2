/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Code that changes under the feet of another processor, in every way that the poker knows.
 *
 * A cell is a protocol, a place (how the five bytes lie to words, cache lines and pages: those that the protocol's rule admits) and
 * a transition. Each runs in a child, so that a crash is counted and not the end: one thread toggles the site, the other, on
 * another processor, executes it all the time and checks what each execution does.
 *
 * usage: poke SECONDS
 *             all cells together take so long
 *        poke [-e N] [-t N] [-s SECONDS] [-c CELL] [-o FILE]
 *             each cell, or the one of that number, until the site was executed (10^9) and toggled (10^6) so often, or SECONDS
 *             (120) have passed. FILE keeps the finished cells: a run that was interrupted goes on where it was.
 *
 * The protocol stop is given a stopper of this process, a signal handler that spins: the poker sees no difference to the loader's
 * ptrace, whose stop takes ten times as long (tests/unit/agent has that one).
 *
 * Exit status: 0; 1: a crash, a wrong result or an error; 3: some cell fell short of its counts.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

#define EXIT_SHORT   3

/* How much each cell is to do. */
struct aim {
	u64 executions, toggles; /* 0: as many as there are in the time */
	double seconds;		 /* of one cell, at most */
};

struct place {
	const char *name;
	u32 offset;
};

/* One offset of each class. */
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

static bool reached(const struct tally *tally, const struct aim *aim)
{
	return aim->toggles && tally->toggles >= aim->toggles &&
	       __atomic_load_n(&tally->executions, __ATOMIC_RELAXED) >= aim->executions;
}

static int toggle(struct cell *cell, enum poke_protocol protocol, u32 transition,
		  const struct aim *aim, double end)
{
	const struct poke_stopper stopper = {stop, resume, NULL};
	const struct poke_content first = content_of(cell, transitions[transition].from);
	const struct poke_content second = content_of(cell, transitions[transition].to);
	struct poke pokes[2];
	int err = poke_describe(cell->site, &first, &second, &pokes[0]);

	err = err ? err : poke_describe(cell->site, &second, &first, &pokes[1]);
	for (u32 i = 0; i < 2; i++)
		pokes[i].protocol = (u8)protocol;
	while (!err) {
		for (u32 i = 0; i < BURST && !err; i++)
			err = poke_batch(&pokes[i % 2], 1, &stopper, NULL);
		cell->tally->toggles += BURST;
		if (reached(cell->tally, aim) || now() > end)
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

static int run_child(enum poke_protocol protocol, u32 offset, u32 transition, const struct aim *aim,
		     double end, struct tally *tally)
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
	tally->error = toggle(&cell, protocol, transition, aim, end);
	__atomic_store_n(&cell.done, true, __ATOMIC_RELAXED);
	pthread_join(executor, NULL);
	return tally->error != 0;
}

/* One cell of the table, and what became of it. */
struct row {
	u32 protocol, place, transition;
	u64 executions, toggles, wrong;
	u32 crashes;
	int error;
	double seconds;
};

static void run_cell(struct row *row, const struct aim *aim, struct tally *tally)
{
	double start = now(), end = start + aim->seconds;

	memset(tally, 0, sizeof(*tally));
	do {
		int status = 0;
		pid_t child = fork();

		if (child == 0)
			_exit(run_child(protocols[row->protocol].protocol,
					protocols[row->protocol].places[row->place].offset,
					row->transition, aim, end, tally));
		if (child < 0 || waitpid(child, &status, 0) != child) {
			tally->error = -errno;
			break;
		}
		if (!WIFSIGNALED(status))
			break;
		row->crashes++;
	} while (now() < end && row->crashes < MOST_CRASHES);
	row->executions = tally->executions;
	row->toggles = tally->toggles;
	row->wrong = tally->wrong;
	row->error = tally->error;
	row->seconds = now() - start;
}

/* ---- the finished cells of a run, in a file ---- */

struct ledger {
	FILE *file; /* NULL: none is kept */
	u32 done;   /* cells that it holds from before */
};

/* Results of another build, or of other aims, are another run's. */
static u64 identity_of(const struct aim *aim)
{
	struct stat self = {0};

	stat("/proc/self/exe", &self);
	return ((u64)self.st_mtim.tv_sec * 1000000000u + (u64)self.st_mtim.tv_nsec) ^
	       aim->executions * 31 ^ aim->toggles * 17;
}

static bool read_row(FILE *file, struct row *row)
{
	unsigned long long executions, toggles, wrong;

	if (fscanf(file, "%u %u %u %llu %llu %llu %u %d %lf", &row->protocol, &row->place,
		   &row->transition, &executions, &toggles, &wrong, &row->crashes, &row->error,
		   &row->seconds) != 9)
		return false;
	row->executions = executions;
	row->toggles = toggles;
	row->wrong = wrong;
	return true;
}

static void write_row(struct ledger *ledger, const struct row *row)
{
	if (!ledger->file)
		return;
	fprintf(ledger->file, "%u %u %u %llu %llu %llu %u %d %.3f\n", row->protocol, row->place,
		row->transition, (unsigned long long)row->executions,
		(unsigned long long)row->toggles, (unsigned long long)row->wrong, row->crashes,
		row->error, row->seconds);
	fflush(ledger->file);
}

/* Takes over what an interrupted run left; a run that was complete is begun anew. */
static int open_ledger(const char *path, const struct aim *aim, struct row *rows, u32 count,
		       struct ledger *ledger)
{
	unsigned long long identity = 0;
	FILE *old = fopen(path, "r");

	if (old && fscanf(old, "%llx", &identity) == 1 && identity == identity_of(aim)) {
		struct row row;

		while (ledger->done < count && read_row(old, &row))
			rows[ledger->done++] = row;
	}
	if (old)
		fclose(old);
	if (ledger->done == count)
		ledger->done = 0;
	ledger->file = fopen(path, "w");
	if (!ledger->file)
		return -errno;
	fprintf(ledger->file, "%llx\n", (unsigned long long)identity_of(aim));
	for (u32 i = 0; i < ledger->done; i++)
		write_row(ledger, &rows[i]);
	return 0;
}

/* ---- the table ---- */

static u32 list_cells(struct row **ret_rows)
{
	u32 count = 0, at = 0;
	struct row *rows;

	for (u32 p = 0; p < ARRAY_SIZE(protocols); p++)
		count += protocols[p].count * (u32)ARRAY_SIZE(transitions);
	rows = calloc(count, sizeof(*rows));
	for (u32 p = 0; rows && p < ARRAY_SIZE(protocols); p++) {
		for (u32 i = 0; i < protocols[p].count * ARRAY_SIZE(transitions); i++)
			rows[at++] = (struct row){.protocol = p,
						  .place = i / (u32)ARRAY_SIZE(transitions),
						  .transition = i % (u32)ARRAY_SIZE(transitions)};
	}
	*ret_rows = rows;
	return rows ? count : 0;
}

static bool is_bad(const struct row *row)
{
	return row->crashes || row->wrong || row->error || !row->toggles || !row->executions;
}

static bool is_short(const struct row *row, const struct aim *aim)
{
	return aim->toggles && (row->toggles < aim->toggles || row->executions < aim->executions);
}

static void print_row(const struct row *row, const struct aim *aim, u32 number)
{
	printf("%sok %u - %-8s %-14s %-14s %14llu %10llu %7u %5llu %6.1f%s%s\n",
	       is_bad(row) || is_short(row, aim) ? "not " : "", number,
	       protocols[row->protocol].name, protocols[row->protocol].places[row->place].name,
	       transitions[row->transition].name, (unsigned long long)row->executions,
	       (unsigned long long)row->toggles, row->crashes, (unsigned long long)row->wrong,
	       row->seconds,
	       row->error	    ? " error: "
	       : is_short(row, aim) ? " fell short"
				    : "",
	       row->error ? strerror(-row->error) : "");
	fflush(stdout);
}

static int print_sum(const struct row *rows, u32 count, const struct aim *aim)
{
	u64 executions = 0, toggles = 0, wrong = 0, least[2] = {~0ull, ~0ull};
	u32 crashes = 0, bad = 0, behind = 0;
	double seconds = 0;

	for (u32 i = 0; i < count; i++) {
		executions += rows[i].executions;
		toggles += rows[i].toggles;
		wrong += rows[i].wrong;
		crashes += rows[i].crashes;
		seconds += rows[i].seconds;
		bad += is_bad(&rows[i]);
		behind += is_short(&rows[i], aim);
		least[0] = MIN(least[0], rows[i].executions);
		least[1] = MIN(least[1], rows[i].toggles);
	}
	printf("1..%u\n# %u cells in %.0f s: %llu executions (%llu at least in a cell), %llu toggles (%llu), ",
	       count, count, seconds, (unsigned long long)executions, (unsigned long long)least[0],
	       (unsigned long long)toggles, (unsigned long long)least[1]);
	printf("%u crashes, %llu wrong results, %u cells failed, %u fell short\n", crashes,
	       (unsigned long long)wrong, bad, behind);
	return bad ? 1 : behind ? EXIT_SHORT : 0;
}

static void run_cells(struct row *rows, u32 count, const struct aim *aim, struct ledger *ledger,
		      struct tally *tally)
{
	bool progress = isatty(STDERR_FILENO);
	double start = now();

	printf("# protocol place          transition         executions    toggles crashes wrong seconds\n");
	for (u32 i = 0; i < count; i++) {
		if (i >= ledger->done) {
			u32 first = ledger->done;

			if (progress)
				fprintf(stderr, "\rcell %u of %u, %.0f s; about %.0f s more ",
					i + 1, count, now() - start,
					i == first ? aim->seconds * (count - i)
						   : (now() - start) / (i - first) * (count - i));
			run_cell(&rows[i], aim, tally);
			write_row(ledger, &rows[i]);
			if (progress)
				fprintf(stderr, "\r%60s\r", "");
		}
		print_row(&rows[i], aim, i + 1);
	}
}

/* False: not understood. */
static bool take_options(int argc, char **argv, u32 cells, struct aim *aim, u32 *ret_cell,
			 const char **ret_path)
{
	int option;

	if (argc == 2 && argv[1][0] != '-') {
		*aim = (struct aim){.seconds = atof(argv[1]) / cells};
		return aim->seconds > 0;
	}
	*aim = (struct aim){1000000000, 1000000, 120};
	while ((option = getopt(argc, argv, "e:t:s:c:o:")) != -1) {
		switch (option) {
		case 'e':
			aim->executions = (u64)atof(optarg);
			break;
		case 't':
			aim->toggles = (u64)atof(optarg);
			break;
		case 's':
			aim->seconds = atof(optarg);
			break;
		case 'c':
			*ret_cell = (u32)atoi(optarg);
			break;
		case 'o':
			*ret_path = optarg;
			break;
		default:
			return false;
		}
	}
	return optind == argc && *ret_cell <= cells && aim->toggles && aim->executions &&
	       aim->seconds > 0;
}

int main(int argc, char **argv)
{
	struct row *rows;
	u32 count = list_cells(&rows), cell = 0;
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ledger ledger = {0};
	const char *path = NULL;
	struct aim aim;
	int status;

	if (!count || !take_options(argc, argv, count, &aim, &cell, &path)) {
		fprintf(stderr,
			"usage: poke SECONDS | poke [-e EXECUTIONS] [-t TOGGLES] [-s SECONDS] [-c CELL] [-o FILE]\n");
		return 2;
	}
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("ok 1 - torture # SKIP one processor: nobody executes while the other pokes\n1..1\n");
		return 0;
	}
	if (cell) {
		rows[0] = rows[cell - 1];
		count = 1;
	}
	if (path && open_ledger(path, &aim, rows, count, &ledger)) {
		fprintf(stderr, "poke: %s: %s\n", path, strerror(errno));
		return 2;
	}
	run_cells(rows, count, &aim, &ledger, tally);
	status = print_sum(rows, count, &aim);
	if (ledger.file)
		fclose(ledger.file);
	free(rows);
	return status;
}
