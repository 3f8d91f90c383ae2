/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/inject.h"

#include <elf.h>
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRACER_NAPS 100 /* of 5 ms */

int problem_set(const struct problem *problem, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem->text, problem->size, format, args);
	va_end(args);
	return error;
}

static void read_line(const char *path, char *to, size_t size)
{
	FILE *file = fopen(path, "re");

	to[0] = 0;
	if (!file)
		return;
	if (fgets(to, (int)size, file))
		to[strcspn(to, "\n")] = 0;
	fclose(file);
}

static void name_of(pid_t pid, char *to, size_t size)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	read_line(path, to, size);
}

static void user_name(uid_t uid, char *to, size_t size)
{
	const struct passwd *entry = getpwuid(uid);

	if (entry)
		snprintf(to, size, "%s", entry->pw_name);
	else
		snprintf(to, size, "uid %u", uid);
}

int inject_owner(pid_t pid, uid_t *ret_uid, char *name, size_t size)
{
	struct stat stat_of_process;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &stat_of_process))
		return -ESRCH;
	*ret_uid = stat_of_process.st_uid;
	user_name(*ret_uid, name, size);
	return 0;
}

int inject_explain_permission(const struct process *process, int error,
			      const struct problem *problem)
{
	const struct process_facts *facts = process_facts(process);
	char scope[16], owner[64];

	user_name(facts->uid, owner, sizeof(owner));
	if (facts->uid != geteuid() && geteuid() != 0)
		return problem_set(problem, -EPERM,
				   "process %d belongs to %s: run as that user, or as root",
				   facts->pid, owner);
	if (facts->uid != facts->euid)
		return problem_set(problem, -EPERM,
				   "process %d runs with another user's rights: run as root",
				   facts->pid);
	read_line("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof(scope));
	if (atoi(scope) > 0)
		return problem_set(
			problem, -EPERM,
			"kernel.yama.ptrace_scope is %s: set it to 0, run as root, or start the target with -c",
			scope);
	return problem_set(
		problem, -EPERM,
		"process %d may not be traced (%s); it is not dumpable, or in a namespace that is not ours",
		facts->pid, strerror(-error));
}

pid_t inject_tracer(pid_t pid, pid_t tid)
{
	char path[64], line[256];
	int tracer = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	}
	if (file)
		fclose(file);
	return tracer;
}

/* Another loader is done in a moment, a debugger is not. */
static int check_untraced(pid_t pid, pid_t held, const struct problem *problem)
{
	const struct timespec nap = {0, 5000000};
	pid_t tracer = inject_tracer(pid, pid);
	char name[32];

	for (u32 i = 0; i < TRACER_NAPS && tracer && tracer != getpid(); i++) {
		nanosleep(&nap, NULL);
		tracer = inject_tracer(pid, pid);
	}
	if (!tracer || (held && tracer == getpid()))
		return 0;
	name_of(tracer, name, sizeof(name));
	return problem_set(problem, -EBUSY,
			   "process %d is being traced by %s (process %d); let it detach first",
			   pid, name, tracer);
}

/* The agent needs its program's loader and libc: glibc, x86-64 as we are, dynamically linked. */
static int check_kind(const struct process_facts *facts, const struct problem *problem)
{
	if (facts->elf_class != ELFCLASS64)
		return problem_set(problem, -EOPNOTSUPP,
				   "process %d is a 32-bit program; inlay is for 64-bit ones",
				   facts->pid);
	if (facts->machine != EM_X86_64)
		return problem_set(problem, -EOPNOTSUPP,
				   "process %d is a program for another processor (ELF machine %u)",
				   facts->pid, facts->machine);
	if (facts->is_musl)
		return problem_set(problem, -EOPNOTSUPP,
				   "process %d uses the musl C library; inlay's agent needs glibc",
				   facts->pid);
	if (facts->is_static || !facts->libc || !facts->interpreter)
		return problem_set(
			problem, -EOPNOTSUPP,
			"process %d is linked statically; the agent needs a dynamically linked glibc",
			facts->pid);
	return 0;
}

/* Its new threads would be stopped too, ours among them. */
static bool is_stopped(pid_t pid)
{
	char path[40], line[512];
	const char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	read_line(path, line, sizeof(line));
	at = strrchr(line, ')');
	return at && at[1] == ' ' && at[2] == 'T';
}

int inject_check(const struct process *process, pid_t held, const struct problem *problem)
{
	const struct process_facts *facts = process_facts(process);
	long refused = 0;
	int error;

	if (facts->pid == getpid())
		return problem_set(problem, -EINVAL, "process %d is inlay itself", facts->pid);
	error = check_kind(facts, problem);
	if (error)
		return error;
	error = check_untraced(facts->pid, held, problem);
	if (error)
		return error;
	if (is_stopped(facts->pid))
		return problem_set(
			problem, -EBUSY,
			"process %d is stopped (by SIGSTOP or a terminal); continue it first, kill -CONT %d",
			facts->pid, facts->pid);
	if (facts->shadow_stack)
		return problem_set(
			problem, -EOPNOTSUPP,
			"process %d has user shadow stacks on, under which its functions cannot be hooked",
			facts->pid);
	if (facts->seccomp == 1)
		return problem_set(problem, -EOPNOTSUPP, "process %d is in strict seccomp mode",
				   facts->pid);
	if (facts->seccomp == 2) {
		error = inject_seccomp_allows(facts->pid, held != 0, &refused);
		if (error == -EPERM)
			return problem_set(
				problem, -EOPNOTSUPP,
				"process %d has a seccomp filter that refuses system call %ld, which the agent needs",
				facts->pid, refused);
		if (error)
			return problem_set(
				problem, -EOPNOTSUPP,
				"process %d has a seccomp filter that cannot be read (that takes CAP_SYS_ADMIN), so the agent's calls might kill it",
				facts->pid);
	}
	return 0;
}
