/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The breakpoint instruction as a barrier in front of code that changes (hook/poke_trap.c): what it is, and what a thread that
 * met it must become to have executed the instruction that belongs there.
 */
#ifndef INLAY_ARCH_TRAP_H
#define INLAY_ARCH_TRAP_H

#include "base/types.h"

/* The breakpoint; 0 bytes where patches are single words and need no barrier. */
#if defined(__x86_64__)
#define TRAP_SIZE 1u
static const u8 trap_bytes[TRAP_SIZE] = {0xcc};
#else
#define TRAP_SIZE 0u
static const u8 trap_bytes[1];
#endif

/* Can an instruction of patch_size bytes be emulated: is it a NOP, a CALL or a JUMP? Pure. */
bool trap_can_emulate(const u8 *bytes);
/* Where the breakpoint is that this signal frame comes from. Signal-safe, as all below. */
u64 trap_site(const void *ucontext);
/* Could a breakpoint of ours have been there, given the bytes that are there now (1 in front of the site, then 1)? */
bool trap_is_gone(const u8 *bytes);
/* Lets the thread execute what is at the site now. */
void trap_retry(void *ucontext);
/* Lets the thread go on as if it had executed these bytes at the site. A call stores its return address where the thread's own
 * call would: below its stack pointer, which the signal frame leaves free. */
void trap_emulate(void *ucontext, const u8 *bytes);

#endif
