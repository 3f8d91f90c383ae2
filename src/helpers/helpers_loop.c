/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Helpers that call back into their program. A callback is the address of a function with the C calling convention: the compiled
 * subprogram, or one that stands for it in the interpreter; 0 when it has too many.
 */
#include <errno.h>

#include "helpers/call.h"
#include "maps/map.h"

#define LOOPS_MAX (1u << 23)
#define KEY_MAX	  256u

typedef u64 (*callback_fn)(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5);

static callback_fn callback_at(u64 address)
{
	return (callback_fn)(uintptr_t)address;
}

HELPER_4(loop, count, callback, context, flags)
{
	if (flags)
		return helper_result(-EINVAL);
	if ((u32)count > LOOPS_MAX)
		return helper_result(-E2BIG);
	if (!callback)
		return helper_result(-EOPNOTSUPP);
	for (u32 i = 0; i < (u32)count; i++) {
		if (callback_at(callback)(i, context, 0, 0, 0))
			return i + 1;
	}
	return (u32)count;
}

static bool is_array(const struct map *map)
{
	return map->spec.type == BPF_MAP_TYPE_ARRAY || map->spec.type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static u64 each_index(struct map *map, u64 callback, u64 context)
{
	for (u32 key = 0; key < map->spec.max_entries; key++) {
		void *value = map->ops->lookup(map, &key);

		if (value && callback_at(callback)(ptr_to_u64(map), ptr_to_u64(&key),
						   ptr_to_u64(value), context, 0))
			return key + 1;
	}
	return map->spec.max_entries;
}

/* The next key is fetched before the call, which may delete the element. As many calls as the map has room for, at most. */
static u64 each_key(struct map *map, u64 callback, u64 context)
{
	u64 keys[2][KEY_MAX / sizeof(u64)];
	int more;
	u32 now = 0, calls = 0;

	if (map->spec.key_size > KEY_MAX)
		return helper_result(-EOPNOTSUPP);
	more = map->ops->next_key(map, NULL, keys[now]);
	while (!more && calls < map->spec.max_entries) {
		void *value = map->ops->lookup(map, keys[now]);

		more = map->ops->next_key(map, keys[now], keys[!now]);
		if (value) {
			calls++;
			if (callback_at(callback)(ptr_to_u64(map), ptr_to_u64(keys[now]),
						  ptr_to_u64(value), context, 0))
				break;
		}
		now = !now;
	}
	return calls;
}

HELPER_4(for_each_map_elem, map_word, callback, context, flags)
{
	struct map *map = ptr_from_u64(map_word);

	if (flags)
		return helper_result(-EINVAL);
	if (!callback || !map->ops->lookup || !map->ops->next_key)
		return helper_result(-EOPNOTSUPP);
	return is_array(map) ? each_index(map, callback, context)
			     : each_key(map, callback, context);
}
