/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arithmetic of registers: everything of classes ALU and ALU64. 32-bit results are zero-extended by the machine.
 *
 * Machine instructions have three operands: the left one may be another register than the destination, which is how a move
 * in front of an instruction costs nothing (jit_fuse.c). Division needs no tests: x / 0 = 0 and MIN / -1 = MIN are the machine's
 * results too, and x - x / y * y is then what BPF says of the remainder.
 */
#include <errno.h>

#include "arch/aarch64/jit.h"
#include "format/insn.h"

struct operation {
	const struct bpf_insn *insn;
	u32 size;
	u8 to, left;
};

/* The immediate as the operation sees it. */
static u64 immediate(const struct operation *o)
{
	return o->size == 8 ? (u64)(s64)o->insn->imm : (u32)o->insn->imm;
}

/* The right operand in a register. */
static u8 right_of(struct codebuf *buf, const struct operation *o)
{
	if (insn_uses_reg(o->insn))
		return aarch64_reg[o->insn->src_reg];
	a64_mov_imm(buf, JIT_TEMP, immediate(o));
	return JIT_TEMP;
}

void aarch64_jit_add(struct codebuf *buf, u32 size, u8 to, u8 left, s64 value)
{
	u64 distance = value < 0 ? 0 - (u64)value : (u64)value;
	enum a64_op op = value < 0 ? A64_SUB : A64_ADD;

	if (a64_arith_fits(distance)) {
		a64_arith_imm(buf, size, op, to, left, (u32)distance);
		return;
	}
	if (distance < 1 << 24) {
		a64_arith_imm(buf, size, op, to, left, (u32)distance & 0xfff000);
		a64_arith_imm(buf, size, op, to, to, (u32)distance & 0xfff);
		return;
	}
	a64_mov_imm(buf, JIT_TEMP2, size == 8 ? (u64)value : (u32)value);
	a64_op(buf, size, A64_ADD, to, left, JIT_TEMP2);
}

static void add(struct codebuf *buf, const struct operation *o, bool subtract)
{
	s64 value = subtract ? -(s64)o->insn->imm : o->insn->imm;

	if (insn_uses_reg(o->insn))
		a64_op(buf, o->size, subtract ? A64_SUB : A64_ADD, o->to, o->left,
		       aarch64_reg[o->insn->src_reg]);
	else
		aarch64_jit_add(buf, o->size, o->to, o->left, value);
}

static void logic(struct codebuf *buf, const struct operation *o, enum a64_op op)
{
	u64 value = immediate(o);
	/* An AND that clears the upper half either way has the immediates of both sizes. */
	u32 size = op == A64_AND && !(value >> 32) ? 4 : o->size;

	if (!insn_uses_reg(o->insn) && a64_logical_fits(size, value))
		a64_logical_imm(buf, size, op, o->to, o->left, value);
	else if (!insn_uses_reg(o->insn) && op == A64_EOR && o->insn->imm == -1)
		a64_op(buf, size, A64_ORN, o->to, A64_ZR, o->left);
	else
		a64_op(buf, o->size, op, o->to, o->left, right_of(buf, o));
}

/* The power of two that the immediate is, or -1. */
static int log2_of(const struct operation *o)
{
	u64 value = immediate(o);

	if (insn_uses_reg(o->insn) || !value || value & (value - 1))
		return -1;
	return __builtin_ctzll(value);
}

static void multiply(struct codebuf *buf, const struct operation *o)
{
	int log2 = log2_of(o);

	if (log2 >= 0)
		a64_shift_imm(buf, o->size, A64_LSL, o->to, o->left, (u32)log2);
	else
		a64_op(buf, o->size, A64_MUL, o->to, o->left, right_of(buf, o));
}

static void divide(struct codebuf *buf, const struct operation *o)
{
	int log2 = log2_of(o);

	if (o->insn->off == 1)
		a64_op(buf, o->size, A64_SDIV, o->to, o->left, right_of(buf, o));
	else if (log2 >= 0)
		a64_shift_imm(buf, o->size, A64_LSR, o->to, o->left, (u32)log2);
	else
		a64_op(buf, o->size, A64_UDIV, o->to, o->left, right_of(buf, o));
}

