// SPDX-License-Identifier: BSD-2-Clause
#include "maps/map_types.h"

static const struct map_ops *const map_types[] = {
	[BPF_MAP_TYPE_HASH] = &hash_ops,
	[BPF_MAP_TYPE_ARRAY] = &array_ops,
	[BPF_MAP_TYPE_PROG_ARRAY] = &prog_array_ops,
	[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = &perf_event_array_ops,
	[BPF_MAP_TYPE_PERCPU_HASH] = &percpu_hash_ops,
	[BPF_MAP_TYPE_PERCPU_ARRAY] = &percpu_array_ops,
	[BPF_MAP_TYPE_STACK_TRACE] = &stack_trace_ops,
	[BPF_MAP_TYPE_SOCKMAP] = &sockmap_ops,
	[BPF_MAP_TYPE_XSKMAP] = &xskmap_ops,
	[BPF_MAP_TYPE_SOCKHASH] = &sockhash_ops,
	[BPF_MAP_TYPE_CGROUP_STORAGE] = &cgroup_storage_ops,
	[BPF_MAP_TYPE_REUSEPORT_SOCKARRAY] = &reuseport_sockarray_ops,
	[BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE] = &percpu_cgroup_storage_ops,
	[BPF_MAP_TYPE_RINGBUF] = &ringbuf_ops,
};

const struct map_ops *map_ops_of(u32 type)
{
	return type < ARRAY_SIZE(map_types) ? map_types[type] : NULL;
}
