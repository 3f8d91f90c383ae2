/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Executable memory, W^X: a memfd mapped twice, readable-executable near the code that refers to it and
 * read-write somewhere else. No mapping is ever both (design decision 4).
 *
 * Life of a block: text_alloc -> write through text_writable -> text_commit -> run -> (grace period) ->
 * text_free. Freed ranges are reused only for other blocks; the region stays mapped while it has a block.
 */
#ifndef INLAY_BASE_TEXT_H
#define INLAY_BASE_TEXT_H

#include "base/types.h"

struct text_block {
	u8 *exec;     /* read-execute address */
	u8 *write;    /* writable alias of the same bytes */
	u32 size;     /* rounded up to 16 */
	void *region; /* private */
};

/*
 * Gets size bytes (16-aligned) whose whole range is within +-2 GiB of near (0: anywhere). Returns 0, -ENOMEM or
 * -ERANGE. Filled with traps until written. Not signal-safe; one internal lock; agent thread or loader.
 */
int text_alloc(u64 near, u32 size, struct text_block *ret_block);
/* Makes written bytes visible to instruction fetch of every thread (arm64: cache maintenance). */
void text_commit(struct text_block *block);
void text_free(struct text_block *block);
/* Is address inside memory that text_alloc handed out in this process? Any thread, signal-safe. */
bool text_contains(u64 address);

#endif
