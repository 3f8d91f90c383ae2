// SPDX-License-Identifier: BSD-2-Clause
/*
 * ARRAY: values side by side from file offset 0, each on a stride of 8, so that a client may map them.
 *
 * No lock: an update copies over the value in place, and a reader may see it half written, as in the kernel.
 */
#include <errno.h>

#include "base/mem.h"
#include "maps/array.h"

#define ARRAY_FLAGS                                                                                \
	(BPF_F_NUMA_NODE | BPF_F_MMAPABLE | MAP_ACCESS_FLAGS | BPF_F_PRESERVE_ELEMS |              \
	 BPF_F_INNER_MAP)

int array_check(const struct map_spec *spec)
{
	if (!spec->max_entries || spec->key_size != 4 || !spec->value_size ||
	    spec->flags & ~ARRAY_FLAGS || !map_access_flags_ok(spec->flags))
		return -EINVAL;
	if (spec->type != BPF_MAP_TYPE_ARRAY && spec->flags & (BPF_F_MMAPABLE | BPF_F_INNER_MAP))
		return -EINVAL;
	if (spec->flags & BPF_F_PRESERVE_ELEMS) /* for PERF_EVENT_ARRAY */
		return -EINVAL;
	return spec->value_size > INT32_MAX ? -E2BIG : 0;
}

static u64 array_data_size(const struct map_spec *spec, u32 cpus)
{
	(void)cpus;
	return (u64)spec->max_entries * map_stride(spec);
}

static void *array_lookup(struct map *map, const void *key)
{
	u32 index = array_index(key);

	if (unlikely(index >= map->spec.max_entries))
		return NULL;
	return map->data + (u64)index * map->value_stride;
}

int array_check_update(const struct map *map, u32 index, u64 flags)
{
	int error = map_check_update_flags(flags);

	if (error)
		return error;
	if (index >= map->spec.max_entries)
		return -E2BIG;
	return flags == BPF_NOEXIST ? -EEXIST : 0;
}

static int array_update(struct map *map, const void *key, const void *value, u64 flags)
{
	u32 index = array_index(key);
	int error = array_check_update(map, index, flags);

	if (error)
		return error;
	mem_copy_racy(map->data + (u64)index * map->value_stride, value, map->spec.value_size);
	return 0;
}

int array_delete(struct map *map, const void *key)
{
	(void)map;
	(void)key;
	return -EINVAL;
}

int array_next_key(struct map *map, const void *key, void *next)
{
	u32 max = map->spec.max_entries;
	u32 index = key ? array_index(key) : UINT32_MAX;

	if (index >= max)
		index = 0;
	else if (index == max - 1)
		return -ENOENT;
	else
		index++;
	__builtin_memcpy(next, &index, sizeof(index));
	return 0;
}

static void *array_value_addr(struct map *map, u32 offset)
{
	if (map->spec.max_entries != 1 || offset >= map->spec.value_size)
		return NULL;
	return map->data + offset;
}

static void array_elements(const struct map *map, struct map_elements *ret_elements)
{
	*ret_elements = (struct map_elements){.stride = map->value_stride};
}

static int array_copy_out(struct map *map, const void *key, void *value)
{
	void *from = array_lookup(map, key);

	if (!from)
		return -ENOENT;
	mem_copy_racy(value, from, map->spec.value_size);
	return 0;
}

const struct map_ops array_ops = {
	.type = BPF_MAP_TYPE_ARRAY,
	.name = "array",
	.check = array_check,
	.data_size = array_data_size,
	.lookup = array_lookup,
	.update = array_update,
	.delete = array_delete,
	.next_key = array_next_key,
	.value_addr = array_value_addr,
	.elements = array_elements,
	.copy_out = array_copy_out,
	.copy_in = array_update,
};
