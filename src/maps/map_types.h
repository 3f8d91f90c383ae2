/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of the table of map types, one a type, and what their checks share. */
#ifndef INLAY_MAPS_MAP_TYPES_H
#define INLAY_MAPS_MAP_TYPES_H

#include "maps/map.h"

extern const struct map_ops array_ops;
extern const struct map_ops hash_ops;
extern const struct map_ops percpu_array_ops;
extern const struct map_ops percpu_hash_ops;
extern const struct map_ops prog_array_ops;
extern const struct map_ops ringbuf_ops;
extern const struct map_ops stack_trace_ops;
/* inert.c: without elements */
extern const struct map_ops perf_event_array_ops;
extern const struct map_ops sockmap_ops;
extern const struct map_ops sockhash_ops;
extern const struct map_ops xskmap_ops;
extern const struct map_ops reuseport_sockarray_ops;
extern const struct map_ops cgroup_storage_ops;
extern const struct map_ops percpu_cgroup_storage_ops;

#define MAP_ACCESS_FLAGS (BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)

/* A value of a per-CPU type may not be larger: the kernel's PCPU_MIN_UNIT_SIZE. */
#define MAP_PERCPU_VALUE_MAX (32u << 10)

/* A program may be kept from reading or from writing, not from both; a descriptor likewise. */
static inline bool map_access_flags_ok(u32 flags)
{
	u32 program = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
	u32 descriptor = BPF_F_RDONLY | BPF_F_WRONLY;

	return (flags & program) != program && (flags & descriptor) != descriptor;
}

static inline u32 map_stride(const struct map_spec *spec)
{
	return ALIGN_UP(spec->value_size, 8u);
}

/* Flags of an update: BPF_F_LOCK needs a bpf_spin_lock in the value, which none of our maps can have. */
static inline int map_check_update_flags(u64 flags)
{
	return flags > BPF_EXIST ? -22 /* -EINVAL */ : 0;
}

#endif
