/* SPDX-License-Identifier: BSD-2-Clause */
/* Probes in programs that do what they should not notice, and the deaths of either side. */
#include "lab.h"

static void counts_and_restores(enum hook_side side)
{
	pid_t pid = lab_start("caller", NULL);
	struct lab_probe probe;

	CHECK_EQ(lab_attach(pid, "victim_work", side, &probe), 0);
	CHECK(!lab_text_restored(pid, &probe));
	CHECK(lab_hits_grow(&probe, 1000));
	CHECK_EQ(lab_detach(&probe), 0);
	CHECK(lab_text_restored(pid, &probe));
	lab_end(pid);
}

static void entry_probe_counts_and_restores(void)
{
	counts_and_restores(HOOK_ENTRY);
}

static void return_probe_counts_and_restores(void)
{
	counts_and_restores(HOOK_RETURN);
}

static void attaches_again_and_again(void)
{
	pid_t pid = lab_start("caller", NULL);
	int mappings = 0;

	for (int i = 0; i < 30; i++) {
		struct lab_probe probe;
		int error =
			lab_attach(pid, "victim_work", i & 1 ? HOOK_RETURN : HOOK_ENTRY, &probe);

		CHECK_EQ(error, 0);
		if (error)
			break;
		CHECK(lab_hits_grow(&probe, 0));
		CHECK_EQ(lab_detach(&probe), 0);
		CHECK(lab_text_restored(pid, &probe));
		if (i == 9) {
			CHECK(lab_agent_left(pid, 1));
			mappings = lab_mappings(pid);
		}
	}
	CHECK(lab_agent_left(pid, 1));
	CHECK_EQ(lab_mappings(pid), mappings);
	lab_end(pid);
}

/* Attaches, does signal the victim, and says how it ended. */
static int ends_while_attached(const char *mode, int signals)
{
	pid_t pid = lab_start("odd", mode);
	struct lab_probe probe;
	int status, error = lab_attach(pid, "victim_work", HOOK_ENTRY, &probe);

	CHECK_EQ(error, 0);
	if (error) {
		kill(pid, SIGKILL);
		return lab_wait(pid, 1000);
	}
	CHECK(lab_hits_grow(&probe, 100));
	for (int i = 0; i < signals; i++) {
		u64 hits = lab_hits(&probe);

		kill(pid, SIGUSR1);
		if (i + 1 < signals)
			CHECK(lab_hits_grow(&probe, hits + 10));
	}
	status = lab_wait(pid, 3000);
	if (status < 0) {
		kill(pid, SIGKILL);
		lab_wait(pid, 1000);
	}
	target_close(probe.target);
	return status;
}

static void program_under_mdwe_works(void)
{
	pid_t pid = lab_start("odd", "mdwe");
	struct lab_probe probe;

	if (lab_wait(pid, 0) == 77)
		SKIP("this kernel has no PR_SET_MDWE");
	CHECK_EQ(lab_attach(pid, "victim_work", HOOK_ENTRY, &probe), 0);
	CHECK(lab_hits_grow(&probe, 100));
	CHECK_EQ(lab_detach(&probe), 0);
	CHECK(lab_text_restored(pid, &probe));
	lab_end(pid);
}

static void program_that_closes_everything_cannot_reach_us(void)
{
	CHECK_EQ(ends_while_attached("closer", 1), 0);
}

static void program_outlives_its_main_thread(void)
{
	CHECK_EQ(ends_while_attached("exits", 2), 0);
}

static void program_blocks_its_signals(void)
{
	CHECK_EQ(ends_while_attached("masked", 1), 0);
}

static void program_becomes_another(void)
{
	CHECK_EQ(ends_while_attached("execs", 1), 0);
}

static void program_forks(void)
{
	CHECK_EQ(ends_while_attached("forks", 1), 0);
}

static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *children;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	children = fopen(path, "r");
	if (children && fscanf(children, "%d", &child) != 1)
		child = 0;
	if (children)
		fclose(children);
	return child;
}

