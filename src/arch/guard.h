/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads that may fault, in machine terms: each is one instruction listed in an exception table with the place to go on
 * at when it faults. The policy (when to try at all, whose fault it is) is exec/fault.c's.
 *
 * A load jumps to the label `fault` of the enclosing function.
 */
#ifndef INLAY_ARCH_GUARD_H
#define INLAY_ARCH_GUARD_H

#include "base/types.h"

/* Distances from the words themselves, so that the table needs no relocation. */
struct guard_entry {
	s32 insn;
	s32 fixup;
};

/* Where to go on after a fault at pc, or 0: not ours. Signal-safe. */
u64 guard_fixup(u64 pc);
/* The saved instruction pointer in a signal handler's third argument. */
u64 *guard_frame_pc(void *ucontext);
/* What a signal frame returns to: sa_restorer of a raw rt_sigaction; NULL where the kernel brings its own. */
void *guard_restorer(void);

#define GUARD_ENTRY(fixup)                                                                         \
	".pushsection inlay_guard, \"a\"\n"                                                        \
	".balign 4\n"                                                                              \
	".long 1b - .\n"                                                                           \
	".long " fixup " - .\n"                                                                    \
	".popsection\n"

#if defined(__x86_64__)

#define GUARD_LOAD(mnemonic, value, from, fault)                                                   \
	__asm__ goto("1: " mnemonic "\n" GUARD_ENTRY("%l[" #fault "]")                             \
		     : [to] "=r"(value)                                                            \
		     : [at] "r"(from)                                                              \
		     : "memory"                                                                    \
		     : fault)
#define GUARD_LOAD8(value, from, fault)	 GUARD_LOAD("movzbl (%[at]), %k[to]", value, from, fault)
#define GUARD_LOAD16(value, from, fault) GUARD_LOAD("movzwl (%[at]), %k[to]", value, from, fault)
#define GUARD_LOAD32(value, from, fault) GUARD_LOAD("movl (%[at]), %k[to]", value, from, fault)
#define GUARD_LOAD64(value, from, fault) GUARD_LOAD("movq (%[at]), %[to]", value, from, fault)

#elif defined(__aarch64__)

#define GUARD_LOAD(mnemonic, value, from, fault)                                                   \
	__asm__ goto("1: " mnemonic ", [%[at]]\n" GUARD_ENTRY("%l[" #fault "]")                    \
		     : [to] "=r"(value)                                                            \
		     : [at] "r"(from)                                                              \
		     : "memory"                                                                    \
		     : fault)
#define GUARD_LOAD8(value, from, fault)	 GUARD_LOAD("ldrb %w[to]", value, from, fault)
#define GUARD_LOAD16(value, from, fault) GUARD_LOAD("ldrh %w[to]", value, from, fault)
#define GUARD_LOAD32(value, from, fault) GUARD_LOAD("ldr %w[to]", value, from, fault)
#define GUARD_LOAD64(value, from, fault) GUARD_LOAD("ldr %x[to]", value, from, fault)

#endif

#endif
