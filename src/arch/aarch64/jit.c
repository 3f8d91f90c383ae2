/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One subprogram's frame:
 *
 *   x30, x29             when the subprogram uses its stack or calls; x29 points at the saved x29
 *   BPF stack            x29 - stack_depth .. x29
 *   saved registers      the callee-saved ones among its BPF registers, in pairs
 */
#include "arch/aarch64/jit.h"

#include <errno.h>

#include "arch/aarch64/aarch64.h"
#include "format/insn.h"

#define PAIR_SIZE	16
#define PAIR_REACH_PUSH 512

const u8 aarch64_reg[] = {
	[BPF_REG_0] = JIT_R0,  [BPF_REG_1] = A64_X0,  [BPF_REG_2] = A64_X1,  [BPF_REG_3] = A64_X2,
	[BPF_REG_4] = A64_X3,  [BPF_REG_5] = A64_X4,  [BPF_REG_6] = A64_X19, [BPF_REG_7] = A64_X20,
	[BPF_REG_8] = A64_X21, [BPF_REG_9] = A64_X22, [BPF_REG_10] = A64_FP,
};

/* Registers that sub saves, in pairs; an odd one goes with the zero register. */
struct saved {
	u8 regs[4];
	u32 pairs;
};

static bool links(const struct jit_sub *sub)
{
	return sub->calls || sub->used & 1u << BPF_REG_10;
}

static struct saved saved_by(const struct jit_sub *sub)
{
	struct saved saved = {.regs = {A64_ZR, A64_ZR, A64_ZR, A64_ZR}};
	u32 count = 0;

	for (u32 reg = BPF_REG_6; reg <= BPF_REG_9; reg++) {
		if (sub->used & 1u << reg)
			saved.regs[count++] = aarch64_reg[reg];
	}
	saved.pairs = (count + 1) / 2;
	return saved;
}

s32 aarch64_jit_frame_size(const struct jit_sub *sub)
{
	u32 depth = sub->used & 1u << BPF_REG_10 ? ALIGN_UP(sub->stack_depth, 16u) : 0;

	return (s32)(depth + saved_by(sub).pairs * PAIR_SIZE);
}

int aarch64_jit_prologue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog)
{
	const struct jit_sub *sub = &unit->subs[subprog];
	const struct saved saved = saved_by(sub);
	s32 size = aarch64_jit_frame_size(sub);
	bool push = saved.pairs && size <= PAIR_REACH_PUSH;

	aarch64_jit_callback_entry(buf, sub);
	if (links(sub)) {
		a64_pair(buf, A64_PAIR_PUSH, A64_FP, A64_LR, A64_SP, -PAIR_SIZE);
		a64_arith_imm(buf, 8, A64_ADD, A64_FP, A64_SP, 0);
	}
	if (size && !push)
		a64_arith_imm(buf, 8, A64_SUB, A64_SP, A64_SP, (u32)size);
	for (u32 i = 0; i < saved.pairs; i++) {
		bool first = push && i == 0;

		a64_pair(buf, first ? A64_PAIR_PUSH : A64_PAIR_STORE, saved.regs[2 * i],
			 saved.regs[2 * i + 1], A64_SP, first ? -size : (s32)i * PAIR_SIZE);
	}
	if (sub->may_goto) {
		a64_mov_imm(buf, JIT_TEMP, INSN_MAY_GOTO_LIMIT);
		a64_access(buf, A64_STORE, 8, JIT_TEMP, A64_SP, size - (s32)sub->may_goto);
	}
	return 0;
}

void aarch64_jit_unwind(struct codebuf *buf, const struct jit_sub *sub)
{
	const struct saved saved = saved_by(sub);
	s32 size = aarch64_jit_frame_size(sub);

	for (u32 i = saved.pairs; i-- > 0;) {
		bool last = i == 0 && !links(sub);

		a64_pair(buf, last ? A64_PAIR_POP : A64_PAIR_LOAD, saved.regs[2 * i],
			 saved.regs[2 * i + 1], A64_SP, last ? size : (s32)i * PAIR_SIZE);
	}
	if (!links(sub))
		return;
	if (size)
		a64_arith_imm(buf, 8, A64_ADD, A64_SP, A64_FP, 0);
	a64_pair(buf, A64_PAIR_POP, A64_FP, A64_LR, A64_SP, PAIR_SIZE);
}

int aarch64_jit_epilogue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog)
{
	aarch64_jit_unwind(buf, &unit->subs[subprog]);
	if (unit->subs[subprog].from_c)
		a64_mov(buf, 8, A64_X0, JIT_R0);
	a64_ret(buf);
	return 0;
}

static int load_function(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	s64 target = (s64)index + 1 + unit->insns[index].imm, distance;
	u32 entry;

	if (target < 0 || target >= unit->insn_cnt)
		return -EINVAL;
	entry = jit_unit_sub(unit, (u32)target)->entry;
	distance = (s64)entry - unit->offsets[index];
	a64_address(buf, aarch64_reg[unit->insns[index].dst_reg], buf->exec + entry,
		    !unit->far && distance < 1 << 20 && distance >= -(1 << 20));
	return 2;
}

/* Returns 2, since the constant's upper half is in the next slot. */
static int load_constant(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];

	if (insn->src_reg == INSN_PSEUDO_FUNC)
		return load_function(buf, unit, index);
	a64_mov_imm(buf, aarch64_reg[insn->dst_reg], unit->values[index]);
	return 2;
}

int aarch64_jit_insn(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	int err = -EOPNOTSUPP;
	u32 fused;

	if (insn->dst_reg > BPF_REG_10 || insn->src_reg > BPF_REG_10)
		return -EINVAL;
	fused = aarch64_jit_fuse(buf, unit, index);
	if (fused)
		return (int)fused;
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		err = aarch64_jit_alu(buf, insn);
		break;
	case BPF_LD:
		if (insn_is_ld_imm64(insn))
			return load_constant(buf, unit, index);
		err = aarch64_jit_packet(buf, unit, index);
		break;
	case BPF_LDX:
	case BPF_ST:
	case BPF_STX:
		err = aarch64_jit_memory(buf, unit, index);
		break;
	case BPF_JMP:
	case BPF_JMP32:
		err = insn_op(insn) == BPF_CALL ? aarch64_jit_call(buf, unit, index)
						: aarch64_jit_branch(buf, unit, index);
		break;
	}
	return err ? err : 1;
}
