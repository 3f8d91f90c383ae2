/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions of a file: symbols of every table that names some, and call frame ranges that no symbol names. */
#ifndef INLAY_BINARY_FUNCTIONS_H
#define INLAY_BINARY_FUNCTIONS_H

#include "base/types.h"
#include "binary/binary.h"
#include "binary/fde.h"

struct elf_file;

struct function_table {
	struct binary_function *rows; /* by address, the best name of an address first */
	size_t count;
	u32 *by_name; /* rows that have one, by name, the best first */
	size_t name_count;
	u64 *starts; /* where any code is known to begin, cold parts included; no duplicates */
	size_t start_count;
	struct fde *fdes;
	size_t fde_count;
	struct elf_file *debug; /* the separate debug file; its string table is where names live */
	char **names;		/* those that had a version to cut off */
	size_t names_count;
};

/* 0 or -ENOMEM. A table that cannot be read is taken as empty. */
int functions_load(const struct elf_file *elf, struct function_table *ret_table);
void functions_free(struct function_table *table);

const struct binary_function *functions_find(const struct function_table *table, const char *name);
/* The best-named function that covers address, or NULL. */
const struct binary_function *functions_at(const struct function_table *table, u64 address);
/* The first known start of code above address, or ~0. */
u64 functions_next_start(const struct function_table *table, u64 address);

#endif
