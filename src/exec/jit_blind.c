/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/jit_blind.h"

#include "format/insn.h"

/* Is imm an operand? Its code with a register instead differs by BPF_X, or is STX for ST. */
static bool has_operand(const struct bpf_insn *insn)
{
	u8 op = insn_op(insn);

	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		return !insn_uses_reg(insn) && op != BPF_END && op != BPF_NEG;
	case BPF_JMP:
	case BPF_JMP32:
		return !insn_uses_reg(insn) && op != BPF_JA && op != BPF_CALL && op != BPF_EXIT &&
		       op != INSN_JCOND;
	case BPF_ST:
		return insn_mode(insn) == BPF_MEM;
	}
	return false;
}

void jit_blind(struct bpf_insn *insns, u32 count, u8 *targets, u64 *values)
{
	for (u32 i = 0; i < count; i++) {
		struct bpf_insn *insn = &insns[i];

		if (insn_is_ld_imm64(insn)) {
			if (!insn->src_reg)
				targets[i] |= JIT_BLINDED;
			i++;
			continue;
		}
		if (!has_operand(insn))
			continue;
		values[i] = (u64)(s64)insn->imm;
		targets[i] |= JIT_BLINDED;
		insn->code |= insn_class(insn) == BPF_ST ? BPF_STX : BPF_X;
		insn->src_reg = JIT_BLIND_REG;
		insn->imm = 0;
	}
}
