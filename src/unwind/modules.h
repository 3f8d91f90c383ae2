/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of this process's modules, by address.
 *
 * Written by the agent's thread, read at hits: a sorted array behind one pointer, replaced as a whole. Arrays and tables that were
 * replaced are freed by unwind_modules_reap, after a grace period.
 */
#ifndef INLAY_UNWIND_MODULES_H
#define INLAY_UNWIND_MODULES_H

#include "format/unwind_table.h"

struct unwind_module {
	u64 start, end; /* of its mappings */
	u64 bias;
	const struct unwind_table *table;
	size_t size; /* of the table's mapping */
};

/*
 * Puts a module in the place of those it overlaps; the table (a mapping of size bytes) is owned from then on. Returns 0; 1 when it is
 * there already (the table given is unmapped); -EINVAL: no table; -ENOMEM. Agent thread.
 */
int unwind_modules_add(const struct unwind_module *module);
/* Forgets all. Agent thread. */
void unwind_modules_clear(void);
/* Frees what was replaced. After a grace period; agent thread. */
void unwind_modules_reap(void);

/* The row that holds at pc, or NULL. *ret_known: some module covers pc. At a hit. */
const struct unwind_row *unwind_modules_find(u64 pc, bool *ret_known);

#endif
