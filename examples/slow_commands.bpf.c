/* SPDX-License-Identifier: BSD-2-Clause */
/* Says when redis-server took long for a command, as it happens. */
#include "probe.bpf.h"

#define SLOW_NS 1000000

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} started SEC(".maps");

__u64 commands, slow;

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
	__u64 taken;

	if (!start)
		return 0;
	taken = bpf_ktime_get_ns() - *start;
	bpf_map_delete_elem(&started, &thread);
	__sync_fetch_and_add(&commands, 1);
	if (taken < SLOW_NS)
		return 0;
	__sync_fetch_and_add(&slow, 1);
	bpf_printk("thread %d: a command took %llu us", thread, taken / 1000);
	return 0;
}
