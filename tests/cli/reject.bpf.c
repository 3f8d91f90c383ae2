/* SPDX-License-Identifier: BSD-2-Clause */
/* One program that is safe and some that are not; see test_verify.sh. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("uprobe")
int good(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&counts, &zero);

	if (count)
		*count += 1;
	return 0;
}

SEC("uprobe")
int null_value(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&counts, &zero);

	*count += 1;
	return 0;
}

SEC("uprobe")
int out_of_bounds(void *ctx)
{
	__u32 zero = 0;
	volatile __u64 *count = bpf_map_lookup_elem(&counts, &zero);

	if (count)
		count[1] = 1;
	return 0;
}

SEC("uprobe")
int wrong_argument(void *ctx)
{
	return bpf_map_lookup_elem((void *)8, ctx) != 0;
}

SEC("uprobe")
int uninit_stack(void *ctx)
{
	__u64 value;

	asm volatile("%0 = *(u64 *)(r10 - 16)" : "=r"(value));
	return value == 7;
}

char LICENSE[] SEC("license") = "GPL";
