/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hooked returns: where functions really return to, per thread.
 *
 * An entry is (slot, true return address, landing): the word on the stack that held the return address, what it held, and
 * what was written there instead, the return stub of the function's site. An entry belongs to its slot: it is taken
 * when a function comes back through that slot, in whatever order, so coroutines may interleave. Sibling calls let two
 * probed functions share a slot; the newer entry's true address is then the older one's landing.
 *
 * Entries of frames that longjmp or a throw left behind are recognised by their slot holding something else than
 * their landing: at once when the same slot is hooked again, the others when the stack is full.
 *
 * At a hit, signal-safe: no libc, no lock; general registers only.
 */
#ifndef INLAY_HOOK_SHADOW_H
#define INLAY_HOOK_SHADOW_H

#include "base/types.h"

struct hit;
struct reader;

/* Makes the function return to landing. Without room it returns unhooked and counts as missed. */
void shadow_push(struct reader *reader, u64 *slot, u64 landing);
/*
 * Takes the entry of slot and returns where to go on: the caller, or the landing of a function that shares the slot. With
 * hit, hit->return_address is the caller proper. A thread without a record (reader NULL), or a coroutine that was moved
 * here, finds its entry in another thread's stack. There is no way on without an entry: traps.
 */
u64 shadow_pop(struct reader *reader, u64 slot, struct hit *hit);
/*
 * The return address that `value`, found at slot, stands for: itself unless it is a landing. Takes nothing. For unwinders: any
 * thread's stack, as far as other threads leave it alone.
 */
u64 shadow_find(const struct reader *reader, u64 slot, u64 value);

/* Where all that lies, for unwinders that can only read memory: unwind/eh_frame.h's struct unwind_hooked says what is what. */
struct shadow_layout {
	u64 list;
	u32 top, entries, entry_size, slot, target, landing;
};
void shadow_layout(struct shadow_layout *ret_layout);

#endif
