/* SPDX-License-Identifier: BSD-2-Clause */
/* What the examples share. A program needs no more than this to probe functions of a process. */
#ifndef PROBE_BPF_H
#define PROBE_BPF_H

#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* The executable of the process that `inlay attach` is given. */
#define IN_EXECUTABLE(function) SEC("uprobe//proc/self/exe:" function)
#define RETURN_OF(function)	SEC("uretprobe//proc/self/exe:" function)

/* Map named *_hist and indexed by this: `inlay attach` draws it. */
#define LOG2_SLOTS 64

/* The position of the highest bit set, 0 for 0 and 1: slot i of a histogram holds values in [2^i, 2^(i+1)). */
static __always_inline __u32 log2_slot(__u64 value)
{
	__u32 slot = 0;

#pragma unroll
	for (__u32 bits = 32; bits; bits >>= 1) {
		if (value >> bits) {
			value >>= bits;
			slot += bits;
		}
	}
	return slot;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
