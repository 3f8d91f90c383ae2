/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Restartable sequences of a file: code that the kernel makes a thread begin anew when it was preempted in it, which it tells by the
 * thread's instruction pointer. Instructions moved out of it would not be begun anew, so no window may lie in one.
 *
 * Sequences describe themselves in section __rseq_cs (struct rseq_cs of rseq(2)). A file without section headers shows none.
 */
#ifndef INLAY_BINARY_RSEQ_H
#define INLAY_BINARY_RSEQ_H

#include "base/types.h"

struct elf_file;

struct rseq_range {
	u64 start, size;
};

/* All of a file; the caller frees them. 0 or -ENOMEM. */
int rseq_read(const struct elf_file *elf, struct rseq_range **ret_ranges, size_t *ret_count);

#endif
