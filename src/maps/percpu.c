// SPDX-License-Identifier: BSD-2-Clause
/*
 * PERCPU_ARRAY and PERCPU_HASH: one value a slot (sync/percpu.h), side by side, each on a stride of 8.
 *
 * A program has its slot to itself, so its value needs no lock; the system call side copies all slots while programs may
 * write theirs, and may see a value between two of its words, as in the kernel.
 */
#include <errno.h>

#include "base/mem.h"
#include "maps/array.h"
#include "maps/hash.h"
#include "sync/percpu.h"

/* The caller's slot, or -EBUSY: the map has fewer (it was made where fewer CPUs were seen). */
static int slot_in(const struct map *map)
{
	u32 slot = percpu_slot();

	return slot < map->cpus ? (int)slot : -EBUSY;
}

static int check_array(const struct map_spec *spec)
{
	int error = array_check(spec);

	if (error)
		return error;
	if (spec->flags & BPF_F_NUMA_NODE)
		return -EINVAL;
	return map_stride(spec) > MAP_PERCPU_VALUE_MAX ? -E2BIG : 0;
}

static u64 array_bytes(const struct map_spec *spec, u32 cpus)
{
	return (u64)spec->max_entries * map_stride(spec) * cpus;
}

static char *array_values(struct map *map, u32 index)
{
	return map->data + (u64)index * map->value_stride * map->cpus;
}

static void *lookup_array_of(struct map *map, const void *key, u32 slot)
{
	u32 index = array_index(key);

	if (unlikely(index >= map->spec.max_entries || slot >= map->cpus))
		return NULL;
	return array_values(map, index) + (u64)slot * map->value_stride;
}

static void *lookup_array(struct map *map, const void *key)
{
	return lookup_array_of(map, key, percpu_slot());
}

static void array_elements(const struct map *map, struct map_elements *ret_elements)
{
	*ret_elements = (struct map_elements){.stride = map->value_stride * map->cpus,
					      .slots = map->cpus,
					      .slot_stride = map->value_stride};
}

static int update_array(struct map *map, const void *key, const void *value, u64 flags)
{
	u32 index = array_index(key);
	int error = array_check_update(map, index, flags);
	int slot = slot_in(map);

	if (error)
		return error;
	if (slot < 0)
		return slot;
	mem_copy_racy(array_values(map, index) + (u64)slot * map->value_stride, value,
		      map->spec.value_size);
	return 0;
}

static int copy_out_array(struct map *map, const void *key, void *value)
{
	u32 index = array_index(key);

	if (index >= map->spec.max_entries)
		return -ENOENT;
	mem_copy_racy(value, array_values(map, index), map_value_bytes(map));
	return 0;
}

static int copy_in_array(struct map *map, const void *key, const void *value, u64 flags)
{
	u32 index = array_index(key);
	int error = array_check_update(map, index, flags);

	if (!error)
		mem_copy_racy(array_values(map, index), value, map_value_bytes(map));
	return error;
}

const struct map_ops percpu_array_ops = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.name = "percpu_array",
	.check = check_array,
	.data_size = array_bytes,
	.lookup = lookup_array,
	.lookup_percpu = lookup_array_of,
	.elements = array_elements,
	.update = update_array,
	.delete = array_delete,
	.next_key = array_next_key,
	.copy_out = copy_out_array,
	.copy_in = copy_in_array,
};

static int check_hash(const struct map_spec *spec)
{
	if (spec->flags & BPF_F_NUMA_NODE)
		return -EINVAL;
	return hash_check(spec);
}

static void *lookup_hash_of(struct map *map, const void *key, u32 slot)
{
	struct hash_view *view = hash_view_of(map);
	u32 seq;
	s64 found;

	if (unlikely(slot >= map->cpus))
		return NULL;
	found = hash_find(view, key, &seq);
	if (found < 0)
		return NULL;
	return hash_value(view, hash_element(view, (u32)found)) + (u64)slot * map->value_stride;
}

static void *lookup_hash(struct map *map, const void *key)
{
	return lookup_hash_of(map, key, percpu_slot());
}

/* A program's update is of its own slot; in a new element the others start at 0. */
struct slot_value {
	const void *value;
	u32 slot;
};

static void set_slot(struct map *map, char *area, const void *arg)
{
	const struct slot_value *from = arg;

	mem_copy_racy(area + (u64)from->slot * map->value_stride, from->value,
		      map->spec.value_size);
}

static void fill_slot(struct map *map, char *area, const void *arg)
{
	mem_zero(area, map_value_bytes(map));
	set_slot(map, area, arg);
}

static int update_hash(struct map *map, const void *key, const void *value, u64 flags)
{
	int slot = slot_in(map);
	struct slot_value arg = {.value = value, .slot = (u32)slot};

	if (slot < 0)
		return slot;
	return hash_put(map, key, flags, fill_slot, set_slot, &arg);
}

static void set_all(struct map *map, char *area, const void *values)
{
	mem_copy_racy(area, values, map_value_bytes(map));
}

static int copy_in_hash(struct map *map, const void *key, const void *values, u64 flags)
{
	return hash_put(map, key, flags, set_all, set_all, values);
}

const struct map_ops percpu_hash_ops = {
	.type = BPF_MAP_TYPE_PERCPU_HASH,
	.name = "percpu_hash",
	.check = check_hash,
	.data_size = hash_data_size,
	.init = hash_init,
	.open = hash_open,
	.close = hash_close,
	.lookup = lookup_hash,
	.lookup_percpu = lookup_hash_of,
	.update = update_hash,
	.delete = hash_delete,
	.next_key = hash_next_key,
	.copy_out = hash_copy_area,
	.copy_in = copy_in_hash,
	.take_out = hash_take_area,
};
