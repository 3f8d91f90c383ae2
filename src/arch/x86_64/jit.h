/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the x86-64 selector share.
 *
 * BPF register -> machine register is the kernel's mapping, so that helper and subprogram calls move nothing:
 * arguments are where the C ABI wants them. r9 to r11 are scratch within one instruction. r12 counts the tail calls of
 * this run in programs that make some: all their frames share it, and none but the entry (jit_tail.c) saves it.
 */
#ifndef INLAY_ARCH_X86_64_JIT_H
#define INLAY_ARCH_X86_64_JIT_H

#include <linux/bpf.h>

#include "arch/jit_unit.h"
#include "arch/x86_64/asm.h"

#define JIT_TEMP       X86_R11
#define JIT_TEMP2      X86_R10
#define JIT_TEMP3      X86_R9

#define JIT_TAIL_COUNT X86_R12

extern const u8 jit_reg[JIT_BLIND_REG + 1];

/* Undoes the prologue of sub: rsp is at the return address again. */
void jit_unwind(struct codebuf *buf, const struct jit_sub *sub);
/* Behind code that followed a jit_unwind: the frame is as in the body of sub again. */
void jit_note_frame(struct codebuf *buf, const struct jit_sub *sub);

/* In the body of sub: so many words have been pushed, for now. */
void jit_note_pushed(struct codebuf *buf, const struct jit_sub *sub, u32 words);

/* jit_blind.c: to = values[index], which is not in the code. Its size as well: what the instruction's code begins with. */
void jit_blind_load(struct codebuf *buf, const struct jit_unit *unit, u32 index, u8 to);
u32 jit_blind_size(const struct jit_unit *unit, u32 index);

/* Emits several instructions as one, if they are of a known pattern. Returns how many, or 0. */
u32 jit_fuse(struct codebuf *buf, const struct jit_unit *unit, u32 index);

/* Each emits one instruction; 0 or -EOPNOTSUPP. */
int jit_alu(struct codebuf *buf, const struct jit_unit *unit, const struct bpf_insn *insn);
int jit_divide(struct codebuf *buf, const struct bpf_insn *insn);
int jit_memory(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int jit_atomic(struct codebuf *buf, const struct bpf_insn *insn);
int jit_branch(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int jit_packet(struct codebuf *buf, const struct jit_unit *unit, u32 index);

/* A conditional jump over a move: a conditional move. 2, or 0: it is not that. */
u32 jit_branch_select(struct codebuf *buf, const struct jit_unit *unit, u32 index);
/* A conditional jump over an unconditional one, as one jump. 2, or 0: it is not that. */
u32 jit_branch_over(struct codebuf *buf, const struct jit_unit *unit, u32 index);

/* Leaves the subprogram, with what R0 holds, on a condition. start: buf->size where the instruction's code began. */
void jit_exit_if(struct codebuf *buf, const struct jit_unit *unit, u32 index, u32 start,
		 enum x86_cond cond);
void jit_swap_bytes(struct codebuf *buf, u8 reg, u32 bits);

/* jit_call.c: saves and restores BPF's argument registers and R0 as far as sub uses them, but for except. */
void jit_call_fault_load(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int jit_call(struct codebuf *buf, const struct jit_unit *unit, u32 index);

/* jit_in_place.c: a call marked JIT_IN_PLACE, and what it changes besides rax. */
void jit_in_place(struct codebuf *buf, const struct jit_unit *unit, u32 index);
u32 jit_in_place_clobbers(const struct jit_unit *unit, u32 index);
/* rel32 where target is in reach, else through rax. */
void jit_call_address(struct codebuf *buf, u64 target);

/* jit_tail.c. The entry is where C calls a callback; nothing for other subprograms. */
void jit_callback_entry(struct codebuf *buf, const struct jit_sub *sub);
u32 jit_callback_entry_size(const struct jit_sub *sub);
int jit_tail_call(struct codebuf *buf, const struct jit_unit *unit, u32 index);

#endif
