/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Executable memory, W^X: mapped readable and executable near the code that refers to it, never writable; bytes
 * are written through base/self_mem (design decision 4).
 *
 * It is private to the process: a child of fork() runs on in the code as it was at the fork, whatever the parent frees and
 * writes anew.
 *
 * Life of a block: text_alloc -> fill `write` -> text_commit -> run (and change it by text_patch) -> (grace period) ->
 * text_free. Freed ranges are reused only for other blocks; the region stays mapped while it has a block.
 */
#ifndef INLAY_BASE_TEXT_H
#define INLAY_BASE_TEXT_H

#include "base/types.h"

struct text_block {
	u8 *exec;     /* read-execute address */
	u8 *write;    /* its content to be, traps at first; NULL once committed */
	u32 size;     /* rounded up to 16 */
	void *region; /* private */
};

/*
 * Gets size bytes (16-aligned) whose whole range is within +-2 GiB of near (0: anywhere). Returns 0, -ENOMEM or
 * -ERANGE. exec holds traps or what was there before until it is committed. Not signal-safe; one internal lock; agent thread
 * or loader.
 */
int text_alloc(u64 near, u32 size, struct text_block *ret_block);
/*
 * Makes `write` the block's code, visible to instruction fetch of every thread (arm64: cache maintenance). 0 or -errno of
 * the write; then the block can only be freed.
 */
int text_commit(struct text_block *block);
/* Changes 8 aligned bytes of a committed block; threads that run them see the old or the new ones. 0 or -errno. */
int text_patch(struct text_block *block, u32 offset, u64 value);
void text_free(struct text_block *block);
/*
 * Whether code goes into memory without a name in /proc/PID/maps from now on (what there is stays where it is): perf looks
 * in its map of a process for addresses in such memory only. Such memory begins with these 16 bytes.
 */
#define TEXT_MARK "\xcc\xcc\xccinlay-text\xcc\xcc"
void text_set_nameless(bool wanted);
/* Is address inside memory that text_alloc handed out in this process? Any thread, signal-safe. */
bool text_contains(u64 address);

#endif