/* A child inherits the patched text; whatever happens in its parent afterwards, it must run on it. */
static void child_outlives_the_probe_it_inherited(enum hook_side side)
{
	pid_t pid = lab_start("odd", "breeds"), child;
	struct lab_probe probe;

	CHECK_EQ(lab_attach(pid, "victim_work", side, &probe), 0);
	CHECK(lab_hits_grow(&probe, 100));
	kill(pid, SIGUSR1);
	lab_sleep_ms(100);
	child = child_of(pid);
	CHECK(child > 0);
	CHECK_EQ(lab_detach(&probe), 0);
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(lab_attach(pid, "victim_work", i & 1 ? HOOK_ENTRY : HOOK_RETURN, &probe),
			 0);
		CHECK(lab_hits_grow(&probe, 100));
		CHECK_EQ(lab_detach(&probe), 0);
	}
	CHECK(lab_text_restored(pid, &probe));
	kill(pid, SIGUSR1);
	CHECK_EQ(lab_wait(pid, 2000), 0);
}

static void child_outlives_an_entry_probe(void)
{
	child_outlives_the_probe_it_inherited(HOOK_ENTRY);
}

static void child_outlives_a_return_probe(void)
{
	child_outlives_the_probe_it_inherited(HOOK_RETURN);
}

/* A child of a process that was probed before has a copy of the agent, but not its threads: it gets a copy of its own. */
static void child_of_a_probed_process_is_probed(void)
{
	pid_t pid = lab_start("odd", "breeds"), child;
	struct lab_probe parents, childs;

	CHECK_EQ(lab_attach(pid, "victim_work", HOOK_ENTRY, &parents), 0);
	CHECK(lab_hits_grow(&parents, 100));
	CHECK_EQ(lab_detach(&parents), 0);
	CHECK(lab_agent_left(pid, 1));
	kill(pid, SIGUSR1);
	lab_sleep_ms(100);
	child = child_of(pid);
	CHECK_EQ(lab_attach(child, "victim_work", HOOK_ENTRY, &childs), 0);
	CHECK_EQ(lab_attach(pid, "victim_work", HOOK_RETURN, &parents), 0);
	CHECK(lab_hits_grow(&childs, 100));
	CHECK(lab_hits_grow(&parents, 100));
	CHECK_EQ(lab_detach(&parents), 0);
	CHECK(lab_hits_grow(&childs, lab_hits(&childs) + 100));
	CHECK_EQ(lab_detach(&childs), 0);
	CHECK(lab_text_restored(child, &childs));
	kill(pid, SIGUSR1);
	CHECK_EQ(lab_wait(pid, 2000), 0);
}

static void handler_interrupts_probed_function(void)
{
	CHECK_EQ(ends_while_attached("handler", 1), 0);
}

/* The largest uid among the threads of a process. */
static u32 largest_uid(pid_t pid)
{
	const struct dirent *entry;
	char path[320], line[128];
	u32 largest = 0, least = ~0u;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		FILE *status;
		u32 uid;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, entry->d_name);
		status = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (status && fgets(line, sizeof(line), status)) {
			if (sscanf(line, "Uid: %u", &uid) == 1) {
				largest = MAX(largest, uid);
				least = MIN(least, uid);
			}
		}
		if (status)
			fclose(status);
	}
	if (tasks)
		closedir(tasks);
	return least == largest ? largest : 0;
}

static void agent_follows_the_identity(void)
{
	pid_t pid;
	struct lab_probe probe;

	if (geteuid())
		SKIP("needs root");
	pid = lab_start("odd", "drops");
	CHECK_EQ(lab_attach(pid, "victim_work", HOOK_ENTRY, &probe), 0);
	CHECK(lab_hits_grow(&probe, 10));
	kill(pid, SIGUSR1);
	for (int i = 0; i < 500 && largest_uid(pid) != 65534; i++)
		lab_sleep_ms(5);
	CHECK_EQ(largest_uid(pid), 65534); /* every thread, ours too */
	CHECK(lab_hits_grow(&probe, lab_hits(&probe) + 100));
	CHECK_EQ(lab_detach(&probe), 0);
	CHECK(lab_text_restored(pid, &probe));
	lab_end(pid);
}

