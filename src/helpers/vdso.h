/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's own user-space functions, called without libc.
 *
 * libc's clock_gettime may be the probed function, so the vdso is found through the auxiliary vector and called
 * directly. Its clock and CPU functions use general registers only (the kernel builds it without SSE; only its
 * getrandom has vector code). Until vdso_init ran, and on CPUs or sandboxes without the functions, these are system calls.
 */
#ifndef INLAY_HELPERS_VDSO_H
#define INLAY_HELPERS_VDSO_H

#include "base/types.h"

/* Finds the functions. Idempotent, any thread, not at a hit. */
void vdso_init(void);
/* Nanoseconds of a CLOCK_*; 0 for a clock that the kernel lacks. Any thread, at a hit. */
u64 vdso_clock_ns(int clock);
/* The CPU and NUMA node this thread runs on; either may be NULL. Any thread, at a hit. */
void vdso_cpu(u32 *ret_cpu, u32 *ret_node);

#endif
