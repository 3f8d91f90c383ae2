/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An ELF file in memory that says of generated code what debuggers want to know: where it is, what it is called, and how to find
 * callers through it. It holds no code: sections of code are empty and have addresses.
 */
#ifndef INLAY_UNWIND_SYMBOL_FILE_H
#define INLAY_UNWIND_SYMBOL_FILE_H

#include "unwind/eh_frame.h"

/* Returns the file (arena_free), or NULL: no memory. Agent thread. */
void *symbol_file_make(const struct code_map *map, const struct unwind_hooked *hooked,
		       u64 *ret_size);

#endif
