/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stopped thread's general registers as ptrace gives them, in words that hold for every CPU.
 *
 * Also what a signal frame and a system call look like in memory. Pure; the only place outside arch/ that knows the layouts,
 * since they are the operating system's and not the encoder's.
 */
#ifndef INLAY_BASE_SYS_REGS_H
#define INLAY_BASE_SYS_REGS_H

#include <sys/user.h>

#include "base/types.h"

typedef struct user_regs_struct sys_regs;

#if defined(__x86_64__)
#define SYS_REGS_CALL_BYTES 2 /* of a system call instruction */
/* From a saved instruction pointer in a signal frame back to the frame's return address (rt_sigframe.pretcode). */
#define SYS_REGS_FRAME_RETURN 176
#define SYS_REGS_RED_ZONE     128

static const u8 sys_regs_syscall[SYS_REGS_CALL_BYTES] = {0x0f, 0x05};
/* mov $15, %rax; syscall: what every x86-64 sa_restorer is. */
static const u8 sys_regs_sigreturn[9] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};

static inline u64 sys_regs_ip(const sys_regs *regs)
{
	return regs->rip;
}

static inline void sys_regs_set_ip(sys_regs *regs, u64 ip)
{
	regs->rip = ip;
}

static inline u64 sys_regs_sp(const sys_regs *regs)
{
	return regs->rsp;
}

/* The thread pointer. */
static inline u64 sys_regs_thread(const sys_regs *regs)
{
	return regs->fs_base;
}

static inline void sys_regs_set_sp(sys_regs *regs, u64 sp)
{
	regs->rsp = sp;
}

static inline u64 sys_regs_result(const sys_regs *regs)
{
	return regs->rax;
}

/* Is the thread inside a system call (as opposed to stopped in its own code)? */
static inline bool sys_regs_in_call(const sys_regs *regs)
{
	return (s64)regs->orig_rax >= 0;
}

/*
 * Makes a call that answers "interrupted" one that the kernel starts again unless a signal handler runs first. At a stop, before
 * the kernel has looked whether to restart: what it looks for is ERESTARTNOHAND.
 */
static inline void sys_regs_restart_call(sys_regs *regs)
{
	regs->rax = (u64)-514;
}

/* A word of code whose first instruction is a breakpoint. */
static inline u64 sys_regs_with_break(u64 code)
{
	return (code & ~0xffull) | 0xcc;
}

/* No system call is under way: nothing is restarted, or, at a call's entry, skip it. */
static inline void sys_regs_no_call(sys_regs *regs)
{
	regs->orig_rax = (u64)-1;
}

/* At the entry of a system call: its number, and how to make it another one. */
static inline u64 sys_regs_call_number(const sys_regs *regs)
{
	return regs->orig_rax;
}

static inline void sys_regs_set_call_number(sys_regs *regs, u64 nr)
{
	regs->orig_rax = nr;
}

/* Makes the thread run the system call instruction at `at`. */
static inline void sys_regs_set_syscall(sys_regs *regs, u64 at, u64 nr, const u64 args[6])
{
	sys_regs_no_call(regs);
	regs->rip = at;
	regs->rax = nr;
	regs->rdi = args[0];
	regs->rsi = args[1];
	regs->rdx = args[2];
	regs->r10 = args[3];
	regs->r8 = args[4];
	regs->r9 = args[5];
}

/*
 * Makes the thread call function(a, b, c) with a stack that ends at sp (16-aligned). The caller stores return_address at the
 * sp this leaves in regs.
 */
static inline void sys_regs_set_function(sys_regs *regs, u64 function, u64 sp, u64 a, u64 b, u64 c)
{
	sys_regs_no_call(regs);
	regs->rip = function;
	regs->rsp = sp - 8;
	regs->rbp = 0;
	regs->rax = 0; /* no vector arguments */
	regs->rdi = a;
	regs->rsi = b;
	regs->rdx = c;
	regs->eflags &= ~(1ull << 10 | 1ull << 8); /* DF as the ABI wants it, no TF */
}
#endif

#endif
