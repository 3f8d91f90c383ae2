/* SPDX-License-Identifier: BSD-2-Clause */
/* SEC("usdt/..."): where SDT notes are in the target, and what libbpf's usdt.bpf.h must know of them to read arguments. */
#ifndef INLAY_CLI_ATTACH_USDT_H
#define INLAY_CLI_ATTACH_USDT_H

#include <bpf/libbpf.h>

#include "base/types.h"
#include "cli/attach_resolve.h"
#include "cli/attach_section.h"

/*
 * All places of PROVIDER:NAME in the binary, or, when the section names none, in the one module that has it. Places that cannot be
 * entered are left out. As attach_resolve.
 */
int attach_usdt_resolve(struct process *process, const struct attach_section *section,
			struct attach_places *places, char *problem, size_t problem_size);
/*
 * Writes how arguments are found at each place into the loaded object's map __bpf_usdt_specs, and the keys there into
 * places->cookies. *next: how many keys are taken. 0, or -errno with one sentence in problem. Arguments in places that are not
 * served read as -EINVAL; ret_unknown: how many there are.
 */
int attach_usdt_specs(const struct bpf_object *object, struct attach_places *places, u32 *next,
		      u32 *ret_unknown, char *problem, size_t problem_size);

#endif
