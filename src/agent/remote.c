/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/remote.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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
#define LATE_TIMEOUT_MS	 10000
#define EVENT_STOP	 128
#define REMOTE_FRAME_MAX (REMOTE_XSTATE_MAX + 1024)
#define REMOTE_PUT	 4096
#define REMOTE_OWN_MIN	 (64 * 1024)	  /* what dlopen needs, and as much again */
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

/*
 * Only a stopped thread can be let go. One that has not stopped yet (in the middle of a long fork, or without a processor) runs
 * on until it does; if it were left then, it would stand still until we end.
 */
static void give_up(const struct remote *remote, int error)
{
	int status = 0;

	if (error == -ETIMEDOUT && stop_wait(remote->tid, LATE_TIMEOUT_MS, &status))
		return;
	if (status >> 16 || WSTOPSIG(status) == SYSCALL_STOP)
		status = 0;
	trace(PTRACE_DETACH, remote->tid, 0, (u64)WSTOPSIG(status));
}

int remote_borrow(struct remote *remote)
{
	int error = 0;

	remote->stack = remote->top = remote->put_used = 0;
	remote->changed = remote->leave_stack = false;
	remote->deadline_ns = stop_now() + CALL_TIMEOUT_NS;
	if (!remote->held) {
		error = trace(PTRACE_SEIZE, remote->tid, 0, PTRACE_O_TRACESYSGOOD);
		if (error)
			return error;
		trace(PTRACE_INTERRUPT, remote->tid, 0, 0);
		error = wait_interrupt(remote);
		if (!error)
			stop_hide_interruption(remote->tid);
	}
	if (!error)
		error = save(remote);
	if (error && !remote->held)
		give_up(remote, error);
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

static long run_syscall(struct remote *remote, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	sys_regs regs = remote->saved;
	const u64 args[6] = {a, b, c, d, e, f};
	int error;

	sys_regs_set_syscall(&regs, remote->syscall_at, nr, args);
	if (remote->top)
		sys_regs_set_sp(&regs, remote->top);
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
 * Lays the way back above remote->top, for the case that we are killed: what runs ends in the system call instruction (there
 * we wait for it), from it a return leads to sigreturn and the frame.
 */
static int lay_way_back(struct remote *remote)
{
	static u8 frame[REMOTE_FRAME_MAX];
	long size = sys_frame_build(frame, sizeof(frame), remote->top + 8, &remote->saved,
				    remote->saved_mask, remote->xstate, remote->xstate_size);
	int error = size < 0 ? (int)size : remote_write(remote, remote->top, &remote->return_at, 8);

	return error ? error : remote_write(remote, remote->top + 8, frame, (size_t)size);
}

/*
 * How far the thread's own stack reaches below its stack pointer; 0: that cannot be told. It can where the mapping is the
 * process's first stack, or holds the thread's descriptor, which libc puts above the stack: then nothing else is below.
 */
static u64 own_stack_room(const struct remote *remote)
{
	u64 sp = sys_regs_sp(&remote->saved), thread = sys_regs_thread(&remote->saved);
	char path[40], line[512];
	u64 room = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", remote->pid);
	maps = fopen(path, "re");
	while (maps && !room && fgets(line, sizeof(line), maps)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx rw-p", &start, &end) != 2 || sp < start || sp >= end)
			continue;
		if (strstr(line, "[stack]") || (thread > sp && thread < end))
			room = sp - start;
		break;
	}
	if (maps)
		fclose(maps);
	return room;
}

/* Below the red zone: what is put there, then the way back, then the calls. */
static int use_own_stack(struct remote *remote)
{
	u64 sp = sys_regs_sp(&remote->saved);

	if (own_stack_room(remote) < REMOTE_OWN_MIN)
		return -ENOSPC;
	remote->put_room = REMOTE_PUT;
	remote->put_base = ALIGN_DOWN(sp - SYS_REGS_RED_ZONE - remote->put_room, 64);
	remote->top = remote->put_base - ALIGN_UP(remote->xstate_size + 1024, 64);
	return lay_way_back(remote);
}

static int map_stack(struct remote *remote)
{
	long result = run_syscall(remote, SYS_mmap, 0, REMOTE_STACK, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0);
	sys_regs regs;
	int error;

	if (result < 0 && result > -4096)
		return (int)result;
	remote->stack = remote->put_base = (u64)result;
	remote->put_room = REMOTE_PUT;
	remote->top = remote->stack + REMOTE_STACK - REMOTE_FRAME_MAX;
	error = lay_way_back(remote);
	/* From here on our death is survived. Before, for the length of one mmap, it is not. */
	if (!error)
		error = get_regs(remote, &regs);
	if (error)
		return error;
	sys_regs_set_sp(&regs, remote->top);
	return set_regs(remote, &regs);
}

/* Before the thread runs anything for us. */
static int prepare(struct remote *remote)
{
	u64 all = ~0ull;
	int error;

	if (remote->top)
		return 0;
	error = use_own_stack(remote);
	if (error)
		remote->top = 0;
	remote->changed = true;
	if (trace(PTRACE_SETSIGMASK, remote->tid, 8, ptr_to_u64(&all)))
		return -ESRCH;
	return error ? map_stack(remote) : 0;
}

long remote_syscall(struct remote *remote, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	int error = prepare(remote);

	return error ? error : run_syscall(remote, nr, a, b, c, d, e, f);
}

int remote_call(struct remote *remote, u64 function, u64 a, u64 b, u64 c, u64 *ret_result)
{
	sys_regs regs = remote->saved;
	int error = prepare(remote);

	if (error)
		return error;
	sys_regs_set_function(&regs, function, remote->top, a, b, c);
	/* It returns to a system call, which is where we wait for it: no breakpoint, no signal. */
	error = remote_write(remote, sys_regs_sp(&regs), &remote->syscall_at, 8);
	if (!error)
		error = set_regs(remote, &regs);
	while (!error) {
		error = run_to_call_stop(remote);
		if (!error)
			error = get_regs(remote, &regs);
		if (!error && sys_regs_ip(&regs) == remote->syscall_at + SYS_REGS_CALL_BYTES &&
		    sys_regs_sp(&regs) == remote->top)
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
	int error = prepare(remote);

	if (error)
		return error;
	if (remote->put_used + size > remote->put_room)
		return -ENOSPC;
	address = remote->put_base + remote->put_used;
	error = remote_write(remote, address, from, size);
	if (error)
		return error;
	remote->put_used += ALIGN_UP(size, 16);
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
