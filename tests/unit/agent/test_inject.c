/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions without a probe: what the agent's coming and going leaves of a process, and who is refused. */
#include <elf.h>
#include <gelf.h>
#include <sys/ptrace.h>

#include "agent/spawn.h"
#include "lab.h"

extern const u8 agent_blob_start[], agent_blob_end[];

static char before[16384], after[16384];

static void comes_and_goes_without_a_trace(void)
{
	pid_t pid = lab_start("sleeper", NULL);
	int mappings = 0;

	lab_describe(pid, before, sizeof(before));
	for (int i = 0; i < 50; i++) {
		struct target *target;
		int error = target_open(pid, 0, &lab_problem, &target);

		CHECK_EQ(error, 0);
		if (error)
			break;
		CHECK_EQ(lab_threads(pid), 3);
		target_close(target);
		if (i == 4) {
			CHECK(lab_agent_left(pid, 1));
			mappings = lab_mappings(pid);
		}
	}
	CHECK(lab_agent_left(pid, 1));
	/* What it keeps for its next visit does not grow with each. */
	CHECK_EQ(lab_mappings(pid), mappings);
	lab_describe(pid, after, sizeof(after));
	if (strcmp(before, after))
		printf("# before:\n%s# after:\n%s", before, after);
	CHECK(!strcmp(before, after));
	lab_end(pid);
}

/* The borrowed thread's vector registers, and its errno, are the program's. */
static void registers_and_errno_are_put_back(void)
{
	static const char *const modes[] = {"floats", "handler"};

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		pid_t pid = lab_start("odd", modes[m]);

		for (int i = 0; i < 30; i++) {
			struct target *target;
			int error = target_open(pid, 0, &lab_problem, &target);

			CHECK_EQ(error, 0);
			if (error)
				break;
			target_close(target);
		}
		CHECK_EQ(lab_wait(pid, 0), -1);
		kill(pid, SIGUSR1);
		CHECK_EQ(lab_wait(pid, 2000), 0);
	}
}

static void two_loaders_share_one_agent(void)
{
	pid_t pid = lab_start("sleeper", NULL);
	struct target *one = NULL, *two = NULL;
	struct wire_hello hello = {.version = WIRE_VERSION};

	CHECK_EQ(target_open(pid, 0, &lab_problem, &one), 0);
	CHECK_EQ(target_open(pid, 0, &lab_problem, &two), 0);
	CHECK_EQ(lab_threads(pid), 3);
	if (one)
		target_close(one);
	/* The other session is still served. */
	if (two) {
		CHECK_EQ(target_request(two, WIRE_HELLO, &hello, sizeof(hello), NULL, 0), 0);
		target_close(two);
	}
	CHECK(lab_agent_left(pid, 1));
	lab_end(pid);
}

static void loads_into_threads_that_allocate(void)
{
	pid_t pid = lab_start("mallocs", NULL);

	for (int i = 0; i < 40; i++) {
		struct target *target;
		int error = target_open(pid, 0, &lab_problem, &target);

		CHECK_EQ(error, 0);
		if (error) {
			printf("# %s\n", lab_text);
			break;
		}
		target_close(target);
	}
	CHECK(lab_agent_left(pid, 2));
	lab_end(pid);
}

/* Whatever the loader was doing when it died, the thread it had borrowed goes on as if nothing had been. */
static void loader_killed_at_any_moment_costs_the_target_nothing(void)
{
	pid_t pid = lab_start("caller", NULL);
	unsigned int killed_inside = 0;

	for (int i = 0; i < 80; i++) {
		struct timespec pause = {0, 8000000 + i * 200000};
		pid_t loader = fork();

		if (loader == 0) {
			for (;;) {
				struct target *target;

				if (!target_open(pid, 0, &lab_problem, &target))
					target_close(target);
			}
		}
		nanosleep(&pause, NULL);
		kill(loader, SIGSTOP);
		killed_inside += lab_tracer(pid) == loader;
		kill(loader, SIGKILL);
		waitpid(loader, NULL, 0);
		CHECK_EQ(lab_wait(pid, 0), -1);
	}
	printf("# %u of 80 died while they held the thread\n", killed_inside);
	CHECK(lab_agent_left(pid, 1));
	lab_end(pid);
}

