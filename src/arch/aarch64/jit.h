/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the arm64 selector share.
 *
 * BPF register -> machine register: R1 to R5 are where the procedure call standard wants arguments, so that calls move nothing
 * but their result. R0 is x7, since x0 is R1: what C calls leaves its result in both. R10 is the frame pointer. x9 to x12 are
 * scratch within one instruction. x23 counts the tail calls of this run in programs that make some: all their frames share it,
 * and none but the entry (jit_tail.c) saves it.
 */
#ifndef INLAY_ARCH_AARCH64_JIT_H
#define INLAY_ARCH_AARCH64_JIT_H

#include <linux/bpf.h>

#include "arch/aarch64/a64.h"
#include "arch/jit_unit.h"

#define JIT_TEMP       A64_X9
#define JIT_TEMP2      A64_X10
#define JIT_TEMP3      A64_X11
#define JIT_TEMP4      A64_X12
#define JIT_R0	       A64_X7
#define JIT_CONTEXT    A64_X19 /* of packet loads: R6 */
#define JIT_TAIL_COUNT A64_X23

extern const u8 aarch64_reg[BPF_REG_10 + 1];

/* Bytes between sp and the frame pointer in the body of sub. */
s32 aarch64_jit_frame_size(const struct jit_sub *sub);
/* Undoes the prologue of sub: sp and the link register are the caller's again. */
void aarch64_jit_unwind(struct codebuf *buf, const struct jit_sub *sub);

/* Each emits one instruction; 0 or -EOPNOTSUPP. */
int aarch64_jit_alu(struct codebuf *buf, const struct bpf_insn *insn);
int aarch64_jit_memory(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int aarch64_jit_atomic(struct codebuf *buf, const struct jit_unit *unit,
		       const struct bpf_insn *insn);
int aarch64_jit_branch(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int aarch64_jit_packet(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int aarch64_jit_call(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int aarch64_jit_tail_call(struct codebuf *buf, const struct jit_unit *unit, u32 index);

/* jit_tail.c: where C calls a callback; nothing for other subprograms. */
void aarch64_jit_callback_entry(struct codebuf *buf, const struct jit_sub *sub);
u32 aarch64_jit_callback_entry_size(const struct jit_sub *sub);

/* jit_alu.c: the destination becomes `left op operand`, where the instruction says `destination op operand`. */
int aarch64_jit_alu_of(struct codebuf *buf, const struct bpf_insn *insn, u8 left);
/* to = left + value, through JIT_TEMP2 where no instruction has the value. to is not JIT_TEMP2. */
void aarch64_jit_add(struct codebuf *buf, u32 size, u8 to, u8 left, s64 value);

/* jit_fuse.c: emits several instructions as fewer, if they are of a known pattern. Returns how many, or 0. */
u32 aarch64_jit_fuse(struct codebuf *buf, const struct jit_unit *unit, u32 index);

/* jit_branch.c: a conditional jump over an unconditional one, as one jump. 2, or 0: it is not that. */
u32 aarch64_jit_branch_over(struct codebuf *buf, const struct jit_unit *unit, u32 index);
/* Leaves the subprogram, with what R0 holds, on a condition. start: buf->size where the instruction's code began. */
void aarch64_jit_exit_if(struct codebuf *buf, const struct jit_unit *unit, u32 index, u32 start,
			 enum a64_cond cond);

/* jit_call.c: the destination becomes what fault_load() answers; every other register is kept. */
void aarch64_jit_fault_load(struct codebuf *buf, const struct jit_unit *unit, u32 index);

#endif
