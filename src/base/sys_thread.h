/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread that libc knows nothing of: clone(2) with a stack and a thread pointer of our own.
 *
 * fn runs on the new stack and must not return; it ends in sys_thread_exit. It may call no libc function that needs
 * more of thread-local storage than zeroes and a self pointer.
 */
#ifndef INLAY_BASE_SYS_THREAD_H
#define INLAY_BASE_SYS_THREAD_H

#include "base/sys.h"

/*
 * flags as clone(2). tid_word gets what CLONE_PARENT_SETTID and CLONE_CHILD_CLEARTID ask for; tls is the thread pointer for
 * CLONE_SETTLS. stack_top is the end of the stack, 16-aligned. Returns the thread's id or -errno.
 */
#if defined(__x86_64__)
static inline long sys_thread_start(unsigned long flags, void *stack_top, u32 *tid_word, void *tls,
				    void (*fn)(void *), void *arg)
{
	u64 *stack = (u64 *)stack_top - 2;
	register long r10 __asm__("r10") = (long)tid_word;
	register long r8 __asm__("r8") = (long)tls;
	long result;

	stack[0] = ptr_to_u64((const void *)fn);
	stack[1] = ptr_to_u64(arg);
	__asm__ volatile("syscall\n\t"
			 "test %%eax, %%eax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "pop %%rax\n\t"
			 "pop %%rdi\n\t"
			 "call *%%rax\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(result)
			 : "a"(__NR_clone), "D"(flags), "S"(stack), "d"(tid_word), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

/* Where a block with room below and above must hold what: the thread pointer and the self pointers glibc reads. */
static inline void sys_thread_tls_init(void *tls)
{
	((void **)tls)[0] = tls;
	((void **)tls)[2] = tls;
}
#elif defined(__aarch64__)
static inline long sys_thread_start(unsigned long flags, void *stack_top, u32 *tid_word, void *tls,
				    void (*fn)(void *), void *arg)
{
	u64 *stack = (u64 *)stack_top - 2;
	register long x8 __asm__("x8") = __NR_clone;
	register long x0 __asm__("x0") = (long)flags;
	register long x1 __asm__("x1") = (long)stack;
	register long x2 __asm__("x2") = (long)tid_word;
	register long x3 __asm__("x3") = (long)tls;
	register long x4 __asm__("x4") = (long)tid_word;

	stack[0] = ptr_to_u64((const void *)fn);
	stack[1] = ptr_to_u64(arg);
	__asm__ volatile("svc 0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, #0\n\t"
			 "ldp x9, x0, [sp], #16\n\t"
			 "blr x9\n\t"
			 "udf #0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "x9", "x30", "memory");
	return x0;
}

static inline void sys_thread_tls_init(void *tls)
{
	(void)tls;
}
#endif

/* Ends the calling thread alone. */
static inline void __attribute__((noreturn)) sys_thread_exit(void)
{
	for (;;)
		sys_call1(__NR_exit, 0);
}

#endif
