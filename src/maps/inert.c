// SPDX-License-Identifier: BSD-2-Clause
/*
 * Map types of kernel subsystems that a process does not have: sockets, XDP queues, perf events, cgroups.
 *
 * They can be made with the sizes and flags that the kernel takes, so that programs which use them are judged as there. They
 * hold nothing: programs find no element, and every operation of a client answers "not supported". A cgroup's local storage is
 * memory that the program is promised, so those two types have one value: what every test run of a program gets.
 */
#include <errno.h>

#include "maps/array.h"
#include "maps/inert.h"
#include "maps/map_types.h"
#include "sync/percpu.h"

#define STORAGE_KEY	  16u		  /* struct bpf_cgroup_storage_key */
#define STORAGE_KEY_SHORT 8u		  /* the cgroup's id alone */
#define STORAGE_VALUE_MAX (MAP_PAGE - 40) /* with what the kernel keeps before it, a page */
#define SOCKET_KEY_MAX	  512u
#define PROGRAM_FLAGS	  (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)
#define PLAIN_FLAGS	  (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)

static bool is_descriptor_or_cookie(u32 size)
{
	return size == 4 || size == 8;
}

static int check_perf_events(const struct map_spec *spec)
{
	if (spec->value_size != 4 || spec->flags & PROGRAM_FLAGS)
		return -EINVAL;
	return array_check(spec);
}

static int check_reuseport(const struct map_spec *spec)
{
	if (!is_descriptor_or_cookie(spec->value_size))
		return -EINVAL;
	return array_check(spec);
}

static int check_sockets(const struct map_spec *spec)
{
	bool hash = spec->type == BPF_MAP_TYPE_SOCKHASH;

	if (!spec->max_entries || !spec->key_size || (!hash && spec->key_size != 4) ||
	    !is_descriptor_or_cookie(spec->value_size) || spec->flags & ~PLAIN_FLAGS)
		return -EINVAL;
	return spec->key_size > SOCKET_KEY_MAX ? -E2BIG : 0;
}

static int check_xdp_sockets(const struct map_spec *spec)
{
	if (!spec->max_entries || spec->key_size != 4 || spec->value_size != 4 ||
	    spec->flags & ~PLAIN_FLAGS)
		return -EINVAL;
	return 0;
}

static int check_storage(const struct map_spec *spec)
{
	if (spec->key_size != STORAGE_KEY && spec->key_size != STORAGE_KEY_SHORT)
		return -EINVAL;
	if (!spec->value_size || spec->max_entries ||
	    spec->flags & ~(BPF_F_NUMA_NODE | MAP_ACCESS_FLAGS) ||
	    !map_access_flags_ok(spec->flags))
		return -EINVAL;
	return spec->value_size > STORAGE_VALUE_MAX ? -E2BIG : 0;
}

static u64 no_bytes(const struct map_spec *spec, u32 cpus)
{
	(void)spec;
	(void)cpus;
	return 0;
}

static u64 storage_bytes(const struct map_spec *spec, u32 cpus)
{
	return (u64)map_stride(spec) *
	       (spec->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE ? cpus : 1);
}

void *map_local_storage(struct map *map)
{
	u32 slot = map->spec.type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE ? percpu_slot() : 0;

	return map->data + (u64)(slot < map->cpus ? slot : 0) * map->value_stride;
}

#define INERT(name_, type_, check_, bytes)                                                         \
	const struct map_ops name_##_ops = {                                                       \
		.type = type_,                                                                     \
		.name = #name_,                                                                    \
		.check = check_,                                                                   \
		.data_size = bytes,                                                                \
	}

INERT(perf_event_array, BPF_MAP_TYPE_PERF_EVENT_ARRAY, check_perf_events, no_bytes);
INERT(sockmap, BPF_MAP_TYPE_SOCKMAP, check_sockets, no_bytes);
INERT(sockhash, BPF_MAP_TYPE_SOCKHASH, check_sockets, no_bytes);
INERT(xskmap, BPF_MAP_TYPE_XSKMAP, check_xdp_sockets, no_bytes);
INERT(reuseport_sockarray, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, check_reuseport, no_bytes);
INERT(cgroup_storage, BPF_MAP_TYPE_CGROUP_STORAGE, check_storage, storage_bytes);
INERT(percpu_cgroup_storage, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, check_storage, storage_bytes);