static void refused(pid_t pid, int want, const char *words)
{
	struct target *target;
	int error;

	lab_text[0] = 0;
	error = target_open(pid, 0, &lab_problem, &target);
	CHECK_EQ(error, want);
	if (!strstr(lab_text, words))
		printf("# said: %s\n", lab_text);
	CHECK(strstr(lab_text, words));
	if (!error)
		target_close(target);
}

static void victim_is_refused(const char *name, int want, const char *words)
{
	pid_t pid = lab_start(name, NULL);

	if (!pid)
		SKIP("this victim could not be built here");
	lab_describe(pid, before, sizeof(before));
	refused(pid, want, words);
	lab_describe(pid, after, sizeof(after));
	CHECK(!strcmp(before, after));
	lab_end(pid);
}

static void static_program_is_refused(void)
{
	victim_is_refused("sleeper_static", -EOPNOTSUPP, "static");
}

static void thirty_two_bit_program_is_refused(void)
{
	victim_is_refused("sleeper32", -EOPNOTSUPP, "32-bit");
}

static void musl_program_is_refused(void)
{
	victim_is_refused("sleeper_musl", -EOPNOTSUPP, "musl");
}

static void program_under_seccomp_is_refused(void)
{
	victim_is_refused("sleeper_seccomp", -EOPNOTSUPP, "seccomp");
}

/* A filter that can be read and lets the agent's calls pass is no obstacle. */
static void program_under_lenient_seccomp_is_accepted(void)
{
	pid_t pid = lab_start("sleeper_lenient", NULL);
	struct target *target;
	int error;

	if (geteuid())
		SKIP("reading a filter needs root");
	error = target_open(pid, 0, &lab_problem, &target);
	CHECK_EQ(error, 0);
	if (!error)
		target_close(target);
	CHECK(lab_agent_left(pid, 1));
	lab_end(pid);
}

static void nobody_is_refused(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	lab_sleep_ms(50);
	refused(pid, -ESRCH, ""); /* a zombie */
	waitpid(pid, NULL, 0);
	refused(pid, -ESRCH, "");
	refused(getpid(), -EINVAL, "itself");
}

static void stopped_program_is_refused_until_it_goes_on(void)
{
	pid_t pid = lab_start("sleeper", NULL);
	struct target *target;

	kill(pid, SIGSTOP);
	lab_sleep_ms(20);
	refused(pid, -EBUSY, "stopped");
	kill(pid, SIGCONT);
	lab_sleep_ms(20);
	CHECK_EQ(target_open(pid, 0, &lab_problem, &target), 0);
	target_close(target);
	lab_end(pid);
}

/* Libraries with thread-local variables have used up what libc reserves for those that come late. */
static void program_without_room_for_thread_locals_is_refused(void)
{
	char library[512];
	pid_t pid;

	CHECK(lab_victim_path("libtls_hog.so", library, sizeof(library)));
	pid = lab_start("tls_full", library);
	CHECK_EQ(lab_wait(pid, 300), -1);
	lab_describe(pid, before, sizeof(before));
	refused(pid, -ENOMEM, "static TLS");
	lab_describe(pid, after, sizeof(after));
	CHECK(!strcmp(before, after));
	lab_end(pid);
}

static void traced_program_is_refused_until_it_is_let_go(void)
{
	pid_t pid = lab_start("sleeper", NULL), tracer;
	struct target *target;

	tracer = fork();
	if (tracer == 0) {
		ptrace(PTRACE_SEIZE, pid, NULL, NULL);
		pause();
		_exit(0);
	}
	lab_sleep_ms(100);
	refused(pid, -EBUSY, "traced by");
	kill(tracer, SIGKILL);
	waitpid(tracer, NULL, 0);
	CHECK_EQ(target_open(pid, 0, &lab_problem, &target), 0);
	target_close(target);
	lab_end(pid);
}

