/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Division without traps. BPF defines what the processor faults on:
 * x / 0 = 0, x % 0 = x, and for the signed forms (off == 1) MIN / -1 = MIN, MIN % -1 = 0.
 */
#include "arch/x86_64/jit.h"
#include "format/insn.h"

struct division {
	u32 size;
	u8 to;
	bool is_signed;
	bool modulo;
};

static void set_zero(struct codebuf *buf, const struct division *d)
{
	if (d->modulo)
		asm_mov(buf, d->size, d->to, d->to); /* x % 0 = x; the 32-bit form zero-extends */
	else
		asm_mov_imm(buf, d->to, 0);
}

static void set_minus_one(struct codebuf *buf, const struct division *d)
{
	if (d->modulo)
		asm_mov_imm(buf, d->to, 0);
	else
		asm_unary(buf, d->size, ASM_NEG, d->to);
}

/* The divisor is in JIT_TEMP and is neither 0 nor, when signed, -1. */
static void divide(struct codebuf *buf, const struct division *d)
{
	if (d->to != X86_RAX)
		asm_mov(buf, 8, JIT_TEMP2, X86_RAX);
	if (d->to != X86_RDX)
		asm_mov(buf, 8, JIT_TEMP3, X86_RDX);
	asm_mov(buf, 8, X86_RAX, d->to);
	if (d->is_signed) {
		if (d->size == 8)
			asm_byte(buf, 0x48);
		asm_byte(buf, 0x99); /* cdq, cqo */
		asm_unary(buf, d->size, ASM_IDIV, JIT_TEMP);
	} else {
		asm_mov_imm(buf, X86_RDX, 0);
		asm_unary(buf, d->size, ASM_DIV, JIT_TEMP);
	}
	asm_mov(buf, 8, d->to, d->modulo ? X86_RDX : X86_RAX);
	if (d->to != X86_RAX)
		asm_mov(buf, 8, X86_RAX, JIT_TEMP2);
	if (d->to != X86_RDX)
		asm_mov(buf, 8, X86_RDX, JIT_TEMP3);
}

/* The power of two that the divisor is, or -1. */
static int log2_of(s32 divisor)
{
	return divisor > 0 && !(divisor & (divisor - 1)) ? __builtin_ctz((u32)divisor) : -1;
}

static bool divide_by_shift(struct codebuf *buf, const struct division *d, s32 divisor)
{
	int log2 = log2_of(divisor);

	if (log2 < 0 || d->is_signed)
		return false;
	if (d->modulo)
		asm_alu_imm(buf, 4, ASM_AND, d->to, divisor - 1);
	else if (log2)
		asm_shift_imm(buf, d->size, ASM_SHR, d->to, (u8)log2);
	else
		asm_mov(buf, d->size, d->to, d->to); /* by 1 */
	return true;
}

/*
 * x / n = x * m >> (32 + s) for every x of 32 bits, if m = ceil(2^(32 + s) / n) has 32 bits and exceeds the exact quotient by
 * at most 2^s / n (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994).
 */
static bool divide_by_multiplying(struct codebuf *buf, const struct division *d, s32 divisor)
{
	u32 n = (u32)divisor, s;
	u64 m;

	if (d->is_signed || d->size != 4 || n < 3)
		return false;
	s = 31 - (u32)__builtin_clz(n);
	m = ((1ull << (32 + s)) + n - 1) / n;
	if (m > UINT32_MAX || m * n - (1ull << (32 + s)) > 1ull << s)
		return false;
	asm_mov(buf, 4, JIT_TEMP, d->to);
	asm_mov_imm(buf, JIT_TEMP2, m);
	asm_reg(buf, 8, 0x0faf, JIT_TEMP, JIT_TEMP2);
	asm_shift_imm(buf, 8, ASM_SHR, JIT_TEMP, (u8)(32 + s));
	if (d->modulo) {
		asm_reg(buf, 4, 0x69, JIT_TEMP, JIT_TEMP);
		codebuf_put(buf, n, 4);
		asm_alu(buf, 4, ASM_SUB, d->to, JIT_TEMP);
	} else {
		asm_mov(buf, 4, d->to, JIT_TEMP);
	}
	return true;
}

static void divide_constant(struct codebuf *buf, const struct division *d, s32 divisor)
{
	if (divisor == 0) {
		set_zero(buf, d);
	} else if (divisor == -1 && d->is_signed) {
		set_minus_one(buf, d);
	} else if (!divide_by_shift(buf, d, divisor) && !divide_by_multiplying(buf, d, divisor)) {
		asm_mov_imm(buf, JIT_TEMP, d->size == 8 ? (u64)(s64)divisor : (u32)divisor);
		divide(buf, d);
	}
}

int jit_divide(struct codebuf *buf, const struct bpf_insn *insn)
{
	struct division d = {
		.size = insn_class(insn) == BPF_ALU64 ? 8 : 4,
		.to = jit_reg[insn->dst_reg],
		.is_signed = insn->off == 1,
		.modulo = insn_op(insn) == BPF_MOD,
	};
	u32 not_zero, end_of_zero, end_of_minus_one = 0;

	if (!insn_uses_reg(insn)) {
		divide_constant(buf, &d, insn->imm);
		return 0;
	}
	asm_mov(buf, d.size, JIT_TEMP, jit_reg[insn->src_reg]);
	asm_test(buf, d.size, JIT_TEMP, JIT_TEMP);
	not_zero = asm_skip_if(buf, X86_CC_NE);
	set_zero(buf, &d);
	end_of_zero = asm_skip(buf);
	asm_land(buf, not_zero);
	if (d.is_signed) {
		u32 not_minus_one;

		asm_alu_imm(buf, d.size, ASM_CMP, JIT_TEMP, -1);
		not_minus_one = asm_skip_if(buf, X86_CC_NE);
		set_minus_one(buf, &d);
		end_of_minus_one = asm_skip(buf);
		asm_land(buf, not_minus_one);
	}
	divide(buf, &d);
	asm_land(buf, end_of_zero);
	if (d.is_signed)
		asm_land(buf, end_of_minus_one);
	return 0;
}
