/* SPDX-License-Identifier: BSD-2-Clause */
/* Which functions of the target a section means: file offsets in one of its modules. */
#ifndef INLAY_CLI_ATTACH_RESOLVE_H
#define INLAY_CLI_ATTACH_RESOLVE_H

#include "base/types.h"
#include "cli/attach_section.h"

struct process;
struct process_module;

struct attach_places {
	char *path;   /* of the module, as the target sees it; owned */
	u64 *offsets; /* ascending, distinct; owned */
	u32 count;
	/* Of SDT notes, one an offset; else NULL. Owned. */
	u64 *semaphores;
	u64 *cookies; /* filled by attach_usdt_specs */
	char **arguments;
	u32 left_out; /* functions a glob matched, or places of a note, that cannot be entered */
	char left_why[512]; /* why one of those cannot */
};

/*
 * 0; -ENOENT (no such module or function), -EOPNOTSUPP (found, but it cannot be entered), -errno of reading, each with one
 * sentence in problem. The target is looked at only through its files.
 */
int attach_resolve(struct process *process, const struct attach_section *section,
		   struct attach_places *places, char *problem, size_t problem_size);
/* For attach_usdt: a name for the very file that the target maps, to be freed; NULL: no memory. */
char *attach_visible_path(const struct process *process, const struct process_module *module);
void attach_places_free(struct attach_places *places);

#endif
