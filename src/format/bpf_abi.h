/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers of bpf(2) that are newer than Debian 12's linux/bpf.h (6.1). They are the kernel's, never ours
 * to choose. Source: include/uapi/linux/bpf.h of Linux 6.18.
 */
#ifndef INLAY_FORMAT_BPF_ABI_H
#define INLAY_FORMAT_BPF_ABI_H

#include <linux/bpf.h>

#include "base/types.h"

#define ABI_TRACE_UPROBE_MULTI	   48 /* enum bpf_attach_type, 6.6 */
#define ABI_LINK_TYPE_UPROBE_MULTI 12 /* enum bpf_link_type, 6.6 */
#define ABI_UPROBE_MULTI_RETURN	   (1u << 0)
#define ABI_F_TEST_REG_INVARIANTS  (1u << 7)

/* What the kernel answers where it means "not supported": not among errno(3)'s names. */
#define ABI_ENOTSUPP 524

/* union bpf_attr of BPF_LINK_CREATE with attach_type ABI_TRACE_UPROBE_MULTI (6.6): from offset 16 on. */
struct abi_link_create_uprobe_multi {
	u32 prog_fd;
	u32 target_fd;
	u32 attach_type;
	u32 flags;
	u64 path;	     /* char *: the file, as the caller sees it */
	u64 offsets;	     /* u64[cnt]: file offsets */
	u64 ref_ctr_offsets; /* u64[cnt] or 0 */
	u64 cookies;	     /* u64[cnt] or 0 */
	u32 cnt;
	u32 multi_flags; /* ABI_UPROBE_MULTI_RETURN */
	u32 pid;	 /* 0: every process; inlay wants one (-EINVAL says so in its log) */
};

/* The context of uprobe programs: struct pt_regs of x86-64 as BPF sees it. One word a row. */
struct abi_pt_regs_x86_64 {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs,
		flags, sp, ss;
};

/* The same for arm64: struct user_pt_regs. */
struct abi_pt_regs_aarch64 {
	u64 regs[31], sp, pc, pstate;
};

/*
 * The context of packet programs (socket filter, sched_cls, XDP) when they run: struct __sk_buff or struct xdp_md at
 * offset 0, and the pointers that their 32-bit fields stand for behind it. The verifier rewrites a read of data,
 * data_end or data_meta into a 64-bit load from here, so that programs use real pointers.
 */
struct abi_packet_context {
	union {
		struct __sk_buff skb;
		struct xdp_md xdp;
		u8 bytes[256];
	};
	u64 data, data_end, data_meta;
	/* Where negative offsets of BPF_ABS and BPF_IND count from. */
	u64 link_header, network_header;
	u64 room, room_end; /* the buffer that the packet may grow in; both 0: it may not */
};

#endif
