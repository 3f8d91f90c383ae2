/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A path may stop at an instruction when an earlier path came there with a state that covers its own: every value it may hold
 * was among the values that were proved safe. Covering is judged on what later instructions can read (precise.c).
 *
 * Only states whose paths have all ended are used to prune; a state that is still being explored (branches > 0) proves
 * nothing yet. Meeting exactly such a state again is an endless loop.
 */
#include "verify/prune.h"

#include <stdlib.h>

#include "verify/log.h"
#include "verify/precise.h"
#include "verify/state.h"

enum compare {
	COMPARE_COVER, /* exactness as precise.c says */
	COMPARE_RANGE, /* every scalar must lie in the old one's range */
	COMPARE_SAME,  /* identical */
};

struct comparison {
	struct verifier *env;
	enum compare how;
};

/* Ids differ between paths; what must agree is which registers share one. */
static bool same_id(struct verifier *env, u32 old, u32 cur)
{
	if (!old != !cur)
		return false;
	if (!old)
		return true;
	for (u32 i = 0; i < env->id_map_cnt; i++) {
		if (env->id_map_old[i] == old)
			return env->id_map_new[i] == cur;
		if (env->id_map_new[i] == cur)
			return false;
	}
	if (env->id_map_cnt == ARRAY_SIZE(env->id_map_old))
		return false;
	env->id_map_old[env->id_map_cnt] = old;
	env->id_map_new[env->id_map_cnt++] = cur;
	return true;
}

/* An old scalar without an id covers one that has; one with an id promises that its copies are equal. */
static bool same_scalar_id(struct verifier *env, u32 old, u32 cur)
{
	if (!old)
		return true;
	return same_id(env, old, cur ? cur : ++env->next_id);
}

static bool same_scalar(const struct scalar *a, const struct scalar *b)
{
	return scalar_contains(a, b) && scalar_contains(b, a);
}

static bool cover_scalar(struct comparison *c, const struct reg *old, const struct reg *cur,
			 bool exact)
{
	/* Which copies are equal matters even so: a jump on one of them says something of the others. */
	if (c->how == COMPARE_COVER && !exact)
		return same_scalar_id(c->env, old->id, cur->id);
	if (c->how == COMPARE_SAME)
		return same_scalar(&old->s, &cur->s) && same_scalar_id(c->env, old->id, cur->id);
	return scalar_contains(&old->s, &cur->s) && same_scalar_id(c->env, old->id, cur->id);
}

static bool same_target(const struct reg *old, const struct reg *cur)
{
	switch (old->type) {
	case PTR_MAP:
	case PTR_MAP_KEY:
	case PTR_MAP_VALUE:
		return old->map == cur->map;
	case PTR_MEM:
	case PTR_RINGBUF:
		return old->mem_size == cur->mem_size;
	case PTR_FUNC:
		return old->subprog == cur->subprog;
	case PTR_STACK:
		return old->frame == cur->frame;
	default:
		return true;
	}
}

static bool cover_pointer(struct comparison *c, const struct reg *old, const struct reg *cur)
{
	if (old->off != cur->off || old->maybe_null != cur->maybe_null ||
	    old->readonly != cur->readonly)
		return false;
	if (!same_target(old, cur) || !same_id(c->env, old->id, cur->id) ||
	    !same_id(c->env, old->ref_id, cur->ref_id) ||
	    !same_id(c->env, old->map_uid, cur->map_uid))
		return false;
	if (reg_is_packet(old) && (c->how == COMPARE_COVER && cur->range >= 0 && old->range >= 0
					   ? old->range > cur->range
					   : old->range != cur->range))
		return false;
	if (c->how == COMPARE_SAME || old->type == PTR_STACK)
		return same_scalar(&old->s, &cur->s);
	return scalar_contains(&old->s, &cur->s);
}

static bool cover_reg(struct comparison *c, const struct reg *old, const struct reg *cur,
		      bool exact)
{
	if (old->type == REG_NONE)
		return c->how != COMPARE_SAME || cur->type == REG_NONE;
	if (old->type != cur->type)
		return false;
	if (old->type == REG_SCALAR)
		return cover_scalar(c, old, cur, exact);
	return cover_pointer(c, old, cur);
}

static bool spill_is_scalar(const struct slot *slot)
{
	return slot->kind[0] == BYTE_SPILL && slot->spill.type == REG_SCALAR;
}

static enum byte_kind kind_of(const struct slot *slot, u32 byte)
{
	return slot ? slot->kind[byte] : BYTE_INVALID;
}

/* Is a byte known to be zero, as part of a spilled constant? */
static bool byte_is_zero(const struct slot *slot, u32 byte)
{
	if (kind_of(slot, byte) == BYTE_ZERO)
		return true;
	return slot && slot->kind[byte] == BYTE_SPILL && spill_is_scalar(slot) &&
	       scalar_is_const(&slot->spill.s) && !(slot->spill.s.bits.value >> (8 * byte) & 0xff);
}

