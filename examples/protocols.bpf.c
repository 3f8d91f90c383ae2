/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets by the protocols nested in them, as the kernel's sockex3 does: each parser looks at one header, notes where the next
 * begins, and calls that one's parser. The offset travels in the context. Tunnels lead back to parsers that were there before, at
 * most 33 times.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

unsigned long long load_byte(void *skb, unsigned long long offset) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long offset) asm("llvm.bpf.load.half");

enum parser { VLAN, IPV4, IPV6, GRE, PARSERS };

int parse_vlan(struct __sk_buff *skb);
int parse_ipv4(struct __sk_buff *skb);
int parse_ipv6(struct __sk_buff *skb);
int parse_gre(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, PARSERS);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} parsers SEC(".maps") = {
	.values =
		{
			[VLAN] = (void *)&parse_vlan,
			[IPV4] = (void *)&parse_ipv4,
			[IPV6] = (void *)&parse_ipv6,
			[GRE] = (void *)&parse_gre,
		},
};

/* What a packet was in the end: its innermost protocol, and how many headers led there. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} packets SEC(".maps");

static __always_inline int finish(struct __sk_buff *skb, __u32 protocol)
{
	__u64 key = (__u64)skb->cb[1] << 32 | protocol, one = 1, *count;

	count = bpf_map_lookup_elem(&packets, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&packets, &key, &one, BPF_ANY);
	return 0;
}

static __always_inline void advance(struct __sk_buff *skb, __u32 bytes)
{
	skb->cb[0] += bytes;
	skb->cb[1]++;
}

/* Goes on with what an Ethernet type names. */
static __always_inline int by_ethernet_type(struct __sk_buff *skb, __u32 type)
{
	switch (type) {
	case 0x8100:
	case 0x88a8:
		bpf_tail_call(skb, &parsers, VLAN);
		break;
	case 0x0800:
		bpf_tail_call(skb, &parsers, IPV4);
		break;
	case 0x86dd:
		bpf_tail_call(skb, &parsers, IPV6);
		break;
	}
	return finish(skb, type);
}

static __always_inline int by_ip_protocol(struct __sk_buff *skb, __u32 protocol)
{
	switch (protocol) {
	case 4:
		bpf_tail_call(skb, &parsers, IPV4);
		break;
	case 41:
		bpf_tail_call(skb, &parsers, IPV6);
		break;
	case 47:
		bpf_tail_call(skb, &parsers, GRE);
		break;
	}
	return finish(skb, protocol);
}

SEC("tc") int parse_vlan(struct __sk_buff *skb)
{
	__u32 type = load_half(skb, skb->cb[0] + 2);

	advance(skb, 4);
	return by_ethernet_type(skb, type);
}

SEC("tc") int parse_ipv4(struct __sk_buff *skb)
{
	__u32 at = skb->cb[0], words = load_byte(skb, at) & 15, protocol = load_byte(skb, at + 9);

	/* What comes behind the first fragment is no header. */
	if (load_half(skb, at + 6) & 0x1fff)
		return finish(skb, 0x0800);
	advance(skb, words * 4);
	return by_ip_protocol(skb, protocol);
}

SEC("tc") int parse_ipv6(struct __sk_buff *skb)
{
	__u32 next = load_byte(skb, skb->cb[0] + 6);

	advance(skb, 40);
	return by_ip_protocol(skb, next);
}

SEC("tc") int parse_gre(struct __sk_buff *skb)
{
	__u32 at = skb->cb[0], flags = load_half(skb, at), type = load_half(skb, at + 2);

	/* Checksum, key and sequence number take four bytes each. */
	advance(skb, 4 + (flags >> 15 & 1) * 4 + (flags >> 13 & 1) * 4 + (flags >> 12 & 1) * 4);
	return by_ethernet_type(skb, type);
}

SEC("tc") int parse(struct __sk_buff *skb)
{
	__u32 type = load_half(skb, 12);

	skb->cb[0] = 0;
	skb->cb[1] = 0;
	advance(skb, 14);
	return by_ethernet_type(skb, type);
}
