/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program has taken and must give back: references and the spin lock. */
#include <string.h>

#include "verify/log.h"
#include "verify/state.h"

int ref_acquire(struct verifier *env, u32 insn)
{
	struct state *state = env->state;

	if (state->ref_cnt == MAX_REFS)
		return verify_reject(env, WHY_REFERENCE, -1, -E2BIG,
				     "too many references are held at insn %u", insn);
	state->refs[state->ref_cnt].id = ++env->next_id;
	state->refs[state->ref_cnt].insn = insn;
	return (int)state->refs[state->ref_cnt++].id;
}

bool ref_held(const struct state *state, u32 id)
{
	for (u32 i = 0; i < state->ref_cnt; i++) {
		if (state->refs[i].id == id)
			return true;
	}
	return false;
}

/* Pointers whose reference is gone must not be used: privileged programs may keep the number. */
static void forget_ref(struct verifier *env, struct reg *reg, void *arg)
{
	if (reg->ref_id != *(u32 *)arg)
		return;
	if (env->privileged)
		reg_set_unknown(reg);
	else
		reg_set_none(reg);
}

int ref_release(struct verifier *env, u32 id)
{
	struct state *state = env->state;

	for (u32 i = 0; i < state->ref_cnt; i++) {
		if (state->refs[i].id != id)
			continue;
		memmove(&state->refs[i], &state->refs[i + 1],
			(state->ref_cnt - i - 1) * sizeof(state->refs[0]));
		state->ref_cnt--;
		state_each_reg(env, state, forget_ref, &id);
		return 0;
	}
	return -EINVAL;
}

int ref_check_none(struct verifier *env, const char *what, bool check_lock)
{
	const struct state *state = env->state;

	if (check_lock && state->lock_map)
		return verify_reject(env, WHY_LOCK, -1, -EINVAL,
				     "%s cannot be used inside bpf_spin_lock-ed region", what);
	if (!state->ref_cnt)
		return 0;
	for (u32 i = 0; i < state->ref_cnt; i++)
		log_text(env, "Unreleased reference id=%u alloc_insn=%u\n", state->refs[i].id,
			 state->refs[i].insn);
	return verify_reject(env, WHY_REFERENCE, -1, -EINVAL, "%s would lead to reference leak",
			     what);
}

static void forget_packet(struct verifier *env, struct reg *reg, void *arg)
{
	(void)env;
	(void)arg;
	if (reg_is_packet(reg) || reg->type == PTR_PACKET_END)
		reg_set_unknown(reg);
}

void ref_forget_packet(struct verifier *env)
{
	state_each_reg(env, env->state, forget_packet, NULL);
}
