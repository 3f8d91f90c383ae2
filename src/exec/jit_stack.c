/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/jit_stack.h"

#include "exec/jit_live.h"
#include "format/insn.h"

enum use {
	UNUSED,
	LOADED, /* or changed in one step */
	STORED,
	ESCAPES,
};

static bool reads_frame(const struct bpf_insn *insn)
{
	return insn_uses_reg(insn) && insn->src_reg == BPF_REG_10;
}

static enum use use_of_store(const struct bpf_insn *insn)
{
	bool stx = insn_class(insn) == BPF_STX, atomic = stx && insn_mode(insn) == BPF_ATOMIC;

	if (atomic && insn->imm == INSN_LOAD_ACQUIRE)
		return insn->dst_reg == BPF_REG_10   ? ESCAPES
		       : insn->src_reg == BPF_REG_10 ? LOADED
						     : UNUSED;
	if (stx && insn->src_reg == BPF_REG_10)
		return ESCAPES;
	if (insn->dst_reg != BPF_REG_10)
		return UNUSED;
	return atomic ? LOADED : STORED;
}

/* Of R10. */
static enum use use_of(const struct bpf_insn *insn)
{
	switch (insn_class(insn)) {
	case BPF_ST:
	case BPF_STX:
		return use_of_store(insn);
	case BPF_LDX:
		return insn->dst_reg == BPF_REG_10   ? ESCAPES
		       : insn->src_reg == BPF_REG_10 ? LOADED
						     : UNUSED;
	case BPF_JMP:
	case BPF_JMP32:
		if (insn_op(insn) == BPF_CALL && !insn_uses_reg(insn))
			return UNUSED;
		break;
	case BPF_LD:
		return insn->src_reg == BPF_REG_10 || insn->dst_reg == BPF_REG_10 ? ESCAPES
										  : UNUSED;
	}
	return insn->dst_reg == BPF_REG_10 || reads_frame(insn) ? ESCAPES : UNUSED;
}

/* First byte of an access, from the lowest a stack may have; -1: outside. */
static s32 first_byte(const struct bpf_insn *insn)
{
	s32 first = insn->off + INSN_MAX_STACK;

	return first >= 0 && first + (s32)insn_access_size(insn) <= INSN_MAX_STACK ? first : -1;
}

/* Marks the bytes that are loaded. Returns false if the frame pointer serves for more than accesses. */
static bool find_loaded(const struct bpf_insn *insns, const struct jit_sub *sub, u8 *loaded)
{
	for (u32 i = sub->start; i < sub->end; i++) {
		const struct bpf_insn *insn = &insns[i];
		enum use use = use_of(insn);

		if (use == ESCAPES || (use != UNUSED && first_byte(insn) < 0))
			return false;
		for (u32 byte = 0; use == LOADED && byte < insn_access_size(insn); byte++)
			loaded[first_byte(insn) + (s32)byte] = 1;
		i += insn_is_ld_imm64(insn);
	}
	return true;
}

static bool is_loaded(const struct bpf_insn *insn, const u8 *loaded)
{
	for (u32 byte = 0; byte < insn_access_size(insn); byte++) {
		if (loaded[first_byte(insn) + (s32)byte])
			return true;
	}
	return false;
}

bool jit_stack_trim(struct bpf_insn *insns, struct jit_sub *sub)
{
	u8 loaded[INSN_MAX_STACK] = {0};
	s32 lowest = INSN_MAX_STACK;
	bool some = false;

	if (!find_loaded(insns, sub, loaded))
		return false;
	for (u32 i = sub->start; i < sub->end; i++) {
		bool wide = insn_is_ld_imm64(&insns[i]);
		enum use use = use_of(&insns[i]);

		if (use == STORED && !is_loaded(&insns[i], loaded)) {
			jit_live_take_out(&insns[i]);
			some = true;
		} else if (use != UNUSED) {
			lowest = MIN(lowest, first_byte(&insns[i]));
		}
		i += wide;
	}
	sub->stack_depth = ALIGN_UP((u32)(INSN_MAX_STACK - lowest), 8u);
	return some;
}
