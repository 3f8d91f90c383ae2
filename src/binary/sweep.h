/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One linear pass over a file's text: which bytes are branched to, and where the indirect jumps are.
 *
 * A window is safe only when nothing jumps into it, and the jump may stand anywhere: a cold part far away, another
 * function. 12 million instructions a second make the whole text cheaper than being clever. Decoding starts afresh at
 * every known start of code, so data between functions costs at most one function.
 */
#ifndef INLAY_BINARY_SWEEP_H
#define INLAY_BINARY_SWEEP_H

#include "base/types.h"

struct decoder;
struct elf_file;
struct function_table;
struct rseq_range;

#define SWEEP_MAX_RANGES 16

enum sweep_mark {
	SWEEP_JUMPED = 1, /* target of a direct jump, conditional or not */
	SWEEP_CALLED = 2, /* target of a direct call, or its address is in a relocation */
};

struct sweep_range {
	u64 start, size;
	u8 *marks; /* enum sweep_mark, two bits a byte of text */
};

struct sweep {
	struct sweep_range ranges[SWEEP_MAX_RANGES];
	u32 range_count;
	u64 *indirect; /* addresses of indirect jumps, sorted */
	size_t indirect_count, indirect_capacity;
	struct rseq_range *sequences;
	size_t sequence_count;
};

/* 0 or -ENOMEM. */
int sweep_run(const struct elf_file *elf, const struct function_table *table,
	      const struct decoder *decoder, struct sweep *ret_sweep);
void sweep_free(struct sweep *sweep);
/* enum sweep_mark of an address. */
u8 sweep_marks(const struct sweep *sweep, u64 address);
bool sweep_has_indirect(const struct sweep *sweep, u64 start, u64 end);
/* Does some of [start, end) lie in a restartable sequence? */
bool sweep_has_sequence(const struct sweep *sweep, u64 start, u64 end);

#endif
