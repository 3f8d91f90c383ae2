/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/remote.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/stop.h"
#include "base/sys_frame.h"

#define CALL_TIMEOUT_NS	 15000000000ull
#define STOP_TIMEOUT_MS	 500
#define EVENT_STOP	 128
#define REMOTE_FRAME_MAX 49152
#define SYSCALL_STOP	 (SIGTRAP | 0x80) /* with PTRACE_O_TRACESYSGOOD */

#ifndef PTRACE_GETSIGMASK
#define PTRACE_GETSIGMASK 0x420a
#define PTRACE_SETSIGMASK 0x420b
#endif

static int trace(int request, pid_t tid, u64 addr, u64 data)
{
	return ptrace(request, tid, ptr_from_u64(addr), ptr_from_u64(data)) < 0 ? -errno : 0;
}

static int get_regs(const struct remote *remote, sys_regs *regs)
{
	struct iovec io = {regs, sizeof(*regs)};

	return trace(PTRACE_GETREGSET, remote->tid, NT_PRSTATUS, ptr_to_u64(&io));
}

static int set_regs(const struct remote *remote, const sys_regs *regs)
{
	struct iovec io = {(void *)(uintptr_t)regs, sizeof(*regs)};

	return trace(PTRACE_SETREGSET, remote->tid, NT_PRSTATUS, ptr_to_u64(&io));
}

/* Lets the thread run until our interrupt stops it; signals on the way are delivered. */
static int wait_interrupt(const struct remote *remote)
{
	for (int tries = 0; tries < 64; tries++) {
		int status, error = stop_wait(remote->tid, STOP_TIMEOUT_MS, &status);

		if (error)
			return error;
		if (status >> 16 == EVENT_STOP)
			return 0;
		/* A system call stop is none of the thread's business; a signal is. */
		trace(PTRACE_CONT, remote->tid, 0,
		      WSTOPSIG(status) == SYSCALL_STOP ? 0 : (u64)WSTOPSIG(status));
	}
	return -ETIMEDOUT;
}

static int save(struct remote *remote)
{
	struct iovec io = {remote->xstate, sizeof(remote->xstate)};
	int error = get_regs(remote, &remote->saved);

	if (!error)
		error = trace(PTRACE_GETREGSET, remote->tid, NT_X86_XSTATE, ptr_to_u64(&io));
	remote->xstate_size = io.iov_len;
	/* Cut off at our buffer it could not be restored. */
	if (!error && io.iov_len == sizeof(remote->xstate))
		error = -E2BIG;
	if (!error)
		error = trace(PTRACE_GETSIGMASK, remote->tid, 8, ptr_to_u64(&remote->saved_mask));
	return error;
}

int remote_borrow(struct remote *remote)
{
	int error = 0;

	remote->stack = remote->stack_used = 0;
	remote->changed = remote->leave_stack = false;
	remote->deadline_ns = stop_now() + CALL_TIMEOUT_NS;
	if (!remote->held) {
		error = trace(PTRACE_SEIZE, remote->tid, 0, PTRACE_O_TRACESYSGOOD);
		if (error)
			return error;
		trace(PTRACE_INTERRUPT, remote->tid, 0, 0);
		error = wait_interrupt(remote);
	}
	if (!error)
		error = save(remote);
	if (error && !remote->held)
		trace(PTRACE_DETACH, remote->tid, 0, 0);
	return error;
}

void remote_return(struct remote *remote)
{
	struct iovec io = {remote->xstate, remote->xstate_size};

	if (remote->stack && !remote->leave_stack)
		remote_syscall(remote, SYS_munmap, remote->stack, REMOTE_STACK, 0, 0, 0, 0);
	if (remote->changed) {
		/*
		 * Only on the way out of a signal stop does the kernel look whether an interrupted call must restart; so the
		 * registers are restored in one.
		 */
		trace(PTRACE_INTERRUPT, remote->tid, 0, 0);
		trace(PTRACE_CONT, remote->tid, 0, 0);
		wait_interrupt(remote);
		trace(PTRACE_SETSIGMASK, remote->tid, 8, ptr_to_u64(&remote->saved_mask));
		trace(PTRACE_SETREGSET, remote->tid, NT_X86_XSTATE, ptr_to_u64(&io));
		set_regs(remote, &remote->saved);
	}
	if (!remote->held)
		trace(PTRACE_DETACH, remote->tid, 0, 0);
}

/* Runs to the next entry or exit of a system call. */
static int run_to_call_stop(struct remote *remote)
{
	for (;;) {
		int status, error = trace(PTRACE_SYSCALL, remote->tid, 0, 0);
		u64 now = stop_now();

		if (error)
			return error;
		if (now > remote->deadline_ns)
			return -ETIMEDOUT;
		error = stop_wait(remote->tid, (u32)((remote->deadline_ns - now) / 1000000),
				  &status);
		if (error)
			return error;
		if (WSTOPSIG(status) == SYSCALL_STOP)
			return 0;
		/* Every signal is blocked: what arrives is a fault of the code we run (or a stop of the whole process). */
		if (status >> 16 != EVENT_STOP)
			return -EFAULT;
	}
}

