/* SPDX-License-Identifier: BSD-2-Clause */
/* STACK_TRACE maps: what bpf_get_stackid needs of them. */
#ifndef INLAY_MAPS_STACK_TRACE_H
#define INLAY_MAPS_STACK_TRACE_H

#include "maps/map_types.h"

/* Instruction pointers that a stack of this map may have. */
static inline u32 stack_trace_depth(const struct map *map)
{
	return map->spec.value_size / 8;
}

/*
 * The id of a stack, which is put in where it is not yet there. flags: BPF_F_FAST_STACK_CMP, BPF_F_REUSE_STACKID as in the kernel. Returns
 * the id, -EEXIST (another stack has it) or -EBUSY (somebody is just putting a stack in its place). At a hit, any thread,
 * signal-safe.
 */
s64 stack_trace_id(struct map *map, const u64 *ips, u32 count, u64 flags);

#endif
