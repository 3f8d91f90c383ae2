/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads and stores. */
#include <errno.h>

#include "arch/aarch64/jit.h"
#include "format/insn.h"

/* Uses JIT_TEMP2 where the offset is in no instruction. */
static void access_at(struct codebuf *buf, const struct jit_unit *unit, u32 index,
		      enum a64_access kind, u8 reg, u8 bpf_base)
{
	const struct bpf_insn *insn = &unit->insns[index];
	s32 frame = aarch64_jit_frame_size(jit_unit_sub(unit, index));
	u32 size = insn_access_size(insn);
	u8 base = aarch64_reg[bpf_base];

	if (a64_offset_fits(size, insn->off)) {
		a64_access(buf, kind, size, reg, base, insn->off);
	} else if (bpf_base == BPF_REG_10 && insn->off + frame >= 0 &&
		   a64_offset_fits(size, insn->off + frame)) {
		a64_access(buf, kind, size, reg, A64_SP, insn->off + frame);
	} else {
		a64_mov_imm(buf, JIT_TEMP2, (u64)(s64)insn->off);
		a64_access_indexed(buf, kind, size, reg, base, JIT_TEMP2);
	}
}

static int load(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u8 to = aarch64_reg[insn->dst_reg];

	switch (insn_mode(insn)) {
	case BPF_MEM:
		access_at(buf, unit, index, A64_LOAD, to, insn->src_reg);
		return 0;
	case INSN_MODE_MEMSX:
		if (insn_access_size(insn) == 8)
			return -EOPNOTSUPP;
		access_at(buf, unit, index, A64_LOAD_SIGNED, to, insn->src_reg);
		return 0;
	case INSN_MODE_PROBE_MEM:
		aarch64_jit_fault_load(buf, unit, index);
		return 0;
	case INSN_MODE_PROBE_MEMSX:
		aarch64_jit_fault_load(buf, unit, index);
		a64_extend(buf, insn_access_size(insn), 8, true, to, to);
		return 0;
	}
	return -EOPNOTSUPP;
}

int aarch64_jit_memory(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u8 from = aarch64_reg[insn->src_reg];

	if (insn_class(insn) == BPF_LDX)
		return load(buf, unit, index);
	if (insn_class(insn) == BPF_STX && insn_mode(insn) == BPF_ATOMIC)
		return aarch64_jit_atomic(buf, unit, insn);
	if (insn_mode(insn) != BPF_MEM)
		return -EOPNOTSUPP;
	if (insn_class(insn) == BPF_ST) {
		from = insn->imm ? JIT_TEMP : A64_ZR;
		if (insn->imm)
			a64_mov_imm(buf, JIT_TEMP,
				    insn_access_size(insn) == 8 ? (u64)(s64)insn->imm
								: (u32)insn->imm);
	}
	access_at(buf, unit, index, A64_STORE, from, insn->dst_reg);
	return 0;
}
