/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sizes asked of malloc, and what became of the requests, by typed programs. Needs libc's types: libc6-dbg on Debian.
 *
 * One program at the return sees arguments and result together: nothing has to be remembered in between, as a pair of
 * uprobe and uretprobe would.
 */
#include "probe.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOG2_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} size_hist SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} failed SEC(".maps"); /* [0]: requests that were served, [1]: that were not */

static __always_inline void count(void *map, __u32 key)
{
	__u64 *value = bpf_map_lookup_elem(map, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("fexit/libc:__libc_malloc")
int BPF_PROG(malloc_returns, __u64 size, void *result)
{
	count(&size_hist, log2_slot(size));
	count(&failed, !result);
	return 0;
}