static void command_is_held_before_its_first_instruction(void)
{
	char path[512];
	char *argv[] = {path, (char *)(uintptr_t) "1000", NULL},
	     *none[] = {(char *)(uintptr_t) "/nonexistent", NULL};
	struct target *target;
	pid_t pid;

	CHECK(lab_victim_path("caller", path, sizeof(path)));
	CHECK_EQ(spawn_start(none, &pid), -ENOENT);
	CHECK_EQ(spawn_start(argv, &pid), 0);
	CHECK_EQ(spawn_held(pid), pid);
	CHECK_EQ(target_open(pid, spawn_held(pid), &lab_problem, &target), 0);
	CHECK_EQ(lab_wait(pid, 100), -1);
	CHECK_EQ(spawn_resume(pid), 0);
	CHECK_EQ(lab_wait(pid, 2000), 0);
	target_close(target);
}

/* What the blob asks of a target: nothing but an old libc; and it offers nothing. */
static void agent_links_old_libc_alone(void)
{
	size_t size = (size_t)(agent_blob_end - agent_blob_start), shstrndx = 0;
	Elf *elf;
	Elf_Scn *section = NULL;

	CHECK(size < 1u << 20);
	elf_version(EV_CURRENT);
	elf = elf_memory((char *)(uintptr_t)agent_blob_start, size);
	CHECK(elf && !elf_getshdrstrndx(elf, &shstrndx));
	while (elf && (section = elf_nextscn(elf, section))) {
		GElf_Shdr header;
		Elf_Data *data;

		gelf_getshdr(section, &header);
		data = elf_getdata(section, NULL);
		for (size_t i = 1;
		     header.sh_type == SHT_DYNSYM && i < header.sh_size / header.sh_entsize; i++) {
			GElf_Sym symbol;

			gelf_getsym(data, (int)i, &symbol);
			if (symbol.st_shndx != SHN_UNDEF)
				printf("# exports %s\n",
				       elf_strptr(elf, header.sh_link, symbol.st_name));
			CHECK(symbol.st_shndx == SHN_UNDEF);
		}
		for (size_t i = 0;
		     header.sh_type == SHT_DYNAMIC && i < header.sh_size / header.sh_entsize; i++) {
			GElf_Dyn entry;

			gelf_getdyn(data, (int)i, &entry);
			if (entry.d_tag == DT_NEEDED)
				CHECK(!strcmp(elf_strptr(elf, header.sh_link, entry.d_un.d_val),
					      "libc.so.6"));
		}
		if (header.sh_type == SHT_GNU_verneed) {
			GElf_Verneed need;
			size_t at = 0;

			gelf_getverneed(data, 0, &need);
			at = need.vn_aux;
			for (int i = 0; i < need.vn_cnt; i++) {
				GElf_Vernaux version;
				const char *name;

				gelf_getvernaux(data, (int)at, &version);
				name = elf_strptr(elf, header.sh_link, version.vna_name);
				if (strcmp(name, "GLIBC_2.2.5") &&
				    strtol(strchr(name, '.') + 1, NULL, 10) > 17) {
					printf("# needs %s\n", name);
					FAIL("newer than GLIBC_2.17");
				}
				at += version.vna_next;
			}
		}
	}
	elf_end(elf);
}

int main(void)
{
	RUN(agent_links_old_libc_alone);
	RUN(comes_and_goes_without_a_trace);
	RUN(registers_and_errno_are_put_back);
	RUN(two_loaders_share_one_agent);
	RUN(loads_into_threads_that_allocate);
	RUN(loader_killed_at_any_moment_costs_the_target_nothing);
	RUN(static_program_is_refused);
	RUN(thirty_two_bit_program_is_refused);
	RUN(musl_program_is_refused);
	RUN(program_under_seccomp_is_refused);
	RUN(program_under_lenient_seccomp_is_accepted);
	RUN(nobody_is_refused);
	RUN(stopped_program_is_refused_until_it_goes_on);
	RUN(program_without_room_for_thread_locals_is_refused);
	RUN(traced_program_is_refused_until_it_is_let_go);
	RUN(command_is_held_before_its_first_instruction);
	return test_done();
}
