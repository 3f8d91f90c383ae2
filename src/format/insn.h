/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One eBPF instruction on paper: field tests and the parts of the encoding that Debian's linux/bpf.h
 * does not name yet. Source: RFC 9669 and the kernel's uapi headers (facts, not text).
 */
#ifndef INLAY_FORMAT_INSN_H
#define INLAY_FORMAT_INSN_H

#include <linux/bpf.h>

#include "base/types.h"

/* Modes that linux/bpf.h of 6.1 lacks. MEMSX: sign-extending load. PROBE_MEM is ours to write: the
 * verifier marks loads through pointers that may be stale, and the JIT gives each an exception entry. */
#define INSN_MODE_MEMSX	      0x80
#define INSN_MODE_PROBE_MEM   0x20
#define INSN_MODE_PROBE_MEMSX 0x40
/* BPF_JMP | INSN_JCOND is may_goto: jumps once the frame has come by INSN_MAY_GOTO_LIMIT times. */
#define INSN_JCOND	    0xe0
#define INSN_MAY_GOTO_LIMIT (8u << 20)
/* imm of BPF_STX | BPF_ATOMIC (6.14); sizes from a byte on. */
#define INSN_LOAD_ACQUIRE  0x100
#define INSN_STORE_RELEASE 0x110

/* src_reg of BPF_LD | BPF_IMM | BPF_DW */
#define INSN_PSEUDO_MAP_FD	  1
#define INSN_PSEUDO_MAP_VALUE	  2
#define INSN_PSEUDO_BTF_ID	  3
#define INSN_PSEUDO_FUNC	  4
#define INSN_PSEUDO_MAP_IDX	  5
#define INSN_PSEUDO_MAP_IDX_VALUE 6
/* src_reg of BPF_JMP | BPF_CALL */
#define INSN_CALL_HELPER  0
#define INSN_CALL_SUBPROG 1
#define INSN_CALL_KFUNC	  2

#define INSN_MAX_COUNT	  1000000
#define INSN_MAX_STACK	  512
#define INSN_MAX_FRAMES	  8

static inline u8 insn_class(const struct bpf_insn *insn)
{
	return insn->code & 0x07;
}

static inline u8 insn_op(const struct bpf_insn *insn)
{
	return insn->code & 0xf0;
}

static inline u8 insn_mode(const struct bpf_insn *insn)
{
	return insn->code & 0xe0;
}

static inline bool insn_uses_reg(const struct bpf_insn *insn)
{
	return (insn->code & 0x08) == BPF_X;
}

/* Bytes that a load, store or atomic accesses. */
static inline u32 insn_access_size(const struct bpf_insn *insn)
{
	switch (insn->code & 0x18) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

static inline bool insn_is_ld_imm64(const struct bpf_insn *insn)
{
	return insn->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static inline u64 insn_imm64(const struct bpf_insn *insn)
{
	return (u32)insn[0].imm | (u64)(u32)insn[1].imm << 32;
}

static inline bool insn_is_call_helper(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == INSN_CALL_HELPER;
}

static inline bool insn_is_tail_call(const struct bpf_insn *insn)
{
	return insn_is_call_helper(insn) && insn->imm == BPF_FUNC_tail_call;
}

static inline bool insn_is_call_subprog(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == INSN_CALL_SUBPROG;
}

#endif
