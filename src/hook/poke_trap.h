/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that meet a breakpoint of the poke protocol trap.
 *
 * The poker lists the sites of a chunk before it writes their first breakpoint and unlists them when the last one is gone.
 * The handler of SIGTRAP looks its site up without waiting for anybody:
 *
 *   breakpoint at the site | listed            | not listed
 *   still there            | emulate           | somebody else's: to the program's handler
 *   gone                   | execute it anew   | execute it anew
 *   list changed meanwhile | execute it anew   | execute it anew
 */
#ifndef INLAY_HOOK_POKE_TRAP_H
#define INLAY_HOOK_POKE_TRAP_H

#include "base/types.h"

#define TRAP_BATCH 256

struct trap_entry {
	u64 site;
	u8 emulate[8]; /* the old or the new instruction, whichever the CPU's trap_emulate can */
};

/* Puts our handler in front of the program's, wherever it is by now. 0 or -errno; -ENOSPC: the program set it too often. */
int trap_install(void);
/* Gives the signal back, if nobody took it since. */
void trap_remove(void);
/* The sites of a chunk; entries is sorted here. By the poker, one at a time. */
void trap_list(struct trap_entry *entries, u32 count);
void trap_unlist(void);

#endif
