/* SPDX-License-Identifier: BSD-2-Clause */
/* Which registers that a caller would have to save the code of a program may change. */
#include "arch/aarch64/aarch64.h"
#include "arch/aarch64/jit.h"
#include "format/insn.h"

#define SCRATCH (A64_BIT(JIT_TEMP) | A64_BIT(JIT_TEMP2) | A64_BIT(JIT_TEMP3) | A64_BIT(JIT_TEMP4))
/* What every program leaves its result in. */
#define RESULT (A64_BIT(A64_X0) | A64_BIT(JIT_R0))

/* Does the code of the instruction stay within the machine registers of its BPF registers? */
static bool needs_scratch(const struct bpf_insn *insn)
{
	bool constant = !insn_uses_reg(insn);

	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		switch (insn_op(insn)) {
		case BPF_MOD:
			return true;
		case BPF_ADD:
		case BPF_SUB:
			return constant && (insn->imm <= -(1 << 24) || insn->imm >= 1 << 24);
		case BPF_AND:
		case BPF_OR:
		case BPF_XOR:
		case BPF_MUL:
		case BPF_DIV:
			return constant;
		}
		return false;
	case BPF_JMP:
	case BPF_JMP32:
		return insn_op(insn) != BPF_JA && insn_op(insn) != BPF_EXIT && constant;
	case BPF_LD:
		return insn_mode(insn) != BPF_IMM;
	}
	return true;
}

static bool leaves(const struct bpf_insn *insn)
{
	u8 mode = insn_mode(insn);

	return (insn_class(insn) == BPF_LDX &&
		(mode == INSN_MODE_PROBE_MEM || mode == INSN_MODE_PROBE_MEMSX)) ||
	       insn->code == (BPF_JMP | BPF_CALL | BPF_X) || insn_is_call_helper(insn);
}

static u32 changed_by(const struct bpf_insn *insn)
{
	u32 changed = needs_scratch(insn) ? SCRATCH : 0;

	if (leaves(insn))
		return A64_CALLER_SAVED;
	if (insn_is_call_subprog(insn))
		changed |= A64_BIT(A64_LR);
	if (insn_class(insn) == BPF_STX && insn_mode(insn) == BPF_ATOMIC)
		changed |= A64_BIT(aarch64_reg[insn->src_reg]);
	return changed | A64_BIT(aarch64_reg[insn->dst_reg]);
}

u32 aarch64_jit_clobbers(const struct jit_unit *unit)
{
	u32 changed = RESULT;

	for (u32 i = 0; i < unit->insn_cnt; i++) {
		changed |= changed_by(&unit->insns[i]);
		i += insn_is_ld_imm64(&unit->insns[i]);
	}
	return changed & A64_CALLER_SAVED;
}
