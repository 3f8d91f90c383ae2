/* SPDX-License-Identifier: BSD-2-Clause */
/* The program of client.c: one of each thing a libbpf client touches. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct point {
	int x, y;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct point);
} points SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

int total;
const volatile int step = 1;

SEC("socket")
int filter(struct __sk_buff *skb)
{
	struct point point = {1, total};
	__u32 key = skb->len, zero = 0;
	__u64 *count = bpf_map_lookup_elem(&counts, &zero);

	total += step;
	if (count)
		*count += 1;
	bpf_map_update_elem(&points, &key, &point, BPF_ANY);
	bpf_ringbuf_output(&records, &point, sizeof(point), 0);
	return 9;
}

char LICENSE[] SEC("license") = "GPL";
