/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Paths are walked one instruction at a time from the program's start. At a branch with two possible sides one side is put
 * aside with a copy of the state; when a path ends (exit, or covered by an earlier one) the last one put aside is next.
 */
#include "verify/walk.h"

#include <stdlib.h>

#include "verify/alu.h"
#include "verify/branch.h"
#include "verify/call.h"
#include "verify/global.h"
#include "verify/helper.h"
#include "verify/insn_table.h"
#include "verify/log.h"
#include "verify/memory.h"
#include "verify/prune.h"
#include "verify/state.h"
#include "verify/trail.h"

enum step { STEP_ON, STEP_PATH_ENDED };

struct state *walk_push(struct verifier *env, u32 insn, u32 prev_insn, int *ret_error)
{
	struct pending *pending;

	if (env->pending_cnt >= MAX_PENDING) {
		*ret_error =
			verify_reject(env, WHY_TOO_COMPLEX, -1, -E2BIG,
				      "The sequence of %u jumps is too complex.", env->pending_cnt);
		return NULL;
	}
	*ret_error = -ENOMEM;
	pending = calloc(1, sizeof(*pending));
	if (!pending)
		return NULL;
	pending->state = calloc(1, sizeof(*pending->state));
	if (!pending->state || state_copy(pending->state, env->state)) {
		free(pending->state);
		free(pending);
		return NULL;
	}
	pending->insn = insn;
	pending->prev_insn = prev_insn;
	trail_note(pending->state, prev_insn, insn);
	pending->log_length = env->log->length;
	pending->next = env->pending;
	env->pending = pending;
	env->pending_cnt++;
	if (pending->state->parent)
		pending->state->parent->branches++;
	*ret_error = 0;
	return pending->state;
}

static void free_state(struct state *state)
{
	if (!state)
		return;
	state_done(state);
	free(state);
}

/* Takes the next path. false: none is left. */
static bool pop(struct verifier *env)
{
	struct pending *pending = env->pending;

	prune_path_ended(env->state);
	if (!pending)
		return false;
	free_state(env->state);
	env->state = pending->state;
	env->insn = pending->insn;
	env->prev_insn = pending->prev_insn;
	if (!(env->request->log_level & LOG_LEVEL2))
		log_reset(env, pending->log_length);
	env->pending = pending->next;
	env->pending_cnt--;
	free(pending);
	env->logged_changes = 0x7ff;
	env->logged_slots = ~0ull;
	return true;
}

static int load_imm64(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next)
{
	struct insn_facts *facts = &env->facts[env->insn];
	struct reg *dst;
	int err = alu_check_reg(env, insn->dst_reg, REG_WRITE);

	if (err)
		return err;
	*ret_next = env->insn + 2;
	dst = &running_regs(env)[insn->dst_reg];
	switch (insn->src_reg) {
	case 0:
		reg_set_const(dst, insn_imm64(insn));
		return 0;
	case INSN_PSEUDO_FUNC:
		reg_set_pointer(dst, PTR_FUNC);
		dst->subprog = subprog_at(env, env->insn + 1 + (u32)insn->imm);
		if (!env->request->func_info_cnt)
			return verify_reject(env, WHY_CALL, -1, -EINVAL, "missing btf func_info");
		if (dst->subprog != UINT32_MAX && env->subprogs[dst->subprog].is_global)
			return verify_reject(env, WHY_CALL, -1, -EINVAL,
					     "callback function not static");
		return 0;
	case INSN_PSEUDO_MAP_VALUE:
	case INSN_PSEUDO_MAP_IDX_VALUE:
		reg_set_pointer(dst, PTR_MAP_VALUE);
		dst->off = insn[1].imm;
		dst->map = facts->map;
		return 0;
	default:
		reg_set_pointer(dst, PTR_MAP);
		dst->map = facts->map;
		return 0;
	}
}

static int call(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next)
{
	bool unlock = insn->src_reg == INSN_CALL_HELPER && insn->imm == BPF_FUNC_spin_unlock;

	env->jumps_processed++;
	if (env->state->lock_map && insn->src_reg != INSN_CALL_SUBPROG && !unlock)
		return verify_reject(env, WHY_LOCK, -1, -EINVAL,
				     "function calls are not allowed while holding a lock");
	switch (insn->src_reg) {
	case INSN_CALL_HELPER:
		return helper_call(env, insn, ret_next);
	case INSN_CALL_SUBPROG:
		return call_subprog(env, insn, ret_next);
	default:
		if (!insn->imm)
			return verify_reject(
				env, WHY_CALL, -1, -EINVAL,
				"invalid kernel function call not eliminated in verifier pass");
		return verify_reject(env, WHY_UNSUPPORTED, -1, -EACCES,
				     "calling kernel function #%d is not allowed", insn->imm);
	}
}

static int jump(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next,
		enum step *ret_step)
{
	bool done;
	int err;

	switch (insn_op(insn)) {
	case BPF_CALL:
		return call(env, insn, ret_next);
	case BPF_JA:
		env->jumps_processed++;
		*ret_next =
			env->insn + 1 + (u32)(insn_class(insn) == BPF_JMP ? insn->off : insn->imm);
		return 0;
	case BPF_EXIT:
		env->jumps_processed++;
		err = call_exit(env, ret_next, &done);
		if (!err && done)
			*ret_step = STEP_PATH_ENDED;
		return err;
	default:
		env->jumps_processed++;
		return branch_step(env, insn, ret_next);
	}
}

