/* SPDX-License-Identifier: BSD-2-Clause */
/* How long redis-server takes for a command, in nanoseconds, as a histogram. */
#include "probe.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} started SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOG2_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} latency_hist SEC(".maps");

IN_EXECUTABLE("processCommand")
int command_begins(struct pt_regs *ctx)
{
	__u32 thread = (__u32)bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&started, &thread, &now, BPF_ANY);
	return 0;
}

RETURN_OF("processCommand")
int command_ends(struct pt_regs *ctx)
{
	__u32 thread = (__u32)bpf_get_current_pid_tgid();
	__u64 *start = bpf_map_lookup_elem(&started, &thread);
	__u64 *count;
	__u32 slot;

	/* Attached in the middle of a command: its beginning was not seen. */
	if (!start)
		return 0;
	slot = log2_slot(bpf_ktime_get_ns() - *start);
	bpf_map_delete_elem(&started, &thread);
	count = bpf_map_lookup_elem(&latency_hist, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
