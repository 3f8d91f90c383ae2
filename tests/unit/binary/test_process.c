/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/process.h"

#include "test.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct process *open_self(void)
{
	struct process *process = NULL;

	CHECK_EQ(process_open(getpid(), &process), 0);
	return process;
}

__attribute__((noinline)) int a_function_to_find(int value);

int a_function_to_find(int value)
{
	return value + 1;
}

static void facts_of_ourselves(void)
{
	struct process *process = open_self();
	const struct process_facts *facts = process_facts(process);

	CHECK_EQ(facts->pid, getpid());
	CHECK_EQ(facts->uid, getuid());
	CHECK_EQ(facts->machine, EM_X86_64);
	CHECK_EQ(facts->elf_class, ELFCLASS64);
	CHECK_EQ(facts->tracer, 0);
	CHECK_EQ(facts->threads, 1);
	CHECK_EQ(facts->proc_pid, getpid());
	CHECK(!facts->is_static && !facts->is_musl);
	CHECK(facts->exe && facts->exe->is_exe);
	CHECK(facts->libc && strstr(facts->libc->path, "/libc.so.6"));
	CHECK(facts->interpreter && strstr(facts->interpreter->path, "/ld-linux"));
	process_close(process);
}

/* A symbol of libc itself: a sanitizer defines its own in front of it. */
static void *in_libc(const char *name)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	void *symbol = libc ? dlsym(libc, name) : NULL;

	if (libc)
		dlclose(libc);
	return symbol;
}

/* dladdr's base address is the loader's own word for the bias. */
static void bias_is_the_loaders(void)
{
	struct process *process = open_self();
	const struct process_facts *facts = process_facts(process);
	Dl_info info;

	CHECK(dladdr(in_libc("getpid"), &info) != 0);
	CHECK_EQ(facts->libc->bias, ptr_to_u64(info.dli_fbase));
	CHECK(process_module_at(process, ptr_to_u64(info.dli_saddr)) == facts->libc);
	process_close(process);
}

static void functions_by_name(void)
{
	struct process *process = open_self();
	const struct process_facts *facts = process_facts(process);
	u64 address = 0;

	CHECK_EQ(process_find_function(process, facts->exe, "a_function_to_find", &address), 0);
	CHECK_EQ(address, (uintptr_t)a_function_to_find);
	CHECK_EQ(process_find_function(process, facts->libc, "dlopen", &address), 0);
	CHECK_EQ(address, (uintptr_t)in_libc("dlopen"));
	CHECK_EQ(process_find_function(process, facts->libc, "no_such_function", &address),
		 -ENOENT);
	CHECK(strstr(process_problem(), "no_such_function") != NULL);
	process_close(process);
}

/* The implementation that libc chose, as the linker gives it to us. */
static void ifunc_in_use(void)
{
	struct process *process = open_self();
	const struct process_facts *facts = process_facts(process);
	u64 address = 0;

	CHECK_EQ(process_find_function(process, facts->libc, "strlen", &address), 0);
	CHECK_EQ(address, (uintptr_t)in_libc("strlen"));
	process_close(process);
}

static void modules_by_what_people_call_them(void)
{
	struct process *process = open_self();
	const struct process_facts *facts = process_facts(process);

	CHECK(process_find_module(process, "") == facts->exe);
	CHECK(process_find_module(process, "exe") == facts->exe);
	CHECK(process_find_module(process, "/proc/self/exe") == facts->exe);
	CHECK(process_find_module(process, "libc") == facts->libc);
	CHECK(process_find_module(process, "libc.so.6") == facts->libc);
	CHECK(process_find_module(process, facts->libc->path) == facts->libc);
	CHECK(process_find_module(process, "/proc/self/root/lib64/ld-linux-x86-64.so.2") ==
	      facts->interpreter);
	CHECK(process_find_module(process, "/lib64/ld-linux-x86-64.so.2") == facts->interpreter);
	CHECK(process_find_module(process, facts->exe->path) == facts->exe);
	CHECK(process_find_module(process, "lib") == NULL);
	CHECK(process_find_module(process, "nothing.so.9") == NULL);
	CHECK(strstr(process_problem(), "nothing.so.9") != NULL);
	process_close(process);
}

