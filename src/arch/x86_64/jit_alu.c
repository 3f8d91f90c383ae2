/* SPDX-License-Identifier: BSD-2-Clause */
/* Arithmetic of registers: everything of classes ALU and ALU64. 32-bit results are zero-extended. */
#include <errno.h>

#include "arch/x86_64/jit.h"
#include "format/insn.h"

static u32 operand_size(const struct bpf_insn *insn)
{
	return insn_class(insn) == BPF_ALU64 ? 8 : 4;
}

static void simple(struct codebuf *buf, const struct bpf_insn *insn, enum asm_alu op)
{
	u8 to = jit_reg[insn->dst_reg];

	if (insn_uses_reg(insn))
		asm_alu(buf, operand_size(insn), op, to, jit_reg[insn->src_reg]);
	else if (op == ASM_AND && (insn->imm == 0xff || insn->imm == 0xffff))
		asm_extend(buf, insn->imm == 0xff ? 1 : 2, 4, false, to, to);
	else if (op == ASM_AND && insn->imm >= 0) /* clears the upper half either way */
		asm_alu_imm(buf, 4, op, to, insn->imm);
	else
		asm_alu_imm(buf, operand_size(insn), op, to, insn->imm);
}

static void multiply(struct codebuf *buf, const struct bpf_insn *insn)
{
	u8 to = jit_reg[insn->dst_reg];

	if (insn_uses_reg(insn)) {
		asm_reg(buf, operand_size(insn), 0x0faf, to, jit_reg[insn->src_reg]);
	} else {
		asm_reg(buf, operand_size(insn), 0x69, to, to);
		codebuf_put(buf, (u32)insn->imm, 4);
	}
}

/* off: 0 or, sign-extending from that many bits, 8, 16, 32. */
static int move(struct codebuf *buf, const struct bpf_insn *insn)
{
	u32 size = operand_size(insn);
	u8 to = jit_reg[insn->dst_reg], from = jit_reg[insn->src_reg];

	if (!insn_uses_reg(insn)) {
		asm_mov_imm(buf, to, size == 8 ? (u64)(s64)insn->imm : (u32)insn->imm);
		return 0;
	}
	if (insn->off == 0) {
		asm_mov(buf, size, to, from);
		return 0;
	}
	if (insn->off != 8 && insn->off != 16 && insn->off != 32)
		return -EOPNOTSUPP;
	asm_extend(buf, (u32)insn->off / 8, size, true, to, from);
	return 0;
}

/* The processor masks the count by the operand's size, as BPF does. A variable count must be in cl without BMI2. */
static void shift(struct codebuf *buf, const struct jit_unit *unit, const struct bpf_insn *insn,
		  enum asm_shift op)
{
	u32 size = operand_size(insn);
	u8 to = jit_reg[insn->dst_reg], count = jit_reg[insn->src_reg];

	if (!insn_uses_reg(insn)) {
		asm_shift_imm(buf, size, op, to, (u8)(insn->imm & (size == 8 ? 63 : 31)));
	} else if (unit->features & JIT_FEATURE_BMI2) {
		asm_shift_bmi2(buf, size, op, to, to, count);
	} else if (count == X86_RCX) {
		asm_shift_cl(buf, size, op, to);
	} else if (to == X86_RCX) {
		asm_mov(buf, size, JIT_TEMP, X86_RCX);
		asm_mov(buf, 4, X86_RCX, count);
		asm_shift_cl(buf, size, op, JIT_TEMP);
		asm_mov(buf, size, X86_RCX, JIT_TEMP);
	} else {
		asm_mov(buf, 8, JIT_TEMP, X86_RCX);
		asm_mov(buf, 4, X86_RCX, count);
		asm_shift_cl(buf, size, op, to);
		asm_mov(buf, 8, X86_RCX, JIT_TEMP);
	}
}

void jit_swap_bytes(struct codebuf *buf, u8 reg, u32 bits)
{
	if (bits == 16) {
		asm_reg(buf, 2, 0xc1, ASM_ROR, reg);
		asm_byte(buf, 8);
		asm_extend(buf, 2, 4, false, reg, reg);
	} else {
		u32 size = bits == 64 ? 8 : 4;

		/* bswap has its register in the opcode, not in ModRM. */
		if (size == 8 || reg >= 8)
			asm_byte(buf, (u8)(0x40 | (size == 8 ? 8 : 0) | (reg >= 8)));
		asm_byte(buf, 0x0f);
		asm_byte(buf, (u8)(0xc8 | (reg & 7)));
	}
}

static int endian(struct codebuf *buf, const struct bpf_insn *insn)
{
	u8 reg = jit_reg[insn->dst_reg];

	if (insn->imm != 16 && insn->imm != 32 && insn->imm != 64)
		return -EOPNOTSUPP;
	/* To little endian is a truncation here; ALU64's form swaps without condition. */
	if (insn_class(insn) == BPF_ALU && !insn_uses_reg(insn)) {
		if (insn->imm != 64)
			asm_extend(buf, (u32)insn->imm / 8, 4, false, reg, reg);
	} else {
		jit_swap_bytes(buf, reg, (u32)insn->imm);
	}
	return 0;
}

int jit_alu(struct codebuf *buf, const struct jit_unit *unit, const struct bpf_insn *insn)
{
	switch (insn_op(insn)) {
	case BPF_ADD:
		simple(buf, insn, ASM_ADD);
		return 0;
	case BPF_SUB:
		simple(buf, insn, ASM_SUB);
		return 0;
	case BPF_AND:
		simple(buf, insn, ASM_AND);
		return 0;
	case BPF_OR:
		simple(buf, insn, ASM_OR);
		return 0;
	case BPF_XOR:
		simple(buf, insn, ASM_XOR);
		return 0;
	case BPF_MUL:
		multiply(buf, insn);
		return 0;
	case BPF_DIV:
	case BPF_MOD:
		return jit_divide(buf, insn);
	case BPF_LSH:
		shift(buf, unit, insn, ASM_SHL);
		return 0;
	case BPF_RSH:
		shift(buf, unit, insn, ASM_SHR);
		return 0;
	case BPF_ARSH:
		shift(buf, unit, insn, ASM_SAR);
		return 0;
	case BPF_NEG:
		asm_unary(buf, operand_size(insn), ASM_NEG, jit_reg[insn->dst_reg]);
		return 0;
	case BPF_MOV:
		return move(buf, insn);
	case BPF_END:
		return endian(buf, insn);
	}
	return -EOPNOTSUPP;
}
