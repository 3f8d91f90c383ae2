/* SPDX-License-Identifier: BSD-2-Clause */
/* The last turns of a path, and what they tell of it. */
#include "verify/trail.h"

void trail_note(struct state *state, u32 from, u32 to)
{
	state->turns[state->turn_cnt++ % TURN_CNT] = (struct turn){.from = from, .to = to};
}

static void add(struct trail *trail, u32 insn)
{
	if (trail->count == ARRAY_SIZE(trail->insns)) {
		for (u32 i = 1; i < trail->count; i++)
			trail->insns[i - 1] = trail->insns[i];
		trail->count--;
	}
	trail->insns[trail->count++] = insn;
}

/* The instruction after insn where no turn says otherwise. */
static u32 following(const struct verifier *env, u32 insn)
{
	const struct bpf_insn *at = &env->insns[insn];

	if (insn_is_ld_imm64(at))
		return insn + 2;
	if (insn_class(at) == BPF_JMP && insn_op(at) == BPF_JA)
		return insn + 1 + (u32)at->off;
	if (insn_class(at) == BPF_JMP32 && insn_op(at) == BPF_JA)
		return insn + 1 + (u32)at->imm;
	return insn + 1;
}

/* From one instruction to another without a turn. */
static void add_run(const struct verifier *env, struct trail *trail, u32 from, u32 to)
{
	u32 insn = from;

	for (u32 steps = 0; steps < env->insn_cnt && insn < env->insn_cnt; steps++) {
		add(trail, insn);
		if (insn == to)
			return;
		insn = following(env, insn);
	}
}

void trail_follow(const struct verifier *env, struct trail *ret_trail)
{
	const struct state *state = env->state;
	u32 first, from;

	ret_trail->count = 0;
	if (!state || env->insn >= env->insn_cnt)
		return;
	from = env->subprogs[state->frames[0]->subprog].start;
	first = state->turn_cnt > TURN_CNT ? state->turn_cnt - TURN_CNT : 0;
	/* Of a turn that is the oldest remembered only the destination is sure. */
	if (first)
		from = state->turns[first++ % TURN_CNT].to;
	for (u32 i = first; i < state->turn_cnt; i++) {
		const struct turn *turn = &state->turns[i % TURN_CNT];

		add_run(env, ret_trail, from, turn->from);
		from = turn->to;
	}
	add_run(env, ret_trail, from, env->insn);
}

static bool is_copy(const struct bpf_insn *insn)
{
	return insn_class(insn) == BPF_ALU64 && insn_op(insn) == BPF_MOV && insn_uses_reg(insn) &&
	       !insn->off;
}

static bool writes(const struct bpf_insn *insn, u32 reg)
{
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
	case BPF_LDX:
	case BPF_LD:
		return insn->dst_reg == reg;
	case BPF_JMP:
		return insn_op(insn) == BPF_CALL && reg <= 5;
	default:
		return false;
	}
}

u32 trail_origin(const struct verifier *env, const struct trail *trail, u32 reg, bool pointer)
{
	/* The last one is where the path was refused: it has not run. */
	for (u32 i = trail->count; i-- > 1;) {
		const struct bpf_insn *insn = &env->insns[trail->insns[i - 1]];
		bool call = insn_class(insn) == BPF_JMP && insn_op(insn) == BPF_CALL;

		if ((call && insn->src_reg == INSN_CALL_SUBPROG) ||
		    (insn_class(insn) == BPF_JMP && insn_op(insn) == BPF_EXIT))
			return UINT32_MAX;
		if (!writes(insn, reg))
			continue;
		if (is_copy(insn))
			reg = insn->src_reg;
		else if (!pointer || call || insn_class(insn) == BPF_LDX || insn_is_ld_imm64(insn))
			return trail->insns[i - 1];
	}
	return UINT32_MAX;
}
