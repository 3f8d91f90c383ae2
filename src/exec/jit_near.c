/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compilers load a variable's address wherever they need it, in loops too: on their machine that is an instruction like any
 * other. Variables lie side by side in their map, and maps near each other, so that one register serves them all.
 */
#include "exec/jit_near.h"

#include "format/insn.h"

#define MAX_CANDIDATES 8

struct candidate {
	u64 value;
	u32 uses;
};

static bool is_near(u64 a, u64 b)
{
	return a - b + JIT_NEAR_REACH < 2ull * JIT_NEAR_REACH;
}

static void count_use(struct candidate *candidates, u64 value)
{
	for (u32 i = 0; i < MAX_CANDIDATES; i++) {
		if (!candidates[i].uses)
			candidates[i].value = value;
		if (is_near(candidates[i].value, value)) {
			candidates[i].uses++;
			return;
		}
	}
}

/* Where a jump back goes to; the instruction itself if it is none. */
static u32 jumps_back_to(const struct bpf_insn *insn, u32 index)
{
	u8 class = insn_class(insn), op = insn_op(insn);
	s64 to = (s64)index + 1 + insn->off;

	if ((class != BPF_JMP && class != BPF_JMP32) || op == BPF_CALL || op == BPF_EXIT)
		return index;
	if (class == BPF_JMP32 && op == BPF_JA)
		to = (s64)index + 1 + insn->imm;
	return to >= 0 && to < index ? (u32)to : index;
}

/* A constant of ten bytes of code. */
static bool is_long(const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u64 value = unit->values[index];

	return insn_is_ld_imm64(insn) && insn->src_reg != INSN_PSEUDO_FUNC && value > UINT32_MAX &&
	       (s64)value != (s32)value;
}

static bool divides(const struct jit_unit *unit, const struct jit_sub *sub)
{
	for (u32 i = sub->start; i < sub->end; i++) {
		u8 class = insn_class(&unit->insns[i]), op = insn_op(&unit->insns[i]);

		if ((class == BPF_ALU || class == BPF_ALU64) && (op == BPF_DIV || op == BPF_MOD))
			return true;
	}
	return false;
}

void jit_near(const struct jit_unit *unit, struct jit_sub *sub)
{
	struct candidate candidates[MAX_CANDIDATES] = {0};
	u32 loop = sub->end, best = 0;
	bool kept;

	for (u32 i = sub->end; i-- > sub->start;) {
		loop = MIN(loop, jumps_back_to(&unit->insns[i], i));
		if (loop < i && is_long(unit, i))
			count_use(candidates, unit->values[i]);
	}
	for (u32 i = 1; i < MAX_CANDIDATES; i++) {
		if (candidates[i].uses > candidates[best].uses)
			best = i;
	}
	if (!candidates[best].uses)
		return;
	kept = sub->calls || divides(unit, sub);
	if (kept && unit->tail_calls)
		return;
	sub->near = candidates[best].value;
	sub->used = (u16)(sub->used | 1u << (kept ? JIT_NEAR_KEPT : JIT_NEAR_FREE));
}
