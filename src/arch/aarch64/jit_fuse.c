/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs of BPF instructions that are fewer machine instructions together than one by one. Every pattern leaves each register with
 * the value it would have had; none is entered in the middle.
 */
#include "arch/aarch64/jit.h"
#include "format/insn.h"

static bool runs_on(const struct jit_unit *unit, u32 index)
{
	return index + 1 < jit_unit_sub(unit, index)->end && !unit->targets[index + 1];
}

static bool is_alu(const struct bpf_insn *insn)
{
	return insn_class(insn) == BPF_ALU || insn_class(insn) == BPF_ALU64;
}

/* x <<= n; x >>= m; with constant counts: a bit field, zero- or sign-extended. from: x before. */
static bool fuse_field(struct codebuf *buf, const struct jit_unit *unit, u32 index, u8 from)
{
	const struct bpf_insn *left = &unit->insns[index], *right = left + 1;
	u32 size = insn_class(left) == BPF_ALU64 ? 8 : 4, mask = size * 8 - 1;
	u32 lose = (u32)left->imm & mask, drop = (u32)right->imm & mask;

	if (!is_alu(left) || !runs_on(unit, index) || insn_class(left) != insn_class(right) ||
	    insn_uses_reg(left) || insn_uses_reg(right) || insn_op(left) != BPF_LSH ||
	    (insn_op(right) != BPF_RSH && insn_op(right) != BPF_ARSH) ||
	    left->dst_reg != right->dst_reg)
		return false;
	a64_bitfield(buf, size, insn_op(right) == BPF_ARSH, aarch64_reg[left->dst_reg], from,
		     (drop - lose) & mask, mask - lose);
	return true;
}

/* Does the operation read its destination, as wide as a move of that width leaves it? */
static bool reads_moved(const struct bpf_insn *move, const struct bpf_insn *insn)
{
	return is_alu(insn) && insn->dst_reg == move->dst_reg && insn_op(insn) != BPF_MOV &&
	       (insn_class(move) == BPF_ALU64 || insn_class(insn) == BPF_ALU) &&
	       insn_op(insn) != BPF_END && !(insn_uses_reg(insn) && insn->src_reg == move->dst_reg);
}

/* to = from; to op= ...: one instruction of three operands. */
static u32 fuse_move(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *move = &unit->insns[index], *insn = move + 1;
	u8 from = aarch64_reg[move->src_reg];

	if (insn_op(move) != BPF_MOV || !insn_uses_reg(move) || move->off ||
	    !runs_on(unit, index) || !reads_moved(move, insn))
		return 0;
	if (fuse_field(buf, unit, index + 1, from))
		return 3;
	return aarch64_jit_alu_of(buf, insn, from) ? 0 : 2;
}

u32 aarch64_jit_fuse(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];

	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		if (fuse_field(buf, unit, index, aarch64_reg[insn->dst_reg]))
			return 2;
		return fuse_move(buf, unit, index);
	case BPF_JMP:
	case BPF_JMP32:
		return aarch64_jit_branch_over(buf, unit, index);
	}
	return 0;
}
