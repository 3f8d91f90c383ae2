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

static void divide_constant(struct codebuf *buf, const struct division *d, s32 divisor)
{
	if (divisor == 0) {
		set_zero(buf, d);
	} else if (divisor == -1 && d->is_signed) {
		set_minus_one(buf, d);
	} else {
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
