/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Function ranges from .eh_frame: where code begins and ends even when no symbol says so.
 *
 * An own reader, because it must survive any bytes and needs three facts only: the range, whether the frame at its
 * first instruction is that of a function just called (CFA = rsp + 8: cold parts and mid-function pieces differ), and
 * whether it is a signal frame. Format: LSB 5.0 chapter 10.6 and DWARF 5 section 6.4.
 */
#ifndef INLAY_BINARY_FDE_H
#define INLAY_BINARY_FDE_H

#include "base/types.h"

struct elf_file;

struct fde {
	u64 start, end; /* virtual addresses */
	bool is_entry;	/* CFA is rsp + 8 at start */
	bool is_signal; /* a signal frame: the kernel enters it, nobody calls it */
};

/* Reads all FDEs, sorted by start; what cannot be read is left out. Returns 0 or -ENOMEM. The caller frees the array. */
int fde_read_all(const struct elf_file *elf, struct fde **ret_fdes, size_t *ret_count);
/* The FDE that covers an address, or NULL. */
const struct fde *fde_find(const struct fde *fdes, size_t count, u64 address);

#endif
