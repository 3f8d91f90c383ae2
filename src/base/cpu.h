/* SPDX-License-Identifier: BSD-2-Clause */
/* What waiting and thread-local code needs of a CPU, one instruction each. Any thread, at a hit, signal-safe. */
#ifndef INLAY_BASE_CPU_H
#define INLAY_BASE_CPU_H

#include "base/types.h"

/* In the body of a spin loop: gives the core's other thread the pipeline. */
static inline void cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" : : : "memory");
#endif
}

/* The base that TLS offsets are relative to. */
static inline u64 cpu_thread_pointer(void)
{
	u64 pointer;

#if defined(__x86_64__)
	__asm__("mov %%fs:0, %0" : "=r"(pointer));
#elif defined(__aarch64__)
	__asm__("mrs %0, tpidr_el0" : "=r"(pointer));
#endif
	return pointer;
}

static inline u64 cpu_stack_pointer(void)
{
	return ptr_to_u64(__builtin_frame_address(0));
}

/* Orders nothing but the compiler. */
static inline void cpu_compiler_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

#endif
