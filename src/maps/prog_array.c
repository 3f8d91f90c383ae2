// SPDX-License-Identifier: BSD-2-Clause
#include "maps/prog_array.h"

#include <errno.h>

#include "base/arena.h"
#include "base/mem.h"
#include "maps/array.h"
#include "sync/participant.h"

/* Words of map_shared.type_state. */
#define STATE_GENERATION 0
#define STATE_LOCKED	 1 /* 0 -> 1 by who writes the owner, 1 -> 2 when it is written */
#define STATE_OWNER	 2

#define STATE_FOLLOWERS	 8 /* two words each: participant, generation */

#define OWNER_WRITTEN	 2

static u32 *ids(const struct map *map)
{
	return (u32 *)map->data;
}

static int prog_array_check(const struct map_spec *spec)
{
	if (spec->value_size != 4 || spec->flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EINVAL;
	return array_check(spec);
}

static u64 prog_array_data_size(const struct map_spec *spec, u32 cpus)
{
	(void)cpus;
	return (u64)spec->max_entries * sizeof(u32);
}

/* Every slot of a new view is empty, whatever the ids say: programs are found and compiled by the object layer. */
static int prog_array_open(struct map *map)
{
	u32 count = map->spec.max_entries;
	struct tail_slots *slots = arena_alloc(sizeof(*slots) + count * sizeof(slots->slots[0]));

	if (!slots)
		return -ENOMEM;
	slots->count = count;
	map->type_view = slots;
	return 0;
}

static void prog_array_close(struct map *map)
{
	arena_free(map->type_view);
	map->type_view = NULL;
}

static int prog_array_copy_out(struct map *map, const void *key, void *value)
{
	u32 index = array_index(key), id;

	id = index < map->spec.max_entries ? prog_array_id(map, index) : 0;
	if (!id)
		return -ENOENT;
	__builtin_memcpy(value, &id, sizeof(id));
	return 0;
}

u64 prog_array_generation(const struct map *map)
{
	return __atomic_load_n(&map->shared->type_state[STATE_GENERATION], __ATOMIC_ACQUIRE);
}

u32 prog_array_id(const struct map *map, u32 index)
{
	return __atomic_load_n(&ids(map)[index], __ATOMIC_ACQUIRE);
}

u32 prog_array_set_id(struct map *map, u32 index, u32 id)
{
	u32 old = __atomic_exchange_n(&ids(map)[index], id, __ATOMIC_ACQ_REL);

	__atomic_fetch_add(&map->shared->type_state[STATE_GENERATION], 1, __ATOMIC_RELEASE);
	return old;
}

bool prog_array_compatible(struct map *map, const struct prog_array_owner *program)
{
	u64 *state = map->shared->type_state, unlocked = 0;
	struct prog_array_owner owner;

	_Static_assert(STATE_OWNER * 8 + sizeof(owner) <= sizeof(map->shared->type_state),
		       "owner fits");
	if (__atomic_compare_exchange_n(&state[STATE_LOCKED], &unlocked, 1, false, __ATOMIC_ACQUIRE,
					__ATOMIC_ACQUIRE)) {
		mem_copy(&state[STATE_OWNER], program, sizeof(*program));
		__atomic_store_n(&state[STATE_LOCKED], OWNER_WRITTEN, __ATOMIC_RELEASE);
		return true;
	}
	/* A process killed between the two words leaves a map without owner that takes no program: never a wrong one. */
	if (__atomic_load_n(&state[STATE_LOCKED], __ATOMIC_ACQUIRE) != OWNER_WRITTEN)
		return false;
	mem_copy(&owner, &state[STATE_OWNER], sizeof(owner));
	return mem_equal(&owner, program, sizeof(owner));
}

static u64 *follower(const struct map *map, u32 place)
{
	_Static_assert((STATE_FOLLOWERS + 2 * PROG_ARRAY_FOLLOWERS) * 8 <=
			       sizeof(map->shared->type_state),
		       "followers fit");
	return &map->shared->type_state[STATE_FOLLOWERS + 2 * place];
}

static u32 *word_of_generation(const struct map *map)
{
	u32 *words = (u32 *)&map->shared->type_state[STATE_GENERATION];

	return words + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

u32 *prog_array_generation_word(const struct map *map)
{
	return word_of_generation(map);
}

bool prog_array_add_follower(struct map *map, u32 participant)
{
	for (u32 i = 0; i < PROG_ARRAY_FOLLOWERS; i++) {
		if (__atomic_load_n(follower(map, i), __ATOMIC_ACQUIRE) == participant)
			return true;
	}
	for (u32 i = 0; i < PROG_ARRAY_FOLLOWERS; i++) {
		u64 before = __atomic_load_n(follower(map, i), __ATOMIC_ACQUIRE);

		if (before && participant_alive((u32)before))
			continue;
		if (__atomic_compare_exchange_n(follower(map, i), &before, participant, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return true;
	}
	return false;
}

void prog_array_set_followed(struct map *map, u32 participant, u64 generation)
{
	for (u32 i = 0; i < PROG_ARRAY_FOLLOWERS; i++) {
		if (__atomic_load_n(follower(map, i), __ATOMIC_ACQUIRE) == participant)
			__atomic_store_n(follower(map, i) + 1, generation, __ATOMIC_RELEASE);
	}
}

bool prog_array_is_followed(const struct map *map, u32 participant, u64 generation)
{
	for (u32 i = 0; i < PROG_ARRAY_FOLLOWERS; i++) {
		u32 id = (u32)__atomic_load_n(follower(map, i), __ATOMIC_ACQUIRE);

		if (id && id != participant &&
		    (s64)(__atomic_load_n(follower(map, i) + 1, __ATOMIC_ACQUIRE) - generation) <
			    0 &&
		    participant_alive(id))
			return false;
	}
	return true;
}

const struct map_ops prog_array_ops = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.name = "prog_array",
	.check = prog_array_check,
	.data_size = prog_array_data_size,
	.next_key = array_next_key,
	.copy_out = prog_array_copy_out,
	.open = prog_array_open,
	.close = prog_array_close,
};