static int execute(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next,
		   enum step *ret_step)
{
	*ret_next = env->insn + 1;
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		return alu_step(env, insn);
	case BPF_LDX:
		return memory_load(env, insn);
	case BPF_STX:
		return insn_mode(insn) == BPF_ATOMIC ? memory_atomic(env, insn)
						     : memory_store(env, insn);
	case BPF_ST:
		return memory_store(env, insn);
	case BPF_JMP:
	case BPF_JMP32:
		return jump(env, insn, ret_next, ret_step);
	default:
		return insn_is_ld_imm64(insn) ? load_imm64(env, insn, ret_next)
					      : memory_load_packet(env, insn);
	}
}

static void trace(struct verifier *env, bool new_path)
{
	if (!(env->request->log_level & (LOG_LEVEL1 | LOG_LEVEL2)))
		return;
	if (new_path && (env->request->log_level & LOG_LEVEL2) && env->processed > 1) {
		log_text(env, "\nfrom %u to %u:", env->prev_insn, env->insn);
		log_state(env, LOG_STATE_FULL);
	}
	log_insn(env, env->insn);
}

static int check_form(struct verifier *env, const struct bpf_insn *insn)
{
	struct insn_facts *facts = &env->facts[env->insn];
	int err;

	if (facts->checked)
		return 0;
	err = insn_table_check(env, insn);
	facts->checked = !err;
	facts->seen = true;
	return err;
}

/* Decides where the path goes on. */
static bool turns(const struct bpf_insn *insn)
{
	if (insn_class(insn) != BPF_JMP && insn_class(insn) != BPF_JMP32)
		return false;
	return insn_op(insn) != BPF_JA &&
	       (insn_op(insn) != BPF_CALL || insn->src_reg == INSN_CALL_SUBPROG);
}

/* One instruction of the current path, or its end. */
static int step(struct verifier *env, bool new_path, enum step *ret_step)
{
	const struct bpf_insn *insn = &env->insns[env->insn];
	u32 next = 0;
	int err;

	*ret_step = STEP_ON;
	if (++env->processed > env->max_insns)
		return verify_reject(env, WHY_TOO_COMPLEX, -1, -E2BIG,
				     "BPF program is too large. Processed %u insn", env->processed);
	if (env->facts[env->insn].prune_point) {
		int outcome = prune_visit(env);

		if (outcome < 0)
			return outcome;
		if (outcome == PRUNE_COVERED) {
			if (env->request->log_level & (LOG_LEVEL1 | LOG_LEVEL2))
				log_text(env, new_path ? "\nfrom %u to %u: safe\n" : "%u: safe\n",
					 new_path ? env->prev_insn : env->insn, env->insn);
			*ret_step = STEP_PATH_ENDED;
			return 0;
		}
	}
	trace(env, new_path);
	err = check_form(env, insn);
	err = err ? err : execute(env, insn, &next, ret_step);
	if (err)
		return err;
	if (turns(insn))
		trail_note(env->state, env->insn, next);
	env->prev_insn = env->insn;
	env->insn = next;
	return 0;
}

/* A state of its own for the main program (0) or a global function. */
static int start(struct verifier *env, u32 subprog)
{
	free_state(env->state);
	env->state = calloc(1, sizeof(*env->state));
	if (!env->state)
		return -ENOMEM;
	env->state->frames[0] = frame_new(0, subprog, UINT32_MAX);
	if (!env->state->frames[0])
		return -ENOMEM;
	env->state->depth = 1;
	env->insn = env->subprogs[subprog].start;
	if (subprog)
		global_enter(env, subprog);
	else
		reg_set_pointer(&env->state->frames[0]->regs[1], PTR_CTX);
	env->logged_changes = 0x7ff;
	env->logged_slots = ~0ull;
	return 0;
}

/* All paths from the start of the main program or of a global function. */
static int walk_from(struct verifier *env, u32 subprog)
{
	bool new_path = true;
	enum step outcome;
	int err = start(env, subprog);

	while (!err) {
		err = step(env, new_path, &outcome);
		if (err)
			return err;
		new_path = false;
		if (outcome != STEP_PATH_ENDED)
			continue;
		if (!pop(env))
			break;
		new_path = true;
	}
	if (!err && !(env->request->log_level & LOG_LEVEL2))
		log_reset(env, 0);
	return err;
}

int walk_program(struct verifier *env)
{
	int err = walk_from(env, 0);
	u32 subprog;

	while (!err && (subprog = global_next(env)) != UINT32_MAX) {
		err = walk_from(env, subprog);
		if (!err && env->request->log_level & LOG_LEVEL2)
			log_text(env,
				 "Func#%u ('%s') is safe for any args that match its prototype\n",
				 subprog, env->subprogs[subprog].name);
	}
	return err;
}

void walk_done(struct verifier *env)
{
	free_state(env->state);
	env->state = NULL;
	while (env->pending) {
		struct pending *pending = env->pending;

		env->pending = pending->next;
		free_state(pending->state);
		free(pending);
	}
	while (env->all_checkpoints) {
		struct checkpoint *checkpoint = env->all_checkpoints;

		env->all_checkpoints = checkpoint->next_all;
		state_done(&checkpoint->state);
		free(checkpoint);
	}
}