static void modulo(struct codebuf *buf, const struct operation *o)
{
	int log2 = log2_of(o);
	u8 right;

	if (o->insn->off != 1 && log2 > 0) {
		a64_logical_imm(buf, o->size, A64_AND, o->to, o->left, immediate(o) - 1);
		return;
	}
	if (log2 == 0) {
		a64_mov_imm(buf, o->to, 0);
		return;
	}
	right = right_of(buf, o);
	a64_op(buf, o->size, o->insn->off == 1 ? A64_SDIV : A64_UDIV, JIT_TEMP2, o->left, right);
	a64_msub(buf, o->size, o->to, JIT_TEMP2, right, o->left);
}

/* The machine takes the count modulo the operand's bits, as BPF does. */
static void shift(struct codebuf *buf, const struct operation *o, enum a64_op op)
{
	if (insn_uses_reg(o->insn))
		a64_op(buf, o->size, op, o->to, o->left, aarch64_reg[o->insn->src_reg]);
	else
		a64_shift_imm(buf, o->size, op, o->to, o->left,
			      (u32)o->insn->imm & (o->size * 8 - 1));
}

/* off: 0 or, sign-extending from that many bits, 8, 16, 32. */
static int move(struct codebuf *buf, const struct operation *o)
{
	u8 from = aarch64_reg[o->insn->src_reg];
	s16 off = o->insn->off;

	if (!insn_uses_reg(o->insn))
		a64_mov_imm(buf, o->to, immediate(o));
	else if (off == 0)
		a64_mov(buf, o->size, o->to, from);
	else if (off == 8 || off == 16 || off == 32)
		a64_extend(buf, (u32)off / 8, o->size, true, o->to, from);
	else
		return -EOPNOTSUPP;
	return 0;
}

static int endian(struct codebuf *buf, const struct operation *o)
{
	u32 bits = (u32)o->insn->imm;

	if (bits != 16 && bits != 32 && bits != 64)
		return -EOPNOTSUPP;
	/* To little endian is a truncation here; ALU64's form swaps without condition. */
	if (o->size == 8 || insn_uses_reg(o->insn))
		a64_swap_bytes(buf, o->to, o->left, bits);
	else if (bits != 64)
		a64_extend(buf, bits / 8, 4, false, o->to, o->left);
	else
		a64_mov(buf, 8, o->to, o->left);
	return 0;
}

int aarch64_jit_alu_of(struct codebuf *buf, const struct bpf_insn *insn, u8 left)
{
	const struct operation o = {.insn = insn,
				    .size = insn_class(insn) == BPF_ALU64 ? 8 : 4,
				    .to = aarch64_reg[insn->dst_reg],
				    .left = left};

	switch (insn_op(insn)) {
	case BPF_ADD:
	case BPF_SUB:
		add(buf, &o, insn_op(insn) == BPF_SUB);
		return 0;
	case BPF_AND:
		logic(buf, &o, A64_AND);
		return 0;
	case BPF_OR:
		logic(buf, &o, A64_ORR);
		return 0;
	case BPF_XOR:
		logic(buf, &o, A64_EOR);
		return 0;
	case BPF_MUL:
		multiply(buf, &o);
		return 0;
	case BPF_DIV:
		divide(buf, &o);
		return 0;
	case BPF_MOD:
		modulo(buf, &o);
		return 0;
	case BPF_LSH:
		shift(buf, &o, A64_LSL);
		return 0;
	case BPF_RSH:
		shift(buf, &o, A64_LSR);
		return 0;
	case BPF_ARSH:
		shift(buf, &o, A64_ASR);
		return 0;
	case BPF_NEG:
		a64_op(buf, o.size, A64_SUB, o.to, A64_ZR, o.left);
		return 0;
	case BPF_MOV:
		return move(buf, &o);
	case BPF_END:
		return endian(buf, &o);
	}
	return -EOPNOTSUPP;
}

int aarch64_jit_alu(struct codebuf *buf, const struct bpf_insn *insn)
{
	return aarch64_jit_alu_of(buf, insn, aarch64_reg[insn->dst_reg]);
}
