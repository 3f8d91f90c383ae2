/* SPDX-License-Identifier: BSD-2-Clause */
/* Helpers whose result is an addition: how the JIT may do them without a call. Otherwise as helpers_map.c and helpers_task.c do. */
#include <linux/bpf.h>

#include "arch/jit_unit.h"
#include "helpers/helpers.h"
#include "maps/map.h"

static bool lookup_in_place(const struct map *map, struct jit_in_place *ret_how)
{
	struct map_elements elements;

	if (!map || !map->ops->elements)
		return false;
	map->ops->elements(map, &elements);
	*ret_how = (struct jit_in_place){.base = ptr_to_u64(map->data),
					 .count = map->spec.max_entries,
					 .stride = elements.stride,
					 .slots = elements.slots,
					 .slot_stride = elements.slot_stride};
	return true;
}

bool helper_in_place(u32 id, const struct map *map, struct jit_in_place *ret_how)
{
	switch (id) {
	case BPF_FUNC_map_lookup_elem:
		return lookup_in_place(map, ret_how);
	case BPF_FUNC_get_smp_processor_id:
		*ret_how = (struct jit_in_place){.slots = UINT32_MAX, .slot_stride = 1};
		return true;
	}
	return false;
}
