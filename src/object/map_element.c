/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One element of a map, as bpf(2) sees it.
 *
 * A map operation waits for a lock only as long as a hit may wait, then answers -EBUSY: its holder may be a thread without a
 * processor. The kernel's commands have no such answer for elements, and clients do not expect it, so they wait here. Not
 * for ever: a holder can be a process that was stopped.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "format/bpf_abi.h"
#include "object/map.h"

#define BUSY_NAP_NS   100000
#define BUSY_NAPS_MAX 20000

/* After the answer -EBUSY: true, a little later, if it is worth trying again. */
static bool try_again(int error, u32 *naps)
{
	const struct timespec nap = {0, BUSY_NAP_NS};

	if (error != -EBUSY || ++*naps > BUSY_NAPS_MAX)
		return false;
	nanosleep(&nap, NULL);
	return true;
}

static int look_up(struct map *map, const void *key, void *value)
{
	const void *from = map->ops->lookup(map, key);

	if (!from)
		return -ENOENT;
	memcpy(value, from, map->spec.value_size);
	return 0;
}

int map_copy_out(struct map *map, const void *key, void *value)
{
	u32 naps = 0;
	int error;

	if (!map->ops->copy_out)
		return map->ops->lookup ? look_up(map, key, value) : -ABI_ENOTSUPP;
	do
		error = map->ops->copy_out(map, key, value);
	while (try_again(error, &naps));
	return error;
}

int map_copy_in(struct map *map, const void *key, const void *value, u64 flags)
{
	u32 naps = 0;
	int error;

	if (!map->ops->copy_in && !map->ops->update)
		return -ABI_ENOTSUPP;
	do
		error = map->ops->copy_in ? map->ops->copy_in(map, key, value, flags)
					  : map->ops->update(map, key, value, flags);
	while (try_again(error, &naps));
	return error;
}

int map_take_out(struct map *map, const void *key, void *value)
{
	u32 naps = 0;
	int error;

	if (!map->ops->take_out)
		return -ABI_ENOTSUPP;
	do
		error = map->ops->take_out(map, key, value);
	while (try_again(error, &naps));
	return error;
}

int map_delete_key(struct map *map, const void *key)
{
	u32 naps = 0;
	int error;

	if (!map->ops->delete)
		return -ABI_ENOTSUPP;
	do
		error = map->ops->delete (map, key);
	while (try_again(error, &naps));
	return error;
}

int map_next_key(struct map *map, const void *key, void *next)
{
	u32 naps = 0;
	int error;

	if (!map->ops->next_key)
		return -ABI_ENOTSUPP;
	do
		error = map->ops->next_key(map, key, next);
	while (try_again(error, &naps));
	return error;
}
