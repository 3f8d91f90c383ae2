/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls out of a program's code. sp is 16-aligned throughout, as the machine wants it. */
#include <errno.h>

#include "arch/aarch64/jit.h"
#include "format/insn.h"

static void call_address(struct codebuf *buf, u64 target)
{
	if (buf->bytes && a64_reaches(buf, target)) {
		a64_call(buf, target);
		return;
	}
	a64_mov_imm(buf, JIT_TEMP, target);
	a64_call_reg(buf, JIT_TEMP);
}

/* Registers on the stack in pairs; an odd one goes with the zero register. */
struct kept {
	u8 regs[8];
	u32 count;
};

static void keep(struct codebuf *buf, struct kept *kept)
{
	if (kept->count % 2)
		kept->regs[kept->count++] = A64_ZR;
	for (u32 i = 0; i < kept->count; i += 2)
		a64_pair(buf, i ? A64_PAIR_STORE : A64_PAIR_PUSH, kept->regs[i], kept->regs[i + 1],
			 A64_SP, i ? (s32)i * 8 : -(s32)kept->count * 8);
}

static void give_back(struct codebuf *buf, const struct kept *kept)
{
	for (u32 i = kept->count; i > 0; i -= 2)
		a64_pair(buf, i == 2 ? A64_PAIR_POP : A64_PAIR_LOAD, kept->regs[i - 2],
			 kept->regs[i - 1], A64_SP,
			 i == 2 ? (s32)kept->count * 8 : (s32)(i - 2) * 8);
}

void aarch64_jit_fault_load(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	struct kept kept = {.count = 0};

	for (u32 reg = BPF_REG_0; reg <= BPF_REG_5; reg++) {
		if (reg != insn->dst_reg && unit->live[index] & 1u << reg)
			kept.regs[kept.count++] = aarch64_reg[reg];
	}
	keep(buf, &kept);
	aarch64_jit_add(buf, 8, A64_X0, aarch64_reg[insn->src_reg], insn->off);
	a64_mov_imm(buf, A64_X1, insn_access_size(insn));
	call_address(buf, unit->fault_load);
	a64_mov(buf, 8, JIT_TEMP, A64_X0);
	give_back(buf, &kept);
	a64_mov(buf, 8, aarch64_reg[insn->dst_reg], JIT_TEMP);
}

/* The register holds a helper's number: look it up, call it if there is one. R0 is 0 otherwise. */
static void call_register(struct codebuf *buf, const struct jit_unit *unit, u8 number)
{
	struct kept args = {.regs = {A64_X0, A64_X1, A64_X2, A64_X3, A64_X4}, .count = 5};
	u32 none;

	keep(buf, &args);
	a64_mov(buf, 4, A64_X0, number);
	call_address(buf, unit->helper_lookup);
	a64_mov(buf, 8, JIT_R0, A64_X0);
	give_back(buf, &args);
	none = a64_skip(buf, a64_branch_zero(8, JIT_R0, false));
	a64_call_reg(buf, JIT_R0);
	a64_mov(buf, 8, JIT_R0, A64_X0);
	a64_land(buf, none);
}

static int call_subprog(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	s64 target = (s64)index + 1 + unit->insns[index].imm;
	const struct jit_sub *sub;

	if (target < 0 || target >= unit->insn_cnt)
		return -EINVAL;
	sub = jit_unit_sub(unit, (u32)target);
	if (sub->start != target)
		return -EINVAL;
	a64_call(buf, buf->exec + sub->entry + aarch64_jit_callback_entry_size(sub));
	return 0;
}

int aarch64_jit_call(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];

	if (insn_uses_reg(insn)) {
		call_register(buf, unit, aarch64_reg[insn->dst_reg]);
		return 0;
	}
	switch (insn->src_reg) {
	case INSN_CALL_HELPER:
		if (insn_is_tail_call(insn))
			return aarch64_jit_tail_call(buf, unit, index);
		call_address(buf, unit->values[index]);
		if (unit->live[index] & 1u << BPF_REG_0)
			a64_mov(buf, 8, JIT_R0, A64_X0);
		return 0;
	case INSN_CALL_SUBPROG:
		return call_subprog(buf, unit, index);
	}
	return -EOPNOTSUPP;
}
