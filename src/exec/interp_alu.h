/* SPDX-License-Identifier: BSD-2-Clause */
/* The interpreter's arithmetic: pure functions of operands, and atomics. Private to exec/. Source: RFC 9669. */
#ifndef INLAY_EXEC_INTERP_ALU_H
#define INLAY_EXEC_INTERP_ALU_H

#include <linux/bpf.h>

#include "base/types.h"

static inline u64 interp_sign_extend(u64 value, u32 bits)
{
	return (u64)((s64)(value << (64 - bits)) >> (64 - bits));
}

u64 interp_alu64(const struct bpf_insn *insn, u64 left, u64 right);
u32 interp_alu32(const struct bpf_insn *insn, u32 left, u32 right);
u64 interp_endian(const struct bpf_insn *insn, u64 value);
bool interp_compare(u8 op, u64 left, u64 right);

/* operation: imm of the instruction. operand is replaced by the old value where it fetches; r0 by cmpxchg. */
void interp_atomic64(s32 operation, u64 *at, u64 *operand, u64 *r0);
void interp_atomic32(s32 operation, u32 *at, u64 *operand, u64 *r0);
u64 interp_load_acquire(u64 address, u32 size);
void interp_store_release(u64 address, u32 size, u64 value);

#endif