/* One byte of data: what the old path could read there, the new one must be able to read as well. */
static bool cover_byte(struct comparison *c, const struct slot *old, const struct slot *cur,
		       u32 byte, bool exact)
{
	enum byte_kind want = kind_of(old, byte), have = kind_of(cur, byte);
	bool pointer = cur && have == BYTE_SPILL && !spill_is_scalar(cur);

	if (c->how == COMPARE_SAME)
		return want == have;
	switch (want) {
	case BYTE_INVALID:
		/* Where unwritten bytes may be read, they are data to the old path. */
		return !c->env->allow_uninit_stack || !pointer;
	case BYTE_MISC:
		return !pointer && (have != BYTE_INVALID || c->env->allow_uninit_stack);
	case BYTE_ZERO:
		return exact ? byte_is_zero(cur, byte)
			     : !pointer && (have != BYTE_INVALID || c->env->allow_uninit_stack);
	case BYTE_SPILL:
		if (!spill_is_scalar(old))
			return false;
		return !exact && !pointer && (have != BYTE_INVALID || c->env->allow_uninit_stack);
	}
	return false;
}

static bool same_shape(const struct slot *old, const struct slot *cur)
{
	for (u32 i = 0; i < SLOT_SIZE; i++) {
		if ((old->kind[i] == BYTE_SPILL) != (cur->kind[i] == BYTE_SPILL))
			return false;
	}
	return true;
}

static bool cover_slot(struct comparison *c, const struct slot *old, const struct slot *cur,
		       bool exact)
{
	bool compared = false;

	if (old && cur && old->kind[0] == BYTE_SPILL && cur->kind[0] == BYTE_SPILL &&
	    same_shape(old, cur)) {
		if (!cover_reg(c, &old->spill, &cur->spill, exact))
			return false;
		compared = true;
	} else if (old && spill_is_scalar(old) && !cur && exact) {
		return false;
	}
	for (u32 i = 0; i < SLOT_SIZE; i++) {
		if (compared && old->kind[i] == BYTE_SPILL)
			continue;
		if (!cover_byte(c, old, cur, i, exact))
			return false;
	}
	return true;
}

static bool cover_frame(struct comparison *c, const struct frame *old, const struct frame *cur,
			u32 at, bool top)
{
	const struct insn_facts *facts = &c->env->facts[at];
	u32 slots = MAX(old->slot_cnt, cur->slot_cnt);
	u16 live = facts->live;
	bool leaks = c->env->subprogs[old->subprog].leaks_fp;

	if (old->callsite != cur->callsite || old->subprog != cur->subprog ||
	    old->callback != cur->callback || old->callback_depth > cur->callback_depth)
		return false;
	/* While a callback's helper runs, its caller's argument registers are kept for the next round. */
	for (u32 i = 0; i < REG_FP; i++) {
		if (c->how != COMPARE_SAME && !(live & 1u << i))
			continue;
		if (!top && i == 0)
			continue;
		if (!cover_reg(c, &old->regs[i], &cur->regs[i], facts->exact & 1u << i))
			return false;
	}
	for (u32 i = 0; i < slots; i++) {
		bool passed = !top && leaks, exact = passed || (facts->exact_slots & 1ull << i);

		if (c->how != COMPARE_SAME && !passed && !(facts->live_slots & 1ull << i))
			continue;
		if (!cover_slot(c, i < old->slot_cnt ? &old->slots[i] : NULL,
				i < cur->slot_cnt ? &cur->slots[i] : NULL, exact))
			return false;
	}
	return true;
}

static bool cover(struct verifier *env, const struct state *old, const struct state *cur,
		  enum compare how)
{
	struct comparison c = {.env = env, .how = how};

	if (old->depth != cur->depth || old->ref_cnt != cur->ref_cnt ||
	    old->lock_map != cur->lock_map)
		return false;
	env->id_map_cnt = 0;
	if (!same_id(env, old->lock_uid, cur->lock_uid))
		return false;
	for (u32 i = 0; i < old->ref_cnt; i++) {
		if (!same_id(env, old->refs[i].id, cur->refs[i].id))
			return false;
	}
	for (u32 i = 0; i < old->depth; i++) {
		bool top = i == old->depth - 1;
		const struct frame *inner = top ? NULL : old->frames[i + 1];
		u32 at = top ? env->insn : inner->callsite + (inner->callback ? 0 : 1);

		if (!cover_frame(&c, old->frames[i], cur->frames[i], at, top))
			return false;
	}
	return true;
}

/* Equal for states that COMPARE_SAME calls the same: of the running frame, what is compared without regard to ids. */
static u64 state_print(const struct state *state)
{
	const struct frame *frame = state->frames[state->depth - 1];
	u64 print = frame->callsite;

	for (u32 i = 0; i < REG_FP; i++) {
		const struct reg *reg = &frame->regs[i];

		print = (print ^ reg->type ^ (u64)(u32)reg->off << 8) * 0x9e3779b97f4a7c15ull;
		if (reg->type != REG_NONE)
			print = (print ^ reg->s.bits.value ^ reg->s.umax << 1 ^ reg->s.umin << 2) *
				0x9e3779b97f4a7c15ull;
		print ^= print >> 29;
	}
	return print;
}

