/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bring the agent into a process and open a session with it.
 *
 *   check      everything that makes us refuse, from /proc alone: nothing in the target has changed yet
 *   choose     a thread at a point where it may call dlopen (agent/safe.h)
 *   deliver    memfd in the target, filled through /proc/PID/fd, opened as /proc/<its pid>/fd/N
 *   enter      a socket pair in the target, one end taken with pidfd_getfd, the other given to agent_entry
 *
 * A process that holds an agent of this build already is only entered. Loader; any one thread.
 */
#ifndef INLAY_AGENT_INJECT_H
#define INLAY_AGENT_INJECT_H

#include <signal.h>
#include <sys/types.h>

#include "binary/process.h"

struct problem {
	char *text;
	size_t size;
};

/* Puts a sentence where the caller of the whole operation will read it; returns error. */
int problem_set(const struct problem *problem, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Returns a connected descriptor of a new session, or -errno with the problem in words: -ESRCH, -EPERM, -EACCES, -EBUSY (traced),
 * -EOPNOTSUPP (32-bit, static, musl, seccomp, shadow stacks, no /proc), -ETIMEDOUT (no thread came to a fit point).
 * held: the thread of a process that agent/spawn.h holds stopped; 0: none. *ret_stack: a mapping of REMOTE_STACK bytes that
 * is left for the agent to unmap (in WIRE_HELLO). ret_kept: not NULL: the thread that was borrowed stays stopped under our ptrace,
 * for the caller to detach from; it is then waited for less long. Not together with held.
 */
int inject_session(struct process *process, pid_t held, const struct problem *problem,
		   u64 *ret_stack, pid_t *ret_kept);
/*
 * A suspended loader (Ctrl-Z) would leave threads that it holds standing still. Blocks the terminal's stop signals in the calling
 * thread; they are taken when the caller puts *ret_old back. SIGSTOP cannot be held off.
 */
void inject_defer_suspension(sigset_t *ret_old);
/* Has the process an agent mapped, of its own or as the child of a process that had one? Not after an exec. */
bool inject_has_agent(pid_t pid);

/* The agent as a file of this process, to be closed by the caller. -errno. */
int inject_self_fd(void);

/* ---- inject_check.c ---- */
int inject_check(const struct process *process, pid_t held, const struct problem *problem);
/* Who traces the thread; 0: nobody, or it is gone. */
pid_t inject_tracer(pid_t pid, pid_t tid);
/* Who owns the process and what stops us: the sentence for a refused ptrace. */
int inject_explain_permission(const struct process *process, int error,
			      const struct problem *problem);

/* The process's user, and that user's name or "uid N". 0 or -ESRCH. */
int inject_owner(pid_t pid, uid_t *ret_uid, char *name, size_t size);

/* ---- inject_seccomp.c ---- */
/*
 * Are the system calls that injection and the agent make allowed by the thread's filters? held: it is stopped under our
 * ptrace. 0, -EACCES (cannot be read), -EPERM.
 */
int inject_seccomp_allows(pid_t tid, bool held, long *ret_refused);

#endif
