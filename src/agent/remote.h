/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Borrow a thread of another process: make it run system calls and functions for us, and put it back as it was.
 *
 * While borrowed the thread blocks every signal (they stay pending), and all its registers, extended state included, are kept
 * here. A call that was interrupted restarts afterwards. Loader; all calls on one object from one thread.
 *
 * Should we be killed meanwhile, the thread finishes what it runs, returns into a signal frame that was laid in its
 * way, and is again what it was.
 *
 *   state \ call | remote_borrow | remote_syscall/_call | remote_return | the process dies
 *   running      | BORROWED      | -                    | -             | -ESRCH
 *   BORROWED     | -             | BORROWED             | running       | every call answers -ESRCH
 */
#ifndef INLAY_AGENT_REMOTE_H
#define INLAY_AGENT_REMOTE_H

#include <sys/types.h>

#include "base/sys_regs.h"
#include "base/types.h"

#define REMOTE_XSTATE_MAX 32768
#define REMOTE_STACK	  (256 * 1024)

struct remote {
	pid_t pid, tid;
	bool held;	/* already stopped under our ptrace, and to be left so (agent/spawn.h) */
	u64 syscall_at; /* of a system call instruction in the process that leads to a return */
	u64 return_at;	/* of the process's sigreturn, where its signal handlers return to */
	u64 top;	/* where its calls begin; 0: it has run nothing yet */
	u64 stack; /* mapping of REMOTE_STACK bytes for its calls; 0: they are on its own stack */
	bool changed; /* it has run something for us: registers and mask must be put back */
	bool leave_stack; /* somebody else unmaps it later: nothing is then left between it and its own registers */
	u64 put_base, put_room, put_used; /* where remote_put goes */
	u64 deadline_ns;
	sys_regs saved;
	u64 saved_mask;
	size_t xstate_size;
	u8 xstate[REMOTE_XSTATE_MAX];
};

/* Stops the thread. pid, tid, held, syscall_at and return_at are set by the caller. 0, -ESRCH, -EPERM, -ETIMEDOUT, -errno. */
int remote_borrow(struct remote *remote);
/* Unmaps the stack, restores everything and lets the thread go. */
void remote_return(struct remote *remote);

/* Runs a system call: its result or -errno; errors of our own are in *ret_result too (-ESRCH, -EFAULT, -ETIMEDOUT). */
long remote_syscall(struct remote *remote, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* Calls a C function. 0 and its result, -ESRCH, -EFAULT (it crashed), -ETIMEDOUT, -errno. */
int remote_call(struct remote *remote, u64 function, u64 a, u64 b, u64 c, u64 *ret_result);

/* Copies bytes to where the thread's calls find them; *ret_address is where. 0 or -errno. */
int remote_put(struct remote *remote, const void *from, size_t size, u64 *ret_address);
int remote_read(const struct remote *remote, u64 address, void *to, size_t size);
int remote_write(const struct remote *remote, u64 address, const void *from, size_t size);

#endif