static void killed_loader_leaves_nothing_behind(enum hook_side side)
{
	pid_t pid = lab_start("caller", NULL), loader;
	struct lab_probe *probe = mmap(NULL, sizeof(*probe), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	u64 killed_at;

	loader = fork();
	if (loader == 0) {
		lab_attach(pid, "victim_work", side, probe);
		for (;;)
			pause();
	}
	lab_sleep_ms(500);
	CHECK(probe->address && !lab_text_restored(pid, probe));
	killed_at = stop_now();
	kill(loader, SIGKILL);
	waitpid(loader, NULL, 0);
	while (!lab_text_restored(pid, probe) && stop_now() - killed_at < 3000000000ull)
		lab_sleep_ms(1);
	CHECK(lab_text_restored(pid, probe));
	printf("# restored %.1f ms after the loader's death\n",
	       (double)(stop_now() - killed_at) / 1e6);
	CHECK(stop_now() - killed_at < 1000000000ull);
	CHECK(lab_agent_left(pid, 1));
	/* And somebody else may come. */
	CHECK_EQ(lab_attach(pid, "victim_work", side, probe), 0);
	CHECK(lab_hits_grow(probe, 100));
	CHECK_EQ(lab_detach(probe), 0);
	lab_end(pid);
}

static void killed_loader_of_entry_probe(void)
{
	killed_loader_leaves_nothing_behind(HOOK_ENTRY);
}

static void killed_loader_of_return_probe(void)
{
	killed_loader_leaves_nothing_behind(HOOK_RETURN);
}

static void killed_target_is_noticed(void)
{
	pid_t pid = lab_start("caller", NULL);
	struct lab_probe probe;

	CHECK_EQ(lab_attach(pid, "victim_work", HOOK_ENTRY, &probe), 0);
	CHECK(lab_hits_grow(&probe, 100));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_EQ(lab_detach(&probe), -ESRCH);
}

/* The agent's own stopper: the site is one that only a stop may change, and there is no loader to stop anybody. */
static void site_is_restored_by_the_agents_own_stop(void)
{
	pid_t pid = lab_start("odd", "handler");
	struct lab_probe probe;

	lab_protocol = POKE_STOP;
	for (int i = 0; i < 5; i++) {
		int error = lab_attach(pid, "victim_work", HOOK_ENTRY, &probe);

		CHECK_EQ(error, 0);
		if (error)
			break;
		CHECK(lab_hits_grow(&probe, 1000));
		target_close(probe.target); /* with the link open */
		CHECK(lab_agent_left(pid, 1));
		CHECK(lab_text_restored(pid, &probe));
		CHECK_EQ(child_of(pid), 0);
	}
	lab_protocol = POKE_AUTO;
	lab_end(pid);
}

/* The same without force: a branch whose first two bytes lie in two words. */
static void site_across_words_is_restored_when_the_loader_is_gone(void)
{
	static const enum hook_side sides[] = {HOOK_ENTRY, HOOK_RETURN};
	pid_t pid = lab_start("odd", "handler");
	struct lab_probe probe;

	for (u32 i = 0; i < ARRAY_SIZE(sides); i++) {
		int error = lab_attach(pid, "victim_edge", sides[i], &probe);

		CHECK_EQ(error, 0);
		if (error)
			break;
		CHECK_EQ(probe.address & 7, 7);
		CHECK(lab_hits_grow(&probe, 1000));
		target_close(probe.target);
		CHECK(lab_agent_left(pid, 1));
		CHECK(lab_text_restored(pid, &probe));
		CHECK_EQ(child_of(pid), 0);
	}
	lab_end(pid);
}

/* A child has inherited it, and nobody stops its threads but itself. */
static void site_across_words_is_restored_in_a_child(void)
{
	pid_t pid = lab_start("odd", "breeds"), child;
	struct lab_probe parents, childs;
	int error;

	CHECK_EQ(lab_attach(pid, "victim_edge", HOOK_ENTRY, &parents), 0);
	CHECK(lab_hits_grow(&parents, 100));
	kill(pid, SIGUSR1);
	lab_sleep_ms(100);
	child = child_of(pid);
	error = lab_attach(child, "victim_edge", HOOK_ENTRY, &childs);
	CHECK_EQ(error, 0);
	if (!error) {
		CHECK(lab_hits_grow(&childs, 100));
		CHECK_EQ(lab_detach(&childs), 0);
	}
	CHECK_EQ(lab_detach(&parents), 0);
	CHECK(lab_text_restored(pid, &parents));
	CHECK(lab_text_restored(child, &parents));
	kill(pid, SIGUSR1);
	CHECK_EQ(lab_wait(pid, 2000), 0);
}

/* Threads come and go while sites are changed under them. */
static void stops_while_threads_come_and_go(void)
{
	pid_t pid = lab_start("odd", "spawns");
	struct lab_probe probe;

	lab_protocol = POKE_STOP;
	for (int i = 0; i < 20; i++) {
		int error =
			lab_attach(pid, "victim_work", i & 1 ? HOOK_RETURN : HOOK_ENTRY, &probe);

		CHECK_EQ(error, 0);
		if (error)
			break;
		CHECK(lab_hits_grow(&probe, 100));
		CHECK_EQ(lab_detach(&probe), 0);
		CHECK(lab_text_restored(pid, &probe));
	}
	lab_protocol = POKE_AUTO;
	lab_end(pid);
}

/* How long is printed and not judged: it depends on who else wants the processors. */
static void many_threads_are_stopped_for_a_moment(void)
{
	pid_t pid = lab_start("hostile", "many");
	struct lab_probe probe;
	u64 total = 0, most = 0;
	u64 stops = 0;

	lab_protocol = POKE_STOP;
	for (int i = 0; i < 10; i++) {
		int error = lab_attach(pid, "victim_work", HOOK_ENTRY, &probe);

		CHECK_EQ(error, 0);
		if (error)
			break;
		CHECK(lab_hits_grow(&probe, 10));
		stops += probe.target->stops;
		total += probe.target->stop_total_ns;
		most = MAX(most, probe.target->stop_max_ns);
		CHECK_EQ(lab_detach(&probe), 0);
		CHECK(lab_text_restored(pid, &probe));
	}
	lab_protocol = POKE_AUTO;
	printf("# 200 threads: %llu stops, %llu us on average, %llu us at most\n",
	       (unsigned long long)stops, stops ? (unsigned long long)(total / stops / 1000) : 0ull,
	       (unsigned long long)(most / 1000));
	lab_end(pid);
}

int main(void)
{
	RUN(entry_probe_counts_and_restores);
	RUN(return_probe_counts_and_restores);
	RUN(attaches_again_and_again);
	RUN(program_under_mdwe_works);
	RUN(program_that_closes_everything_cannot_reach_us);
	RUN(program_outlives_its_main_thread);
	RUN(program_blocks_its_signals);
	RUN(program_becomes_another);
	RUN(program_forks);
	RUN(child_outlives_an_entry_probe);
	RUN(child_outlives_a_return_probe);
	RUN(child_of_a_probed_process_is_probed);
	RUN(handler_interrupts_probed_function);
	RUN(agent_follows_the_identity);
	RUN(killed_loader_of_entry_probe);
	RUN(killed_loader_of_return_probe);
	RUN(killed_target_is_noticed);
	RUN(site_is_restored_by_the_agents_own_stop);
	RUN(site_across_words_is_restored_when_the_loader_is_gone);
	RUN(site_across_words_is_restored_in_a_child);
	RUN(stops_while_threads_come_and_go);
	RUN(many_threads_are_stopped_for_a_moment);
	return test_done();
}
