/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/code_map.h"

#include <errno.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"

static u32 map_lock;
/* Sorted; under the lock. */
static struct code_range **all;
static u32 all_count, all_room;
static bool changed;
static struct code_range *removed;
static struct code_map *retired;
static void (*listeners[CODE_MAP_LISTENERS])(const struct code_map *map);
/* Read at hits. */
static struct code_map *shown;

static void lock(void)
{
	while (__atomic_exchange_n(&map_lock, 1, __ATOMIC_ACQUIRE))
		sys_sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&map_lock, 0, __ATOMIC_RELEASE);
}

/* How many ranges start at or below the address. */
static u32 rank(struct code_range *const *ranges, u32 count, u64 address)
{
	u32 low = 0, high = count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (ranges[middle]->start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert(struct code_range *range)
{
	u32 at;

	if (all_count == all_room) {
		u32 room = all_room ? 2 * all_room : 256;
		struct code_range **grown = arena_resize(all, room * sizeof(struct code_range *));

		if (!grown)
			return -ENOMEM;
		all = grown;
		all_room = room;
	}
	at = rank(all, all_count, range->start);
	for (u32 i = all_count; i > at; i--)
		all[i] = all[i - 1];
	all[at] = range;
	all_count++;
	changed = true;
	return 0;
}

int code_map_add(u64 start, u32 size, u64 window, const struct frame_notes *notes, const char *name)
{
	u64 note_bytes = notes->count * sizeof(notes->notes[0]), name_bytes = 1;
	struct code_range *range;
	char *copy;
	int err;

	if (notes->count > notes->capacity)
		return -E2BIG;
	while (name[name_bytes - 1])
		name_bytes++;
	range = arena_alloc(sizeof(*range) + note_bytes + name_bytes);
	if (!range)
		return -ENOMEM;
	range->start = start;
	range->size = size;
	range->window = window;
	range->count = notes->count;
	mem_copy(range->notes, notes->notes, note_bytes);
	copy = (char *)range->notes + note_bytes;
	mem_copy(copy, name, name_bytes);
	range->name = copy;
	lock();
	err = insert(range);
	unlock();
	if (err)
		arena_free(range);
	return err;
}

/* Nobody has seen it who may look at it yet, unless it was published. */
static void discard(struct code_range *range)
{
	if (!range->published) {
		arena_free(range);
		return;
	}
	range->next_removed = removed;
	removed = range;
}

void code_map_remove(u64 start)
{
	u32 at;

	lock();
	at = rank(all, all_count, start);
	if (at && all[at - 1]->start == start) {
		discard(all[at - 1]);
		for (u32 i = at; i < all_count; i++)
			all[i - 1] = all[i];
		all_count--;
		changed = true;
	}
	unlock();
}

/* Called with the lock held. */
static int show(void)
{
	struct code_map *map = arena_alloc(sizeof(*map) + all_count * sizeof(map->ranges[0]));

	if (!map)
		return -ENOMEM;
	map->count = all_count;
	for (u32 i = 0; i < all_count; i++) {
		all[i]->published = true;
		map->ranges[i] = all[i];
	}
	if (shown) {
		shown->retired = retired;
		retired = shown;
	}
	__atomic_store_n(&shown, map, __ATOMIC_RELEASE);
	changed = false;
	for (u32 i = 0; i < CODE_MAP_LISTENERS && listeners[i]; i++)
		listeners[i](map);
	return 0;
}

int code_map_publish(void)
{
	int err = 0;

	lock();
	if (changed)
		err = show();
	unlock();
	return err;
}

int code_map_add_listener(void (*listener)(const struct code_map *map))
{
	u32 i = 0;

	lock();
	while (i < CODE_MAP_LISTENERS && listeners[i] && listeners[i] != listener)
		i++;
	if (i < CODE_MAP_LISTENERS) {
		listeners[i] = listener;
		changed = true;
	}
	unlock();
	return i < CODE_MAP_LISTENERS ? 0 : -ENOSPC;
}

void code_map_reap(void)
{
	lock();
	while (!changed && removed) {
		struct code_range *next = removed->next_removed;

		arena_free(removed);
		removed = next;
	}
	while (retired) {
		struct code_map *next = retired->retired;

		arena_free(retired);
		retired = next;
	}
	unlock();
}

const struct code_range *code_map_find(u64 pc)
{
	const struct code_map *map = __atomic_load_n(&shown, __ATOMIC_ACQUIRE);
	u32 low = 0, high = map ? map->count : 0;
	const struct code_range *range;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (map->ranges[middle]->start <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	range = low ? map->ranges[low - 1] : NULL;
	return range && pc - range->start < range->size ? range : NULL;
}
