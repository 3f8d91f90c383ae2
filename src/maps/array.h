/* SPDX-License-Identifier: BSD-2-Clause */
/* What the array types share: checks and order of keys. Any thread, at a hit. */
#ifndef INLAY_MAPS_ARRAY_H
#define INLAY_MAPS_ARRAY_H

#include "maps/map_types.h"

static inline u32 array_index(const void *key)
{
	u32 index;

	__builtin_memcpy(&index, key, sizeof(index));
	return index;
}

int array_check(const struct map_spec *spec);
/* 0, -EINVAL (flags), -E2BIG (no such index) or -EEXIST: every index exists. */
int array_check_update(const struct map *map, u32 index, u64 flags);
/* -EINVAL: elements of arrays are for ever. */
int array_delete(struct map *map, const void *key);
int array_next_key(struct map *map, const void *key, void *next);

#endif