static void offsets_are_places(void)
{
	struct process *process = open_self();
	const struct process_facts *facts = process_facts(process);
	const struct binary_function *function;
	struct binary *binary;
	u64 address = 0;

	CHECK_EQ(process_binary(process, facts->exe, &binary), 0);
	function = binary_find(binary, "a_function_to_find");
	CHECK(function != NULL);
	CHECK_EQ(process_offset_to_address(process, facts->exe, function->file_offset, &address),
		 0);
	CHECK_EQ(address, (uintptr_t)a_function_to_find);
	CHECK_EQ(process_offset_to_address(process, facts->exe, 0, &address), -ENOENT);
	CHECK_EQ(process_offset_to_address(process, facts->exe, 1ULL << 40, &address), -ENOENT);
	process_close(process);
}

static void memory_is_read(void)
{
	struct process *process = open_self();
	u64 secret = 0x1122334455667788, seen = 0;

	CHECK_EQ(process_read(process, (uintptr_t)&secret, &seen, sizeof(seen)), 0);
	CHECK_EQ(seen, secret);
	CHECK_EQ(process_read(process, 16, &seen, sizeof(seen)), -EFAULT);
	process_close(process);
}

/* Runs a copy of /bin/sleep from a folder of its own; the path is written to `path`. */
static pid_t start_copy(char *path, size_t size)
{
	char folder[] = "/tmp/inlay-process-XXXXXX", command[400];
	pid_t child;

	if (!mkdtemp(folder))
		return -1;
	snprintf(path, size, "%s/sleeper", folder);
	snprintf(command, sizeof(command), "cp /bin/sleep %s", path);
	if (system(command))
		return -1;
	child = fork();
	if (!child) {
		execl(path, "sleeper", "30", (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 200; i++) {
		char link[64], target[300];
		ssize_t length;

		snprintf(link, sizeof(link), "/proc/%d/exe", child);
		length = readlink(link, target, sizeof(target) - 1);
		if (length > 0 && (target[length] = '\0', !strcmp(target, path)))
			return child;
		usleep(10000);
	}
	return -1;
}

static void end_copy(pid_t child, char *path)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

/* The file is unlinked, and another stands under its name: what is read must still be the one that runs. */
static void replaced_executable(void)
{
	char path[300];
	pid_t child = start_copy(path, sizeof(path));
	struct process *process = NULL;
	const struct process_module *exe;
	struct stat st = {};
	int fd;

	CHECK(child > 0);
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	CHECK_EQ(process_open(child, &process), 0);
	exe = process_facts(process)->exe;
	CHECK(exe != NULL && exe->deleted && !strcmp(exe->path, path));
	fd = process_open_module(process, exe);
	CHECK(fd >= 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_ino, exe->inode);
	CHECK(st.st_size > 0);
	CHECK(exe->bias != 0);
	close(fd);
	process_close(process);
	end_copy(child, path);
}

static void gone_and_dead_processes(void)
{
	struct process *process = NULL;
	pid_t child = fork();
	siginfo_t info;

	if (!child)
		_exit(0);
	waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
	CHECK_EQ(process_open(child, &process), -ESRCH);
	CHECK(strstr(process_problem(), "exited") != NULL);
	waitpid(child, NULL, 0);
	CHECK_EQ(process_open(child, &process), -ESRCH);
	CHECK(strstr(process_problem(), "no process") != NULL);
	CHECK(process == NULL);
}

static void a_library_loaded_since(void)
{
	struct process *process = open_self();
	void *library;

	CHECK(process_find_module(process, "libdw") != NULL ||
	      process_find_module(process, "libresolv") == NULL);
	library = dlopen("libresolv.so.2", RTLD_NOW);
	if (!library) {
		process_close(process);
		SKIP("there is no libresolv.so.2");
	}
	CHECK_EQ(process_refresh(process), 0);
	CHECK(process_find_module(process, "libresolv") != NULL);
	CHECK(process_facts(process)->exe == process_find_module(process, ""));
	process_close(process);
	dlclose(library);
}

int main(void)
{
	RUN(facts_of_ourselves);
	RUN(bias_is_the_loaders);
	RUN(functions_by_name);
	RUN(ifunc_in_use);
	RUN(modules_by_what_people_call_them);
	RUN(offsets_are_places);
	RUN(memory_is_read);
	RUN(replaced_executable);
	RUN(gone_and_dead_processes);
	RUN(a_library_loaded_since);
	return test_done();
}
