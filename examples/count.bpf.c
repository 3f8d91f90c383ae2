/* SPDX-License-Identifier: BSD-2-Clause */
/* How often redis-server processes a command. */
#include "probe.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

IN_EXECUTABLE("processCommand")
int count(struct pt_regs *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&calls, &zero);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}
