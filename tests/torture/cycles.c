/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attachments that come and go in one agent, by the thousand: a program's four threads call the function meanwhile, one has slept in
 * it since before the first, and one has entered it through a probe and sleeps on. The agent may not grow: resident size and
 * mappings are compared with those after a warm-up.
 *
 * A cycle attaches a program at the entry, at a hooked return, or to the called function's exit, in turn, and detaches it; every
 * fourth attaches all three and takes them away in another order.
 *
 * Before that, some programs are attached to once: their threads have their first hits together.
 *
 * usage: cycles [CYCLES [SECONDS]]    at least so many cycles (1000), and for so long (0)
 */
#include <sched.h>

#include "agent/lab.h"

#define FRESH	  20 /* programs that are attached to once */
#define CALLERS	  "4"
#define WARM_UP	  500
#define SIDES	  3
#define SLACK_KB  256 /* resident size moves with what the program's own threads touch */
#define REPORT_MS 10000

static const enum hook_side sides[SIDES] = {HOOK_ENTRY, HOOK_RETURN, HOOK_EXIT};

struct size {
	long resident_kb;
	int mappings;
};

static u64 cycles_wanted = 1000;
static u64 ms_wanted;

static long resident_kb(pid_t pid)
{
	char path[40], line[128];
	long kb = -1;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "VmRSS: %ld", &kb);
	if (status)
		fclose(status);
	return kb;
}

static struct size size_of(pid_t pid)
{
	return (struct size){resident_kb(pid), lab_mappings(pid)};
}

static u64 now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static int attach_again(struct lab_probe *probe, const struct wire_site *site, enum hook_side side,
			u32 *ret_link)
{
	struct wire_attach attach = {.program = probe->program, .side = side, .count = 1};
	struct wire_reply reply;
	int error = target_ask(probe->target, WIRE_SITES, site, sizeof(*site), NULL, 0, &reply);

	if (side == HOOK_EXIT)
		attach.signature =
			(struct signature){.known = 1,
					   .slot_count = 2,
					   .returns = SIGNATURE_INTEGER,
					   .slots = {SIGNATURE_GENERAL, SIGNATURE_GENERAL + 1}};
	if (!error)
		error = target_ask(probe->target, WIRE_ATTACH, &attach, sizeof(attach), NULL, 0,
				   &reply);
	*ret_link = (u32)reply.value;
	return error;
}

static int detach_again(struct lab_probe *probe, u32 link)
{
	struct wire_handle request = {link};
	struct wire_reply reply;

	return target_ask(probe->target, WIRE_DETACH, &request, sizeof(request), NULL, 0, &reply);
}

/* A thread stays inside the first instructions now and then, on a busy machine: then it is tried again. */
static int cycle(struct lab_probe *probe, const struct wire_site *site, u64 number, u64 *busy)
{
	u32 count = number % 4 == 3 ? SIDES : 1, links[SIDES], made = 0;
	int error = 0;

	for (; made < count && !error; made += !error)
		error = attach_again(probe, site, sides[(number + made) % SIDES], &links[made]);
	for (u32 i = 0; i < made; i++) {
		int one = detach_again(probe, links[number % 8 < 4 ? i : made - 1 - i]);

		error = error ? error : one;
	}
	if (error != -EAGAIN)
		return error;
	(*busy)++;
	return 0;
}

static void run(pid_t pid, struct lab_probe *probe, const struct wire_site *site)
{
	u64 start = now_ms(), report = start + REPORT_MS, cycles = 0, busy = 0;
	struct size warm = {0, 0}, end;
	int error = 0;

	while (!error && (cycles < cycles_wanted || now_ms() < start + ms_wanted)) {
		error = cycle(probe, site, cycles, &busy);
		if (++cycles == MIN(WARM_UP, cycles_wanted / 2))
			warm = size_of(pid);
		if (now_ms() < report)
			continue;
		end = size_of(pid);
		printf("# %llu cycles in %llu s, %llu stops in %llu ms, %ld kB, %d mappings\n",
		       (unsigned long long)cycles, (unsigned long long)(now_ms() - start) / 1000,
		       (unsigned long long)probe->target->stops,
		       (unsigned long long)probe->target->stop_total_ns / 1000000, end.resident_kb,
		       end.mappings);
		fflush(stdout);
		report += REPORT_MS;
	}
	end = size_of(pid);
	printf("# %llu cycles in %llu ms, %llu given up, %llu stops, %llu us at most; %ld -> %ld kB, %d -> %d mappings\n",
	       (unsigned long long)cycles, (unsigned long long)(now_ms() - start),
	       (unsigned long long)busy, (unsigned long long)probe->target->stops,
	       (unsigned long long)probe->target->stop_max_ns / 1000, warm.resident_kb,
	       end.resident_kb, warm.mappings, end.mappings);
	CHECK_EQ(error, 0);
	CHECK(busy < cycles / 10);
	CHECK_EQ(end.mappings, warm.mappings);
	CHECK(end.resident_kb < warm.resident_kb + SLACK_KB);
}

static void one_agent_serves_many_attachments(void)
{
	pid_t pid = lab_start("callers", CALLERS);
	struct lab_probe probe;
	struct wire_site site;
	u64 hits;
	int error;

	if (!pid)
		SKIP("the victim was not built");
	error = lab_attach(pid, "victim_work", HOOK_RETURN, &probe);
	CHECK_EQ(error, 0);
	if (error) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return;
	}
	CHECK(lab_hits_grow(&probe, 1000));
	/* Through the probe, and asleep from now on. */
	kill(pid, SIGUSR1);
	lab_sleep_ms(50);
	CHECK_EQ(detach_again(&probe, probe.link), 0);
	CHECK(lab_text_restored(pid, &probe));
	hits = lab_hits(&probe);
	CHECK_EQ(lab_plan(&probe, "victim_work", &site), 0);
	run(pid, &probe, &site);
	CHECK(lab_hits(&probe) > hits);
	CHECK(lab_text_restored(pid, &probe));
	target_close(probe.target);
	kill(pid, SIGUSR2);
	CHECK_EQ(lab_wait(pid, 5000), 0);
}

/* Threads that make their records, shadow stacks and first hits at the same moment. */
static void first_hits_come_together(void)
{
	for (u32 i = 0; i < FRESH && !test_failed_here; i++) {
		pid_t pid = lab_start("callers", CALLERS);
		struct lab_probe probe;
		int error;

		if (!pid)
			SKIP("the victim was not built");
		error = lab_attach(pid, "victim_work", sides[i % 2], &probe);
		CHECK_EQ(error, 0);
		if (!error) {
			CHECK(lab_hits_grow(&probe, 1000));
			CHECK_EQ(lab_detach(&probe), 0);
		}
		kill(pid, SIGUSR2);
		CHECK_EQ(lab_wait(pid, 5000), 0);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		cycles_wanted = (u64)atof(argv[1]);
	if (argc > 2)
		ms_wanted = (u64)(atof(argv[2]) * 1000);
	RUN(first_hits_come_together);
	RUN(one_agent_serves_many_attachments);
	return test_done();
}
