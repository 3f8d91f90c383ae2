/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chains of 32 tail calls, each program to the next: direct ones, indirect ones, and either from a subprogram; and a program
 * that makes 32 plain calls. See tailcall.c.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* clang-format off */
#define CHAIN(X) \
	X(0, 1) X(1, 2) X(2, 3) X(3, 4) X(4, 5) X(5, 6) X(6, 7) X(7, 8) \
	X(8, 9) X(9, 10) X(10, 11) X(11, 12) X(12, 13) X(13, 14) X(14, 15) X(15, 16) \
	X(16, 17) X(17, 18) X(18, 19) X(19, 20) X(20, 21) X(21, 22) X(22, 23) X(23, 24) \
	X(24, 25) X(25, 26) X(26, 27) X(27, 28) X(28, 29) X(29, 30) X(30, 31) X(31, 32)
#define EACH(X, k) \
	X(k, 0) X(k, 1) X(k, 2) X(k, 3) X(k, 4) X(k, 5) X(k, 6) X(k, 7) X(k, 8) \
	X(k, 9) X(k, 10) X(k, 11) X(k, 12) X(k, 13) X(k, 14) X(k, 15) X(k, 16) X(k, 17) \
	X(k, 18) X(k, 19) X(k, 20) X(k, 21) X(k, 22) X(k, 23) X(k, 24) X(k, 25) X(k, 26) \
	X(k, 27) X(k, 28) X(k, 29) X(k, 30) X(k, 31) X(k, 32)

#define DECLARE(kind, number) int kind##number(struct __sk_buff *skb);
#define SLOT(kind, number)    [number] = (void *)&kind##number,

#define MAP(kind) \
	EACH(DECLARE, kind) \
	struct { \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
		__uint(max_entries, 64); \
		__uint(key_size, sizeof(__u32)); \
		__array(values, int(void *)); \
	} kind##_map SEC(".maps") = {.values = {EACH(SLOT, kind)}};

MAP(direct)
MAP(lean)
MAP(indirect)
MAP(nested)
MAP(mixed)

/* A constant key, the way libbpf writes it: a register is kept over the call. */
#define DIRECT(here, next) \
	SEC("tc") int direct##here(struct __sk_buff *skb) \
	{ \
		bpf_tail_call_static(skb, &direct_map, next); \
		return 0; \
	}

/* No register is kept: there is no frame. */
#define LEAN(here, next) \
	SEC("tc") int lean##here(struct __sk_buff *skb) \
	{ \
		bpf_tail_call(skb, &lean_map, next); \
		return 0; \
	}

/* The packet has 64 bytes, which only the run knows. */
#define INDIRECT(here, next) \
	SEC("tc") int indirect##here(struct __sk_buff *skb) \
	{ \
		bpf_tail_call(skb, &indirect_map, skb->len - 64 + next); \
		return 0; \
	}

/* Of subprograms, the compiler must not know what they return. */
#define FROM_SUBPROGRAM(kind, here, call) \
	static __attribute__((noinline)) int kind##_sub##here(struct __sk_buff *skb) \
	{ \
		int result = 0; \
 \
		call; \
		asm volatile("" : "+r"(result)); \
		return result; \
	} \
	SEC("tc") int kind##here(struct __sk_buff *skb) \
	{ \
		return kind##_sub##here(skb); \
	}
#define NESTED(here, next) \
	FROM_SUBPROGRAM(nested, here, bpf_tail_call_static(skb, &nested_map, next))
#define MIXED(here, next) \
	FROM_SUBPROGRAM(mixed, here, bpf_tail_call(skb, &mixed_map, skb->len - 64 + next))

#define LAST(kind) \
	SEC("tc") int kind##32(struct __sk_buff *skb) \
	{ \
		return 77; \
	}

CHAIN(DIRECT)
CHAIN(LEAN)
CHAIN(INDIRECT)
CHAIN(NESTED)
CHAIN(MIXED)
LAST(direct)
LAST(lean)
LAST(indirect)
LAST(nested)
LAST(mixed)

#define CALL(here, next) sum += plain_sub(skb);
/* clang-format on */

static __attribute__((noinline)) int plain_sub(struct __sk_buff *skb)
{
	int len = skb->len;

	asm volatile("" : "+r"(len));
	return len;
}

SEC("tc") int plain0(struct __sk_buff *skb)
{
	int sum = 0;

	CHAIN(CALL)
	return sum == 32 * 64 ? 77 : 0;
}

/* Calls itself until the count of 33 runs out. */
int self0(struct __sk_buff *skb);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} self_map SEC(".maps") = {.values = {[0] = (void *)&self0}};

SEC("tc") int self0(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &self_map, 0);
	return 77;
}

SEC("tc") int empty0(struct __sk_buff *skb)
{
	return 77;
}