/* Where calls begin, and returns end. */
static u64 stack_top(const struct remote *remote)
{
	return remote->stack + REMOTE_STACK - REMOTE_FRAME_MAX - 16;
}

static long run_syscall(struct remote *remote, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	sys_regs regs = remote->saved;
	const u64 args[6] = {a, b, c, d, e, f};
	int error;

	sys_regs_set_syscall(&regs, remote->syscall_at, nr, args);
	if (remote->stack)
		sys_regs_set_sp(&regs, stack_top(remote));
	error = set_regs(remote, &regs);
	if (!error)
		error = run_to_call_stop(remote);
	if (!error)
		error = run_to_call_stop(remote);
	if (!error)
		error = get_regs(remote, &regs);
	return error ? error : (long)sys_regs_result(&regs);
}

/*
 * A stack of our own. Above the place where calls begin lies the way back, for the case that we are killed: what runs ends in
 * the system call instruction (here we wait for it), from there a return leads to sigreturn and the frame.
 */
static int need_stack(struct remote *remote)
{
	static u8 frame[REMOTE_FRAME_MAX];
	u64 all = ~0ull;
	sys_regs regs;
	long result, size;
	int error;

	if (remote->stack)
		return 0;
	remote->changed = true;
	error = trace(PTRACE_SETSIGMASK, remote->tid, 8, ptr_to_u64(&all));
	if (error)
		return error;
	result = run_syscall(remote, SYS_mmap, 0, REMOTE_STACK, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0);
	if (result < 0 && result > -4096)
		return (int)result;
	remote->stack = (u64)result;
	size = sys_frame_build(frame, sizeof(frame), stack_top(remote) + 8, &remote->saved,
			       remote->saved_mask, remote->xstate, remote->xstate_size);
	if (size < 0)
		return (int)size;
	error = remote_write(remote, stack_top(remote), &remote->return_at, 8);
	if (!error)
		error = remote_write(remote, stack_top(remote) + 8, frame, (size_t)size);
	/* From here on our death is survived. Before, for the length of one mmap, it is not. */
	if (!error)
		error = get_regs(remote, &regs);
	sys_regs_set_sp(&regs, stack_top(remote));
	return error ? error : set_regs(remote, &regs);
}

long remote_syscall(struct remote *remote, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	int error = need_stack(remote);

	return error ? error : run_syscall(remote, nr, a, b, c, d, e, f);
}

int remote_call(struct remote *remote, u64 function, u64 a, u64 b, u64 c, u64 *ret_result)
{
	sys_regs regs = remote->saved;
	u64 top;
	int error = need_stack(remote);

	if (error)
		return error;
	top = stack_top(remote);
	sys_regs_set_function(&regs, function, top, a, b, c);
	/* It returns to a system call, which is where we wait for it: no breakpoint, no signal. */
	error = remote_write(remote, sys_regs_sp(&regs), &remote->syscall_at, 8);
	if (!error)
		error = set_regs(remote, &regs);
	while (!error) {
		error = run_to_call_stop(remote);
		if (!error)
			error = get_regs(remote, &regs);
		if (!error && sys_regs_ip(&regs) == remote->syscall_at + SYS_REGS_CALL_BYTES &&
		    sys_regs_sp(&regs) == top)
			break;
	}
	if (error)
		return error;
	*ret_result = sys_regs_call_number(&regs);
	sys_regs_set_call_number(&regs, SYS_getpid);
	error = set_regs(remote, &regs);
	return error ? error : run_to_call_stop(remote);
}

int remote_put(struct remote *remote, const void *from, size_t size, u64 *ret_address)
{
	u64 address;
	int error = need_stack(remote);

	if (error)
		return error;
	if (remote->stack_used + size > REMOTE_STACK / 2)
		return -ENOSPC;
	address = remote->stack + remote->stack_used;
	error = remote_write(remote, address, from, size);
	if (error)
		return error;
	remote->stack_used += ALIGN_UP(size, 16);
	*ret_address = address;
	return 0;
}

int remote_read(const struct remote *remote, u64 address, void *to, size_t size)
{
	struct iovec local = {to, size}, far = {ptr_from_u64(address), size};
	ssize_t got = process_vm_readv(remote->pid, &local, 1, &far, 1, 0);

	return got == (ssize_t)size ? 0 : got < 0 ? -errno : -EFAULT;
}

int remote_write(const struct remote *remote, u64 address, const void *from, size_t size)
{
	struct iovec local = {(void *)(uintptr_t)from, size}, far = {ptr_from_u64(address), size};
	ssize_t put = process_vm_writev(remote->pid, &local, 1, &far, 1, 0);

	return put == (ssize_t)size ? 0 : put < 0 ? -errno : -EFAULT;
}
