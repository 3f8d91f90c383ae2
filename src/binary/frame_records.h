/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading .eh_frame: bytes under a cursor, and one call a record (FDE) with its CIE.
 *
 * Any bytes are survived: what cannot be read is left out. Format: LSB 5.0 chapter 10.6 and DWARF 5 section 6.4. Loader only.
 */
#ifndef INLAY_BINARY_FRAME_RECORDS_H
#define INLAY_BINARY_FRAME_RECORDS_H

#include "base/types.h"

struct elf_file;

/* Bytes being read, with the virtual address of the first; bad is sticky. */
struct cursor {
	const u8 *at, *end;
	const u8 *base;
	u64 base_address;
	bool bad;
};

u64 cursor_fixed(struct cursor *cursor, u32 size);
u64 cursor_uleb(struct cursor *cursor);
s64 cursor_sleb(struct cursor *cursor);
void cursor_skip(struct cursor *cursor, u64 size);

struct cie {
	u8 pointer_encoding;
	bool has_augmentation_data;
	bool is_signal;
	u64 code_align;
	s64 data_align;
	u64 return_column;
	const u8 *instructions, *end;
};

struct frame_record {
	const struct cie *cie;
	u64 start, end; /* virtual addresses; end > start */
	const u8 *instructions, *instructions_end;
};

/* Calls visit for each FDE until it answers other than 0, which is returned; else 0. */
int frame_records_visit(const struct elf_file *elf,
			int (*visit)(const struct frame_record *record, void *arg), void *arg);

#endif
