/* SPDX-License-Identifier: BSD-2-Clause */
/* Straight-line programs for bench/compile: each instruction is verified once, so that compiling is no small part of a load. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define TIMES_8(what)	what what what what what what what what
#define TIMES_512(what) TIMES_8(TIMES_8(TIMES_8(what)))

SEC("socket")
int numbers(struct __sk_buff *skb)
{
	__u64 x = skb->len, y = skb->protocol;

	TIMES_512(x = x * 0x9e3779b97f4a7c15ull + y; y ^= x >> 7; x = (__u32)x | y;)
	return (int)x;
}

SEC("socket")
int memory(struct __sk_buff *skb)
{
	volatile __u64 stack[8] = {skb->len, skb->protocol};
	__u32 i = 0;

	TIMES_512(stack[i & 7] += stack[(i + 1) & 7]; i++; stack[i & 7] ^= i;)
	return (int)stack[0];
}

char _license[] SEC("license") = "GPL";
