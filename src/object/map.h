/* SPDX-License-Identifier: BSD-2-Clause */
/* What the map commands share: access rights, sizes on the system call side, copies. Private to object/. */
#ifndef INLAY_OBJECT_MAP_H
#define INLAY_OBJECT_MAP_H

#include "maps/map.h"
#include "object/objects.h"

#define MAP_READ  (1u << 0)
#define MAP_WRITE (1u << 1)

static inline bool map_is_hash(u32 type)
{
	return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* The map behind a descriptor, if it may be accessed so: -EBADF, -EINVAL, -EPERM. With a reference. */
int map_get(int fd, u32 access, struct object **ret_object);
/* Copies a key in (owned by the caller, free). */
int map_read_key(const struct map *map, u64 from, void **ret_key);
/* One element, as bpf(2) sees it. 0 or -errno; -EBUSY only from a map whose lock was held for seconds. */
int map_copy_out(struct map *map, const void *key, void *value);
int map_copy_in(struct map *map, const void *key, const void *value, u64 flags);
int map_take_out(struct map *map, const void *key, void *value);
int map_delete_key(struct map *map, const void *key);
/* key: NULL begins. */
int map_next_key(struct map *map, const void *key, void *next);

#endif
