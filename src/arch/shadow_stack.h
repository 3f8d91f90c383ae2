/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stack of hooked returns as it lies in memory: generated code pushes and pops in the common case, hook/shadow.c does
 * it in every case and has the rules.
 *
 * Entries [1, top) count; those above have slot 0. The order in which words are written is what a signal handler in between relies on.
 */
#ifndef INLAY_ARCH_SHADOW_STACK_H
#define INLAY_ARCH_SHADOW_STACK_H

#include "base/types.h"

/* Hooked returns a thread may have under way. */
#define SHADOW_ENTRIES 21844
/* When top passes here on its way down, a collection that found no room may be tried again. */
#define SHADOW_MIDDLE (SHADOW_ENTRIES / 2)

struct shadow_entry {
	u64 slot; /* address of the word that held the return address; 0: free */
	u64 target;
	u64 landing;
};

/* reader->shadow. */
struct shadow {
	struct shadow *next; /* of all threads; never freed */
	u32 top;
	u32 full_at_top; /* a collection found no room: not tried again before top has fallen */
	/* The first is never taken and above every slot, so that each has one below it. */
	struct shadow_entry entries[SHADOW_ENTRIES];
};

#define SHADOW_FLOOR_SLOT (~0ull)

#endif
