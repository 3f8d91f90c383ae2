/* SPDX-License-Identifier: BSD-2-Clause */
/* Jumps within a subprogram, in the shortest form that the offsets of the pass before allow. */
#include <errno.h>

#include "arch/x86_64/jit.h"
#include "format/insn.h"

struct branch {
	const struct jit_unit *unit;
	u32 index; /* of the instruction that branches */
	u32 start; /* buf->size where the instruction's code began */
};

/* A blinded operand has been loaded. */
static struct branch begin_branch(const struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	return (struct branch){
		.unit = unit, .index = index, .start = buf->size - jit_blind_size(unit, index)};
}

/* Distance from the end of a branch of length bytes that is emitted now, in the coordinates of the pass before. */
static s64 distance(const struct codebuf *buf, const struct branch *branch, u32 to, u32 length)
{
	u32 end = branch->unit->offsets[branch->index] + (buf->size - branch->start) + length;

	return (s64)to - (s64)end;
}

static void jump(struct codebuf *buf, const struct branch *branch, u32 to)
{
	s64 near;

	if (branch->unit->far) {
		asm_byte(buf, 0xe9);
		codebuf_put(buf, 0, 4);
		return;
	}
	near = distance(buf, branch, to, 2);
	if (near == (s8)near) {
		asm_byte(buf, 0xeb);
		asm_byte(buf, (u8)near);
	} else {
		asm_byte(buf, 0xe9);
		codebuf_put(buf, (u32)distance(buf, branch, to, 4), 4);
	}
}

static void jump_if(struct codebuf *buf, const struct branch *branch, enum x86_cond cond, u32 to)
{
	s64 near = branch->unit->far ? INT32_MAX : distance(buf, branch, to, 2);

	if (near == (s8)near) {
		asm_byte(buf, (u8)(0x70 | cond));
		asm_byte(buf, (u8)near);
	} else {
		asm_byte(buf, 0x0f);
		asm_byte(buf, (u8)(0x80 | cond));
		codebuf_put(buf, (u32)(branch->unit->far ? 0 : distance(buf, branch, to, 4)), 4);
	}
}

/* The condition that the instruction tests after its compare, or -1. */
static int condition(u8 op)
{
	switch (op) {
	case BPF_JEQ:
		return X86_CC_E;
	case BPF_JNE:
	case BPF_JSET:
		return X86_CC_NE;
	case BPF_JGT:
		return X86_CC_A;
	case BPF_JGE:
		return X86_CC_AE;
	case BPF_JLT:
		return X86_CC_B;
	case BPF_JLE:
		return X86_CC_BE;
	case BPF_JSGT:
		return X86_CC_G;
	case BPF_JSGE:
		return X86_CC_GE;
	case BPF_JSLT:
		return X86_CC_L;
	case BPF_JSLE:
		return X86_CC_LE;
	}
	return -1;
}

static void compare(struct codebuf *buf, const struct bpf_insn *insn)
{
	u32 size = insn_class(insn) == BPF_JMP ? 8 : 4;
	u8 left = jit_reg[insn->dst_reg], right = jit_reg[insn->src_reg];

	if (insn_op(insn) == BPF_JSET) {
		if (insn_uses_reg(insn))
			asm_test(buf, size, left, right);
		else
			asm_test_imm(buf, size, left, insn->imm);
	} else if (insn_uses_reg(insn)) {
		asm_alu(buf, size, ASM_CMP, left, right);
	} else if (insn->imm == 0) {
		asm_test(buf, size, left, left); /* sets every flag as a compare with 0 does */
	} else {
		asm_alu_imm(buf, size, ASM_CMP, left, insn->imm);
	}
}

void jit_exit_if(struct codebuf *buf, const struct jit_unit *unit, u32 index, u32 start,
		 enum x86_cond cond)
{
	struct branch branch = {.unit = unit, .index = index, .start = start};

	jump_if(buf, &branch, cond, jit_unit_sub(unit, index)->epilogue);
}

u32 jit_branch_over(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	struct branch branch = begin_branch(buf, unit, index);
	int cond = condition(insn_op(insn));
	s64 target;

	if (cond < 0 || !jit_unit_jumps_over_jump(unit, index, &target))
		return 0;
	compare(buf, insn);
	jump_if(buf, &branch, (enum x86_cond)(cond ^ 1), unit->offsets[target]);
	return 2;
}

/* Compilers write a value chosen by a condition in this way; on this machine they would write a conditional move. */
u32 jit_branch_select(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index], *move = insn + 1;
	int cond = condition(insn_op(insn));
	bool wide = insn_class(move) == BPF_ALU64;

	if (cond < 0 || insn->off != 1 || index + 2 >= jit_unit_sub(unit, index)->end ||
	    unit->targets[index + 1] || (!wide && insn_class(move) != BPF_ALU) ||
	    insn_op(move) != BPF_MOV || move->off)
		return 0;
	/* A conditional move of 32 bits would clear the upper half in any case. */
	if (!insn_uses_reg(move))
		asm_mov_imm(buf, JIT_TEMP, wide ? (u64)(s64)move->imm : (u32)move->imm);
	else if (!wide)
		asm_mov(buf, 4, JIT_TEMP, jit_reg[move->src_reg]);
	compare(buf, insn);
	asm_reg(buf, 8, 0x0f40 | ((u32)cond ^ 1), jit_reg[move->dst_reg],
		insn_uses_reg(move) && wide ? jit_reg[move->src_reg] : JIT_TEMP);
	return 2;
}

int jit_branch(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	struct branch branch = begin_branch(buf, unit, index);
	u8 op = insn_op(insn);
	s64 target = jit_unit_target(unit, index);

	if (op == BPF_EXIT) {
		const struct jit_sub *sub = jit_unit_sub(unit, index);

		if (index + 1 != sub->end) /* else it falls into the epilogue */
			jump(buf, &branch, sub->epilogue);
		return 0;
	}
	if (target < 0 || target >= unit->insn_cnt)
		return -EINVAL;
	if (op == BPF_JA) {
		if (target != index + 1)
			jump(buf, &branch, unit->offsets[target]);
		return 0;
	}
	if (insn->code == (BPF_JMP | INSN_JCOND)) {
		/* 64 bits: it stays negative. */
		asm_mem(buf, 8, 0x83, ASM_SUB, X86_RBP, -(s32)jit_unit_sub(unit, index)->may_goto);
		asm_byte(buf, 1);
		jump_if(buf, &branch, X86_CC_S, unit->offsets[target]);
		return 0;
	}
	if (condition(op) < 0)
		return -EOPNOTSUPP;
	compare(buf, insn);
	jump_if(buf, &branch, (enum x86_cond)condition(op), unit->offsets[target]);
	return 0;
}