static int looping(struct verifier *env, struct state *old)
{
	struct state *cur = env->state;

	log_text(env, "; ");
	verify_reject(env, WHY_INFINITE_LOOP, -1, -EINVAL, "infinite loop detected at insn %u",
		      env->insn);
	log_text(env, "cur state:");
	log_state(env, LOG_STATE_FULL);
	log_text(env, "old state:");
	env->state = old;
	log_state(env, LOG_STATE_FULL);
	env->state = cur;
	return -EINVAL;
}

static bool is_callback_point(const struct verifier *env)
{
	return env->facts[env->insn].force_checkpoint;
}

static void retire(struct checkpoint *checkpoint)
{
	checkpoint->retired = true;
	if (!checkpoint->state.branches)
		state_done(&checkpoint->state);
}

/* Old states that never pruned anything only cost time. */
static bool is_useless(const struct checkpoint *checkpoint)
{
	u32 factor = checkpoint->state.branches ? 64 : 3;

	return checkpoint->misses > checkpoint->hits * factor + factor;
}

/* Meeting a state that is still being explored: PRUNE_COVERED at a callback's helper, an error for an endless loop. */
static int meet_open(struct verifier *env, struct checkpoint *checkpoint, u64 print, bool callback)
{
	struct state *old = &checkpoint->state;

	/* Rounds of a callback are bounded by its helper: going round proves nothing new. */
	if (callback)
		return cover(env, old, env->state, COMPARE_RANGE) ? PRUNE_COVERED : PRUNE_GO_ON;
	/* A round of a callback that changes nothing is no endless loop: its helper counts the rounds. */
	if (old->unroll_depth == env->state->unroll_depth && checkpoint->print == print &&
	    cover(env, old, env->state, COMPARE_SAME))
		return looping(env, old);
	return PRUNE_GO_ON;
}

/* States of one instruction in calls from different places never cover each other. */
static bool same_call(const struct verifier *env, const struct state *old)
{
	return old->depth == env->state->depth &&
	       old->frames[old->depth - 1]->callsite ==
		       env->state->frames[env->state->depth - 1]->callsite;
}

static int compare_all(struct verifier *env, u64 print, bool *ret_keep, u32 *ret_states)
{
	struct checkpoint **link = &env->facts[env->insn].checkpoints, *checkpoint;
	bool callback = is_callback_point(env), keep = *ret_keep;
	bool soon = !(env->request->flags & BPF_F_TEST_STATE_FREQ) &&
		    env->jumps_processed - env->prev_jumps < 20 &&
		    env->processed - env->prev_processed < 100;
	u32 states = 0;
	int outcome = PRUNE_GO_ON;

	for (; (checkpoint = *link);) {
		if (!same_call(env, &checkpoint->state)) {
			link = &checkpoint->next;
			continue;
		}
		states++;
		if (checkpoint->state.branches) {
			if (callback || checkpoint->print == print)
				outcome = meet_open(env, checkpoint, print, callback);
			keep &= !soon;
		} else if (cover(env, &checkpoint->state, env->state, COMPARE_COVER)) {
			checkpoint->hits++;
			outcome = PRUNE_COVERED;
		}
		if (outcome != PRUNE_GO_ON)
			break;
		checkpoint->misses += keep;
		if (is_useless(checkpoint)) {
			*link = checkpoint->next;
			retire(checkpoint);
		} else {
			link = &checkpoint->next;
		}
	}
	*ret_keep = keep;
	*ret_states = states;
	return outcome;
}

static int keep(struct verifier *env, u64 print, u32 states)
{
	struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));
	struct state *cur = env->state;
	int err;

	if (!checkpoint)
		return -ENOMEM;
	err = state_copy(&checkpoint->state, cur);
	if (err) {
		free(checkpoint);
		return err;
	}
	checkpoint->state.insn = env->insn;
	checkpoint->state.branches = 1;
	checkpoint->print = print;
	checkpoint->next = env->facts[env->insn].checkpoints;
	env->facts[env->insn].checkpoints = checkpoint;
	checkpoint->next_all = env->all_checkpoints;
	env->all_checkpoints = checkpoint;
	cur->parent = &checkpoint->state;
	env->total_states++;
	env->peak_states++;
	env->max_states_per_insn = MAX(env->max_states_per_insn, states);
	env->prev_jumps = env->jumps_processed;
	env->prev_processed = env->processed;
	return 0;
}

int prune_visit(struct verifier *env)
{
	bool want = (env->request->flags & BPF_F_TEST_STATE_FREQ) || is_callback_point(env);
	u64 print = state_print(env->state);
	u32 states = 0;
	int outcome, err;

	if (env->jumps_processed - env->prev_jumps >= 2 &&
	    env->processed - env->prev_processed >= 8)
		want = true;
	precise_refresh(env);
	outcome = compare_all(env, print, &want, &states);
	if (outcome != PRUNE_GO_ON || (!want && !is_callback_point(env)))
		return outcome;
	err = keep(env, print, states);
	return err ? err : PRUNE_GO_ON;
}

void prune_path_ended(struct state *state)
{
	struct state *at = state->parent;

	while (at) {
		if (--at->branches)
			return;
		at = at->parent;
	}
}
