/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Would a thread's seccomp filters let the agent live? The filters are read (which takes CAP_SYS_ADMIN) and run here, on every
 * call that injection and the agent make. A filter that decides by a call's arguments counts as refusing.
 */
#include "agent/inject.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/stop.h"

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

static const u16 needed_calls[] = {
	SYS_mmap,	    SYS_munmap,	       SYS_mprotect,
	SYS_memfd_create,   SYS_close,	       SYS_close_range,
	SYS_openat,	    SYS_read,	       SYS_pread64,
	SYS_pwrite64,	    SYS_write,	       SYS_fstat,
	SYS_newfstatat,	    SYS_socketpair,    SYS_sendmsg,
	SYS_recvmsg,	    SYS_clone,	       SYS_futex,
	SYS_prctl,	    SYS_chdir,	       SYS_eventfd2,
	SYS_ppoll,	    SYS_getdents64,    SYS_lseek,
	SYS_ftruncate,	    SYS_fcntl,	       SYS_membarrier,
	SYS_exit,	    SYS_getpid,	       SYS_gettid,
	SYS_madvise,	    SYS_wait4,	       SYS_rt_sigaction,
	SYS_rt_sigprocmask, SYS_clock_gettime, SYS_process_vm_readv,
	SYS_pidfd_open,	    SYS_pidfd_getfd,   SYS_sched_yield,
	SYS_getcpu,	    SYS_tgkill,	       SYS_brk,
	SYS_nanosleep,	    SYS_mremap,	       SYS_fallocate,
	SYS_prlimit64,
};

/* Classic BPF as seccomp runs it. SECCOMP_RET_*; a load of an argument answers KILL (undecided). */
struct machine {
	u32 a, x, mem[16];
};

static u32 alu(u16 code, u32 a, u32 operand)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		return a + operand;
	case BPF_SUB:
		return a - operand;
	case BPF_MUL:
		return a * operand;
	case BPF_DIV:
		return operand ? a / operand : 0;
	case BPF_OR:
		return a | operand;
	case BPF_AND:
		return a & operand;
	case BPF_XOR:
		return a ^ operand;
	case BPF_LSH:
		return operand < 32 ? a << operand : 0;
	case BPF_RSH:
		return operand < 32 ? a >> operand : 0;
	default:
		return 0u - a;
	}
}

static bool jumps(u16 code, u32 a, u32 operand)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == operand;
	case BPF_JGT:
		return a > operand;
	case BPF_JGE:
		return a >= operand;
	default:
		return a & operand;
	}
}

static u32 load(const struct machine *machine, const struct sock_filter *insn, u32 nr,
		bool *undecided)
{
	switch (BPF_MODE(insn->code)) {
	case BPF_IMM:
		return insn->k;
	case BPF_MEM:
		return machine->mem[insn->k & 15];
	case BPF_LEN:
		return sizeof(struct seccomp_data);
	default:
		*undecided |= insn->k >= 8;
		return insn->k == 0 ? nr : insn->k == 4 ? AUDIT_ARCH_X86_64 : 0;
	}
}

static u32 run_filter(const struct sock_filter *insns, u32 count, u32 nr)
{
	struct machine machine = {0};
	bool undecided = false;

	for (u32 pc = 0; pc < count && !undecided; pc++) {
		const struct sock_filter *insn = &insns[pc];
		u32 operand = BPF_SRC(insn->code) == BPF_X ? machine.x : insn->k;

		switch (BPF_CLASS(insn->code)) {
		case BPF_LD:
			machine.a = load(&machine, insn, nr, &undecided);
			break;
		case BPF_LDX:
			machine.x = load(&machine, insn, nr, &undecided);
			break;
		case BPF_ST:
			machine.mem[insn->k & 15] = machine.a;
			break;
		case BPF_STX:
			machine.mem[insn->k & 15] = machine.x;
			break;
		case BPF_ALU:
			machine.a = alu(insn->code, machine.a, operand);
			break;
		case BPF_JMP:
			if (BPF_OP(insn->code) == BPF_JA)
				pc += insn->k;
			else
				pc += jumps(insn->code, machine.a, operand) ? insn->jt : insn->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(insn->code) == BPF_A ? machine.a : insn->k;
		default:
			if (BPF_MISCOP(insn->code) == BPF_TAX)
				machine.x = machine.a;
			else
				machine.a = machine.x;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static int check_filter(const struct sock_filter *insns, u32 count, long *ret_refused)
{
	for (u32 i = 0; i < ARRAY_SIZE(needed_calls); i++) {
		u32 action = run_filter(insns, count, needed_calls[i]) & SECCOMP_RET_ACTION_FULL;

		if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG) {
			*ret_refused = needed_calls[i];
			return -EPERM;
		}
	}
	return 0;
}

/* The thread is stopped. Filters are numbered from the newest on. */
static int check_filters(pid_t tid, long *ret_refused)
{
	int error = 0;

	for (u64 index = 0; !error; index++) {
		struct sock_filter *insns;
		long count = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, ptr_from_u64(index), NULL);

		if (count < 0)
			return errno == ENOENT ? 0 : -EACCES;
		insns = calloc((size_t)count, sizeof(*insns));
		if (!insns)
			return -ENOMEM;
		if (ptrace(PTRACE_SECCOMP_GET_FILTER, tid, ptr_from_u64(index), insns) == count)
			error = check_filter(insns, (u32)count, ret_refused);
		else
			error = -EACCES;
		free(insns);
	}
	return error;
}

int inject_seccomp_allows(pid_t tid, bool held, long *ret_refused)
{
	int status, signal, error;

	if (held)
		return check_filters(tid, ret_refused);
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL))
		return -EACCES;
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	error = stop_wait(tid, 1000, &status);
	if (error)
		return error;
	error = check_filters(tid, ret_refused);
	signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
	ptrace(PTRACE_DETACH, tid, NULL, ptr_from_u64((u64)signal));
	return error;
}
