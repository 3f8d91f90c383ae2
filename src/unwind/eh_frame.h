/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * .eh_frame records of generated code, for unwinders that are not ours: the C++ runtime, gdb.
 *
 * A function whose return is hooked goes back to our landing; the true return address is known to the shadow stack alone. So the landing's
 * record has an expression that looks it up there, in memory: every unwinder that can run DWARF expressions finds it, in
 * this process or from outside.
 */
#ifndef INLAY_UNWIND_EH_FRAME_H
#define INLAY_UNWIND_EH_FRAME_H

#include "base/types.h"

struct code_map;

/* How hooked returns lie in memory: a list of stacks of entries (hook/shadow.h). */
struct unwind_hooked {
	u64 list; /* address of the pointer to the first stack; its first word is the next one's address */
	u32 top; /* offset in a stack of the u32 that counts its entries, entry 0 never being one */
	u32 entries;		   /* offset of entry 0 */
	u32 entry_size;		   /* below 128 */
	u32 slot, target, landing; /* offsets of the words of an entry */
};

/* Where records are written; with bytes NULL only counted. Full: size runs on. */
struct eh_frame {
	u8 *bytes;
	u64 size, capacity;
};

/* About how many bytes these records take: seldom less than they do. */
u64 eh_frame_guess(const struct code_map *map);
/* All records and the terminator. Agent thread. */
void eh_frame_write(struct eh_frame *out, const struct code_map *map,
		    const struct unwind_hooked *hooked);

#endif
