/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encoders for the arm64 instructions that generated code uses.
 *
 * Destination first. size is the operand's in bytes: 4 or 8, and in loads, stores and atomics 1 to 8; a result of 4 bytes
 * is zero-extended. Branch targets are addresses as executed; one out of reach sets buf->error to -ERANGE.
 * Source of the encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), part C.
 */
#ifndef INLAY_ARCH_AARCH64_A64_H
#define INLAY_ARCH_AARCH64_A64_H

#include "arch/aarch64/regs.h"
#include "base/codebuf.h"
#include "base/types.h"

#define A64_NOP 0xd503201fu

/* Three registers: the word without registers and size. */
enum a64_op {
	A64_AND = 0x0a000000,
	A64_BIC = 0x0a200000,
	A64_ADD = 0x0b000000,
	A64_LSL = 0x1ac02000,
	A64_LSR = 0x1ac02400,
	A64_ASR = 0x1ac02800,
	A64_UDIV = 0x1ac00800,
	A64_SDIV = 0x1ac00c00,
	A64_MUL = 0x1b007c00,
	A64_ORR = 0x2a000000,
	A64_ORN = 0x2a200000,
	A64_ADDS = 0x2b000000,
	A64_EOR = 0x4a000000,
	A64_SUB = 0x4b000000,
	A64_ANDS = 0x6a000000,
	A64_SUBS = 0x6b000000,
};

static inline void a64_word(struct codebuf *buf, u32 word)
{
	codebuf_put(buf, word, 4);
}

void a64_op(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u8 right);
/* right << amount; of the ADD, SUB and logical families. */
void a64_op_shifted(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u8 right,
		    u32 amount);
void a64_msub(struct codebuf *buf, u32 size, u8 to, u8 left, u8 right, u8 from);
void a64_mov(struct codebuf *buf, u32 size, u8 to, u8 from); /* 8 to itself emits nothing */

/* Is there one instruction of the ADD and SUB family with this immediate? */
bool a64_arith_fits(u64 value);
/* op: ADD, ADDS, SUB, SUBS; the value fits. Register 31 is sp (of the flag-setting forms' destination: zr). */
void a64_arith_imm(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u32 value);
/* Is there one instruction of the logical family with this immediate (AND, ORR, EOR, ANDS), of that operand size? */
bool a64_logical_fits(u32 size, u64 value);
/* The value fits. Destination 31 is sp (of ANDS: zr). */
void a64_logical_imm(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u64 value);
/* The shortest sequence of MOVZ, MOVN, MOVK or ORR; changes no flags. */
void a64_mov_imm(struct codebuf *buf, u8 to, u64 value);

/* Bits imms down to 0 of from, rotated right by immr: see UBFM and SBFM. */
void a64_bitfield(struct codebuf *buf, u32 size, bool is_signed, u8 to, u8 from, u32 immr,
		  u32 imms);
/* Left shift by LSL, right shift by LSR and ASR; count is less than the operand's bits. */
void a64_shift_imm(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 from, u32 count);
/* Of from_size bytes, to size bytes. */
void a64_extend(struct codebuf *buf, u32 from_size, u32 size, bool is_signed, u8 to, u8 from);
/* Reverses the low bits / 8 bytes; the others become 0. */
void a64_swap_bytes(struct codebuf *buf, u8 to, u8 from, u32 bits);

enum a64_access {
	A64_STORE,
	A64_LOAD,
	A64_LOAD_SIGNED, /* to 8 bytes */
};

/* Is there one load or store with that offset? */
bool a64_offset_fits(u32 size, s64 offset);
void a64_access(struct codebuf *buf, enum a64_access kind, u32 size, u8 reg, u8 base, s32 offset);
void a64_access_indexed(struct codebuf *buf, enum a64_access kind, u32 size, u8 reg, u8 base,
			u8 index);

/* Two registers of 8 bytes. PUSH: base += offset, then store; POP: load, then base += offset. */
enum a64_pair {
	A64_PAIR_STORE = 0xa9000000,
	A64_PAIR_LOAD = 0xa9400000,
	A64_PAIR_PUSH = 0xa9800000,
	A64_PAIR_POP = 0xa8c00000,
};

/* offset: a multiple of 8 from -512 to 504. */
void a64_pair(struct codebuf *buf, enum a64_pair kind, u8 first, u8 second, u8 base, s32 offset);

/* Exclusive and ordered accesses: at [base]. */
enum a64_exclusive {
	A64_LDXR = 0x085f7c00,
	A64_LDAR = 0x08dffc00,
	A64_STLR = 0x089ffc00,
};

void a64_exclusive(struct codebuf *buf, enum a64_exclusive kind, u32 size, u8 reg, u8 base);
/* status is none of the others. */
void a64_stlxr(struct codebuf *buf, u32 size, u8 status, u8 reg, u8 base);
void a64_dmb(struct codebuf *buf); /* inner shareable, all accesses */

/* FEAT_LSE; with a result, of acquire and release order. */
enum a64_lse {
	A64_LDADD = 0x38200000,
	A64_LDCLR = 0x38201000,
	A64_LDEOR = 0x38202000,
	A64_LDSET = 0x38203000,
	A64_SWP = 0x38208000,
};

/* old = [base]; [base] op= operand. ordered: acquire and release. */
void a64_lse(struct codebuf *buf, enum a64_lse op, u32 size, bool ordered, u8 operand, u8 old,
	     u8 base);
/* Stores desired where [base] is what compare holds; compare becomes what was there. Acquire and release. */
void a64_casal(struct codebuf *buf, u32 size, u8 compare, u8 desired, u8 base);

/*
 * Conditional branches as words without a distance, so that whoever places them can turn them around and can tell how far they
 * reach.
 */
static inline u32 a64_branch_if(enum a64_cond cond)
{
	return 0x54000000u | cond;
}

/* CBZ or, with nonzero, CBNZ. */
static inline u32 a64_branch_zero(u32 size, u8 reg, bool nonzero)
{
	return (size == 8 ? 1u << 31 : 0) | (nonzero ? 0x35000000u : 0x34000000u) | reg;
}

/* TBZ or, with set, TBNZ. */
static inline u32 a64_branch_bit(u8 reg, u32 bit, bool set)
{
	return (bit & 32) << 26 | (bit & 31) << 19 | (set ? 0x37000000u : 0x36000000u) | reg;
}

u32 a64_branch_inverted(u32 word);
/* Bytes that the branch reaches forward, less one word; one more backward. */
s64 a64_branch_reach(u32 word);
/* distance: from the instruction itself, a multiple of 4 within reach. */
void a64_branch(struct codebuf *buf, u32 word, s64 distance);

/* How far B and BL reach. */
#define A64_JUMP_REACH (128ll << 20)

void a64_jump(struct codebuf *buf, u64 target);
void a64_call(struct codebuf *buf, u64 target);
/* Can a B or BL at buf's position reach target? */
bool a64_reaches(const struct codebuf *buf, u64 target);
void a64_jump_reg(struct codebuf *buf, u8 reg);
void a64_call_reg(struct codebuf *buf, u8 reg);
void a64_ret(struct codebuf *buf);
/* to = target, which lies within 4 GiB. near: within 1 MiB too. */
void a64_address(struct codebuf *buf, u8 to, u64 target, bool near);

/* Forward branches: begin returns a mark, land makes the branch go to the current position. Less than 1 MiB between. */
u32 a64_skip(struct codebuf *buf, u32 word);
void a64_land(struct codebuf *buf, u32 mark);

#endif
