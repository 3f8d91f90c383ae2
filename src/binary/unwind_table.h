/* SPDX-License-Identifier: BSD-2-Clause */
/* Call frame records compiled to the rows of format/unwind_table.h. Loader only. */
#ifndef INLAY_BINARY_UNWIND_TABLE_H
#define INLAY_BINARY_UNWIND_TABLE_H

#include "format/unwind_table.h"

struct elf_file;
struct unwind_table;

/* All of the file's .eh_frame; a file without one gives no rows. Returns 0 or -ENOMEM; the caller frees the table. */
int unwind_table_build(const struct elf_file *elf, struct unwind_table **ret_table,
		       size_t *ret_size);

#endif
