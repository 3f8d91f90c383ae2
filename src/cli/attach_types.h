/* SPDX-License-Identifier: BSD-2-Clause */
/* Typed programs (fentry, fexit, fmod_ret): the types of the binaries they go to. */
#ifndef INLAY_CLI_ATTACH_TYPES_H
#define INLAY_CLI_ATTACH_TYPES_H

#include <bpf/libbpf.h>

#include "base/types.h"
#include "cli/attach_resolve.h"
#include "cli/attach_section.h"

struct process;

/* BTF objects that were made, one a binary. Zero-initialised. */
struct attach_types {
	struct attach_type_source *sources;
	u32 count;
};

/*
 * Tells libbpf what a typed program is for, before it is loaded. 0, or -errno with one sentence in problem: the binary has no types, or
 * none of this function.
 */
int attach_types_set(struct attach_types *types, struct process *process,
		     struct bpf_program *program, const struct attach_section *section,
		     const struct attach_places *places, char *problem, size_t problem_size);
/* After the programs were loaded. */
void attach_types_free(struct attach_types *types);

#endif
