/* SPDX-License-Identifier: BSD-2-Clause */
/* The process's readable mappings as they were at the last refresh. Private to exec/fault*.c. */
#ifndef INLAY_EXEC_FAULT_SNAPSHOT_H
#define INLAY_EXEC_FAULT_SNAPSHOT_H

#include "base/types.h"

#define FAULT_HINTS 256

struct fault_range {
	u64 start, end;
};

/* Sorted, adjacent ranges merged. hints: where addresses with that hash were found last; any value is safe to read. */
struct fault_snapshot {
	u32 count;
	u32 hints[FAULT_HINTS];
	struct fault_range ranges[];
};

/* NULL before the first refresh. */
extern struct fault_snapshot *fault_snapshot;

int fault_snapshot_refresh(void);

bool fault_snapshot_search(struct fault_snapshot *snapshot, u64 from, u64 size);

static inline u32 fault_snapshot_hash(u64 address)
{
	return (u32)((address >> 14) * 0x9e3779b97f4a7c15ull >> 56);
}

static inline bool fault_range_has(const struct fault_range *range, u64 from, u64 size)
{
	return from >= range->start && from < range->end && size <= range->end - from;
}

/* Do all of [from, from + size) lie in one range? Any thread, at a hit. */
static inline bool fault_snapshot_has(u64 from, u64 size)
{
	struct fault_snapshot *snapshot = __atomic_load_n(&fault_snapshot, __ATOMIC_ACQUIRE);
	u32 hint;

	if (unlikely(!snapshot))
		return false;
	hint = __atomic_load_n(&snapshot->hints[fault_snapshot_hash(from)], __ATOMIC_RELAXED);
	return fault_range_has(&snapshot->ranges[hint], from, size) ||
	       fault_snapshot_search(snapshot, from, size);
}

#endif
