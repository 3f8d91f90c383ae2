/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Building and searching snapshots. A retired snapshot is freed after a grace period; one that could not be waited for
 * stays on a list until the next refresh.
 */
#include "exec/fault_snapshot.h"

#include <errno.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/proc_maps.h"
#include "sync/reader.h"

#define GRACE_MS    100
#define MAX_RETIRED 16

struct fault_snapshot *fault_snapshot;

static struct fault_snapshot *retired[MAX_RETIRED];
static u32 retired_count;

/* Reading a device's memory may do something; special mappings ([vvar], [vsyscall]) may not be what they seem. */
static bool is_plain_memory(const struct proc_mapping *mapping)
{
	const char *name = mapping->name;

	if (!mapping->readable || mem_equal(name, "[v", 2))
		return false;
	return !mem_equal(name, "/dev/", 5) || mem_equal(name, "/dev/zero", 9) ||
	       mem_equal(name, "/dev/shm/", 9);
}

static size_t snapshot_bytes(u32 capacity)
{
	return sizeof(struct fault_snapshot) + capacity * sizeof(struct fault_range);
}

static int add_range(struct fault_snapshot **snapshot, u32 *capacity, u64 start, u64 end)
{
	struct fault_snapshot *s = *snapshot;

	if (s->count && s->ranges[s->count - 1].end == start) {
		s->ranges[s->count - 1].end = end;
		return 0;
	}
	if (s->count == *capacity) {
		s = arena_resize(s, snapshot_bytes(*capacity * 2));
		if (!s)
			return -ENOMEM;
		*capacity *= 2;
		*snapshot = s;
	}
	s->ranges[s->count++] = (struct fault_range){start, end};
	return 0;
}

static int take(struct fault_snapshot **ret_snapshot)
{
	u32 capacity = 256;
	struct fault_snapshot *snapshot = arena_alloc(snapshot_bytes(capacity));
	struct proc_mapping mapping;
	struct proc_maps maps;
	int err;

	if (!snapshot)
		return -ENOMEM;
	err = proc_maps_open(&maps);
	if (err)
		goto free_snapshot;
	while (!err && proc_maps_next(&maps, &mapping)) {
		if (is_plain_memory(&mapping))
			err = add_range(&snapshot, &capacity, mapping.start, mapping.end);
	}
	proc_maps_close(&maps);
	if (err)
		goto free_snapshot;
	*ret_snapshot = snapshot;
	return 0;

free_snapshot:
	arena_free(snapshot);
	return err;
}

static void retire(struct fault_snapshot *old)
{
	if (!old)
		return;
	/* With the list full the old one is leaked, a page or two: nobody could say that it is unused. */
	if (retired_count < MAX_RETIRED)
		retired[retired_count++] = old;
	if (sync_grace(GRACE_MS))
		return;
	while (retired_count)
		arena_free(retired[--retired_count]);
}

int fault_snapshot_refresh(void)
{
	struct fault_snapshot *fresh;
	int err = take(&fresh);

	if (err)
		return err;
	retire(__atomic_exchange_n(&fault_snapshot, fresh, __ATOMIC_ACQ_REL));
	return 0;
}

bool fault_snapshot_search(struct fault_snapshot *snapshot, u64 from, u64 size)
{
	u32 low = 0, left = snapshot->count;

	if (!left)
		return false;
	while (left > 1) {
		u32 half = left / 2;

		low = snapshot->ranges[low + half].start <= from ? low + half : low;
		left -= half;
	}
	if (!fault_range_has(&snapshot->ranges[low], from, size))
		return false;
	__atomic_store_n(&snapshot->hints[fault_snapshot_hash(from)], low, __ATOMIC_RELAXED);
	return true;
}
