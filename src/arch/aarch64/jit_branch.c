/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jumps within a subprogram. A conditional branch reaches 1 MiB, one that tests a bit 32 KiB; beyond that, it turns around and
 * skips an unconditional one, which reaches 128 MiB.
 */
#include <errno.h>

#include "arch/aarch64/jit.h"
#include "format/insn.h"

struct branch {
	const struct jit_unit *unit;
	u32 index; /* of the instruction that branches */
	u32 start; /* buf->size where the instruction's code began */
};

/* From a branch that is emitted now, in the coordinates of the pass before. */
static s64 distance(const struct codebuf *buf, const struct branch *branch, u32 to)
{
	return (s64)to - (branch->unit->offsets[branch->index] + (buf->size - branch->start));
}

static void jump(struct codebuf *buf, const struct branch *branch, u32 to)
{
	s64 far = branch->unit->far ? 0 : distance(buf, branch, to);

	a64_jump(buf, codebuf_pc(buf) + (u64)far);
}

static void jump_if(struct codebuf *buf, const struct branch *branch, u32 word, u32 to)
{
	s64 reach = a64_branch_reach(word), far = distance(buf, branch, to);

	if (!branch->unit->far && far <= reach && far >= -reach) {
		a64_branch(buf, word, far);
		return;
	}
	a64_branch(buf, a64_branch_inverted(word), 8);
	jump(buf, branch, to);
}

/* The condition that the instruction tests after its compare, or -1. */
static int condition(u8 op)
{
	switch (op) {
	case BPF_JEQ:
		return A64_EQ;
	case BPF_JNE:
	case BPF_JSET:
		return A64_NE;
	case BPF_JGT:
		return A64_HI;
	case BPF_JGE:
		return A64_HS;
	case BPF_JLT:
		return A64_LO;
	case BPF_JLE:
		return A64_LS;
	case BPF_JSGT:
		return A64_GT;
	case BPF_JSGE:
		return A64_GE;
	case BPF_JSLT:
		return A64_LT;
	case BPF_JSLE:
		return A64_LE;
	}
	return -1;
}

/* Tests that a branch makes by itself. Returns its word, or 0. */
static u32 bare_test(const struct bpf_insn *insn, u32 size)
{
	u8 left = aarch64_reg[insn->dst_reg];
	u64 value = size == 8 ? (u64)(s64)insn->imm : (u32)insn->imm;
	u32 sign = size * 8 - 1;

	switch (insn_op(insn)) {
	case BPF_JEQ:
	case BPF_JLE:
		return value == 0 ? a64_branch_zero(size, left, false) : 0;
	case BPF_JLT:
		return value == 1 ? a64_branch_zero(size, left, false) : 0;
	case BPF_JNE:
	case BPF_JGT:
		return value == 0 ? a64_branch_zero(size, left, true) : 0;
	case BPF_JGE:
		return value == 1 ? a64_branch_zero(size, left, true) : 0;
	case BPF_JSLT:
		return insn->imm == 0 ? a64_branch_bit(left, sign, true) : 0;
	case BPF_JSLE:
		return insn->imm == -1 ? a64_branch_bit(left, sign, true) : 0;
	case BPF_JSGE:
		return insn->imm == 0 ? a64_branch_bit(left, sign, false) : 0;
	case BPF_JSGT:
		return insn->imm == -1 ? a64_branch_bit(left, sign, false) : 0;
	case BPF_JSET:
		if (value && !(value & (value - 1)))
			return a64_branch_bit(left, (u32)__builtin_ctzll(value), true);
		return 0;
	}
	return 0;
}

static void compare_imm(struct codebuf *buf, const struct bpf_insn *insn, u32 size)
{
	u64 value = size == 8 ? (u64)(s64)insn->imm : (u32)insn->imm;
	u64 distance = (u64)(insn->imm < 0 ? -(s64)insn->imm : insn->imm);
	u8 left = aarch64_reg[insn->dst_reg];
	bool tests = insn_op(insn) == BPF_JSET;

	if (tests && a64_logical_fits(size, value)) {
		a64_logical_imm(buf, size, A64_ANDS, A64_ZR, left, value);
	} else if (!tests && a64_arith_fits(distance)) {
		a64_arith_imm(buf, size, insn->imm < 0 ? A64_ADDS : A64_SUBS, A64_ZR, left,
			      (u32)distance);
	} else {
		a64_mov_imm(buf, JIT_TEMP, value);
		a64_op(buf, size, tests ? A64_ANDS : A64_SUBS, A64_ZR, left, JIT_TEMP);
	}
}

/* Emits what the branch needs in front of it. Returns the branch's word. */
static u32 test(struct codebuf *buf, const struct bpf_insn *insn)
{
	u32 size = insn_class(insn) == BPF_JMP ? 8 : 4;
	u32 word = insn_uses_reg(insn) ? 0 : bare_test(insn, size);

	if (word)
		return word;
	if (insn_uses_reg(insn))
		a64_op(buf, size, insn_op(insn) == BPF_JSET ? A64_ANDS : A64_SUBS, A64_ZR,
		       aarch64_reg[insn->dst_reg], aarch64_reg[insn->src_reg]);
	else
		compare_imm(buf, insn, size);
	return a64_branch_if((enum a64_cond)condition(insn_op(insn)));
}

/* Counts down; negative is the end, and remains so. */
static u32 count_may_goto(struct codebuf *buf, const struct jit_sub *sub)
{
	s32 at = aarch64_jit_frame_size(sub) - (s32)sub->may_goto;

	a64_access(buf, A64_LOAD, 8, JIT_TEMP, A64_SP, at);
	a64_arith_imm(buf, 8, A64_SUBS, JIT_TEMP, JIT_TEMP, 1);
	a64_access(buf, A64_STORE, 8, JIT_TEMP, A64_SP, at);
	return a64_branch_if(A64_MI);
}

void aarch64_jit_exit_if(struct codebuf *buf, const struct jit_unit *unit, u32 index, u32 start,
			 enum a64_cond cond)
{
	struct branch branch = {.unit = unit, .index = index, .start = start};

	jump_if(buf, &branch, a64_branch_if(cond), jit_unit_sub(unit, index)->epilogue);
}

u32 aarch64_jit_branch_over(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	struct branch branch = {.unit = unit, .index = index, .start = buf->size};
	s64 target;

	if (condition(insn_op(insn)) < 0 || !jit_unit_jumps_over_jump(unit, index, &target))
		return 0;
	jump_if(buf, &branch, a64_branch_inverted(test(buf, insn)), unit->offsets[target]);
	return 2;
}

int aarch64_jit_branch(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	struct branch branch = {.unit = unit, .index = index, .start = buf->size};
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
		u32 word = count_may_goto(buf, jit_unit_sub(unit, index));

		jump_if(buf, &branch, word, unit->offsets[target]);
		return 0;
	}
	if (condition(op) < 0)
		return -EOPNOTSUPP;
	jump_if(buf, &branch, test(buf, insn), unit->offsets[target]);
	return 0;
}
