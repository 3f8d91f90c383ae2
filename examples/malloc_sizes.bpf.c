/* SPDX-License-Identifier: BSD-2-Clause */
/* What sizes a program asks malloc for, as a histogram for each thread name. */
#include "probe.bpf.h"

#define NAME_SIZE 16

struct histogram {
	__u32 slots[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, char[NAME_SIZE]);
	__type(value, struct histogram);
} malloc_sizes SEC(".maps");

static const struct histogram empty;

SEC("uprobe/libc:malloc")
int BPF_KPROBE(malloc_begins, unsigned long size)
{
	struct histogram *histogram;
	char name[NAME_SIZE];
	__u32 slot = log2_slot(size);

	bpf_get_current_comm(name, sizeof(name));
	bpf_map_update_elem(&malloc_sizes, name, &empty, BPF_NOEXIST);
	histogram = bpf_map_lookup_elem(&malloc_sizes, name);
	if (histogram && slot < 32)
		__sync_fetch_and_add(&histogram->slots[slot], 1);
	return 0;
}
