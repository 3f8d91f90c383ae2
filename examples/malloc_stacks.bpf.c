/* SPDX-License-Identifier: BSD-2-Clause */
/* Who asks for memory: redis-server's calls of zmalloc, counted by the whole stack of callers. Needs no frame pointers. */
#include "probe.bpf.h"

#define DEPTH 64

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, DEPTH * sizeof(__u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __s32); /* printed as the stack of that id */
	__type(value, __u64);
} zmalloc_stacks SEC(".maps");

IN_EXECUTABLE("zmalloc")
int BPF_KPROBE(zmalloc_begins)
{
	__s32 id = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	__u64 one = 1, *count;

	count = bpf_map_lookup_elem(&zmalloc_stacks, &id);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&zmalloc_stacks, &id, &one, BPF_NOEXIST);
	return 0;
}
