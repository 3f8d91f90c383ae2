/* SPDX-License-Identifier: BSD-2-Clause */
/* The five rejections that beginners meet most, as docs/rejections.md shows them; see test_rejections.py. */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

struct key {
	__u32 pid;
	__u64 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct key);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

/* Unchecked map value */
SEC("uprobe")
int unchecked_value(void *ctx)
{
	struct key key = {};
	__u64 *count;

	count = bpf_map_lookup_elem(&counts, &key);
	*count += 1;
	return 0;
}

/* Unbounded loop */
SEC("uprobe")
int unbounded_loop(void *ctx)
{
	volatile __u64 rounds = 0;

	while (bpf_get_prandom_u32() != 7)
		rounds = 0;
	return 0;
}

/* Uninitialised stack */
SEC("uprobe")
int uninitialised_stack(void *ctx)
{
	struct key key;

	key.pid = 1;
	key.address = 2;
	return bpf_map_lookup_elem(&counts, &key) != 0;
}

/* Wrong packet bound */
SEC("xdp")
int wrong_packet_bound(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *header = data;

	if (data + 12 > end)
		return XDP_DROP;
	return header->h_proto == 8 ? XDP_PASS : XDP_DROP;
}

/* Missing null check after a helper */
SEC("uprobe")
int missing_null_check(void *ctx)
{
	__u64 *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	*event = 1;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
