/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/spawn.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/stop.h"
#include "base/sys_regs.h"

#define MAX_HELD	 16
#define START_TIMEOUT_MS 10000
#define OPTIONS		 (PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC)

static pid_t held[MAX_HELD];

pid_t spawn_held(pid_t pid)
{
	for (int i = 0; i < MAX_HELD; i++) {
		if (pid && held[i] == pid)
			return pid;
	}
	return 0;
}

static bool remember(pid_t old, pid_t pid)
{
	for (int i = 0; i < MAX_HELD; i++) {
		if (held[i] == old) {
			held[i] = pid;
			return true;
		}
	}
	return false;
}

/* In the child: waits until it is seized, then becomes the command. */
static void __attribute__((noreturn)) become(char *const argv[], int go, int failed)
{
	char byte;
	int error;

	while (read(go, &byte, 1) < 0 && errno == EINTR)
		;
	execvp(argv[0], argv);
	error = errno;
	while (write(failed, &error, sizeof(error)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* Runs on until a stop that `wanted` accepts: a ptrace event number, or a plain signal. Others are passed on. */
static int run_until(pid_t pid, int event, int signal)
{
	for (;;) {
		int status, error = stop_wait(pid, START_TIMEOUT_MS, &status), deliver;

		if (error)
			return error == -ESRCH ? -ECHILD : error;
		if (event ? status >> 16 == event : !(status >> 16) && WSTOPSIG(status) == signal)
			return 0;
		deliver = status >> 16 ? 0 : WSTOPSIG(status);
		ptrace(PTRACE_CONT, pid, NULL, ptr_from_u64((u64)deliver));
	}
}

/* The program's first instruction, as the kernel told the dynamic linker. */
static int read_entry(pid_t pid, u64 *ret_entry)
{
	Elf64_auxv_t auxv[64];
	char path[40];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = read(fd, auxv, sizeof(auxv));
	close(fd);
	for (ssize_t i = 0; i < got / (ssize_t)sizeof(auxv[0]); i++) {
		if (auxv[i].a_type == AT_ENTRY) {
			*ret_entry = auxv[i].a_un.a_val;
			return 0;
		}
	}
	return -ENOEXEC;
}

/* Stopped after exec: runs the dynamic linker up to the entry. The breakpoint is gone again on return. */
static int run_to_entry(pid_t pid)
{
	sys_regs regs;
	struct iovec io = {&regs, sizeof(regs)};
	u64 entry = 0;
	long word;
	int error = read_entry(pid, &entry);

	if (error)
		return error;
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, ptr_from_u64(entry), NULL);
	if (errno)
		return -errno;
	ptrace(PTRACE_POKETEXT, pid, ptr_from_u64(entry),
	       ptr_from_u64(sys_regs_with_break((u64)word)));
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	error = run_until(pid, 0, SIGTRAP);
	if (error)
		return error;
	ptrace(PTRACE_POKETEXT, pid, ptr_from_u64(entry), ptr_from_u64((u64)word));
	if (ptrace(PTRACE_GETREGSET, pid, ptr_from_u64(NT_PRSTATUS), &io))
		return -errno;
	sys_regs_set_ip(&regs, entry);
	sys_regs_no_call(&regs);
	if (ptrace(PTRACE_SETREGSET, pid, ptr_from_u64(NT_PRSTATUS), &io))
		return -errno;
	/* From the signal's stop to one of our own, in which it stays. */
	ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	return run_until(pid, PTRACE_EVENT_STOP, 0);
}

static int seize_and_exec(pid_t pid, int go, int failed)
{
	int error = 0;

	if (ptrace(PTRACE_SEIZE, pid, NULL, ptr_from_u64(OPTIONS)))
		return -errno;
	if (write(go, "", 1) != 1)
		return -errno;
	/* Closed by a successful exec, else it brings the reason. */
	if (read(failed, &error, sizeof(error)) == (ssize_t)sizeof(error))
		return -error;
	error = run_until(pid, PTRACE_EVENT_EXEC, 0);
	return error ? error : run_to_entry(pid);
}

int spawn_start(char *const argv[], pid_t *ret_pid)
{
	int go[2], failed[2], error;
	pid_t pid;

	if (pipe2(go, O_CLOEXEC))
		return -errno;
	if (pipe2(failed, O_CLOEXEC)) {
		error = -errno;
		close(go[0]);
		close(go[1]);
		return error;
	}
	pid = fork();
	if (pid == 0)
		become(argv, go[0], failed[1]);
	close(go[0]);
	close(failed[1]);
	error = pid < 0 ? -errno : seize_and_exec(pid, go[1], failed[0]);
	close(go[1]);
	close(failed[0]);
	if (!error && !remember(0, pid))
		error = -EAGAIN;
	if (error && pid > 0)
		spawn_kill(pid);
	if (!error)
		*ret_pid = pid;
	return error;
}

int spawn_resume(pid_t pid)
{
	if (!remember(pid, 0))
		return -ESRCH;
	return ptrace(PTRACE_DETACH, pid, NULL, NULL) ? -errno : 0;
}

void spawn_kill(pid_t pid)
{
	int status;

	remember(pid, 0);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) == pid && !WIFEXITED(status) && !WIFSIGNALED(status))
		;
}
