/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "verify/alu.h"
#include "verify/global.h"
#include "verify/log.h"
#include "verify/pointer.h"
#include "verify/state.h"
#include "verify/walk.h"

/* Pushes a frame for subprog on state; its registers are unwritten but r10. */
static int push_frame(struct verifier *env, struct state *state, u32 subprog, u32 callsite)
{
	if (state->depth == INSN_MAX_FRAMES)
		return verify_reject(env, WHY_CALL_DEPTH, -1, -E2BIG,
				     "the call stack of %u frames is too deep", state->depth + 1);
	state->frames[state->depth] = frame_new(state->depth, subprog, callsite);
	if (!state->frames[state->depth])
		return -ENOMEM;
	state->depth++;
	return 0;
}

int call_subprog(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next)
{
	struct frame *caller = running(env), *callee;
	u32 start = env->insn + 1 + (u32)insn->imm, subprog = subprog_at(env, start);
	int err;

	if (env->subprogs[subprog].is_global)
		return global_call(env, subprog, ret_next);
	err = push_frame(env, env->state, subprog, env->insn);
	if (err)
		return err;
	callee = running(env);
	for (u32 i = 1; i <= 5; i++) {
		callee->regs[i] = caller->regs[i];
		reg_set_none(&caller->regs[i]);
	}
	reg_set_none(&caller->regs[0]);
	if (env->request->log_level & (LOG_LEVEL1 | LOG_LEVEL2)) {
		log_text(env, "caller:\n");
		env->state->depth--;
		log_state(env, LOG_STATE_FULL);
		env->state->depth++;
		log_text(env, "callee:\n");
		log_state(env, LOG_STATE_FULL);
	}
	*ret_next = start;
	return 0;
}

static void set_callback_args(struct verifier *env, struct frame *caller, struct frame *callee,
			      u32 helper, const struct verify_map *map)
{
	if (helper == BPF_FUNC_loop) {
		reg_set_unknown(&callee->regs[1]);
		callee->regs[2] = caller->regs[3];
		callee->callback = CALLBACK_LOOP;
		return;
	}
	reg_set_pointer(&callee->regs[1], PTR_MAP);
	callee->regs[1].map = map;
	reg_set_pointer(&callee->regs[2], PTR_MAP_KEY);
	callee->regs[2].map = map;
	reg_set_pointer(&callee->regs[3], PTR_MAP_VALUE);
	callee->regs[3].map = map;
	callee->regs[3].map_uid = ++env->next_id;
	callee->regs[4] = caller->regs[3];
	callee->callback = CALLBACK_FOR_EACH;
}

static u64 greatest(const struct reg *reg)
{
	return reg->type == REG_SCALAR ? reg->s.umax : UINT64_MAX;
}

int call_callback(struct verifier *env, const struct bpf_insn *insn, u32 helper, u32 subprog,
		  const struct verify_map *map, u32 *ret_next)
{
	struct frame *caller = running(env);
	struct state *once;
	int err = 0;

	(void)insn;
	if (helper != BPF_FUNC_loop && helper != BPF_FUNC_for_each_map_elem)
		return verify_reject(env, WHY_UNSUPPORTED, -1, -EINVAL,
				     "callback of helper#%u is not supported", helper);
	env->subprogs[subprog].is_callback = true;
	/* No more rounds than the helper can make: of a constant few each is walked, of none nothing. */
	if (helper != BPF_FUNC_loop || caller->callback_depth < greatest(&caller->regs[1])) {
		once = walk_push(env, env->subprogs[subprog].start, env->insn, &err);
		if (!once)
			return err;
		once->unroll_depth++;
		once->frames[once->depth - 1]->callback_depth++;
		err = push_frame(env, once, subprog, env->insn);
		if (err)
			return err;
		set_callback_args(env, once->frames[once->depth - 2], once->frames[once->depth - 1],
				  helper, map);
	}
	caller->callback_depth = 0;
	for (u32 i = 0; i <= 5; i++)
		reg_set_none(&running_regs(env)[i]);
	reg_set_unknown(&running_regs(env)[0]);
	env->logged_changes |= 1;
	*ret_next = env->insn + 1;
	return 0;
}

static int check_range(struct verifier *env, const char *where, s32 min, s32 max)
{
	const struct reg *r0 = &running_regs(env)[0];
	char name[REG_TYPE_NAME_MAX], least[32] = "", most[32] = "";

	if (r0->type != REG_SCALAR)
		return verify_reject(env, WHY_RETURN, 0, -EINVAL,
				     "%s the register R0 is not a known value (%s)", where,
				     reg_type_name(r0, name));
	if (r0->s.smin >= min && r0->s.smax <= max)
		return 0;
	if (r0->s.smin > INT64_MIN)
		snprintf(least, sizeof(least), " smin=%lld", (long long)r0->s.smin);
	if (r0->s.smax < INT64_MAX)
		snprintf(most, sizeof(most), " smax=%lld", (long long)r0->s.smax);
	return verify_reject(env, WHY_RETURN, 0, -EINVAL,
			     "%s the register R0 has%s%s%s should have been in [%d, %d]", where,
			     least, most, *least || *most ? "" : " unknown scalar value", min, max);
}

/* Return values that program types restrict. */
static const struct {
	u32 prog_type;
	s32 attach_type; /* -1: any other */
	s32 min, max;
} return_ranges[] = {
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, 3},
	{BPF_PROG_TYPE_CGROUP_SKB, -1, 0, 1},
	{BPF_PROG_TYPE_CGROUP_SOCK, -1, 0, 1},
	{BPF_PROG_TYPE_SOCK_OPS, -1, 0, 1},
	{BPF_PROG_TYPE_CGROUP_DEVICE, -1, 0, 1},
	{BPF_PROG_TYPE_CGROUP_SYSCTL, -1, 0, 1},
	{BPF_PROG_TYPE_CGROUP_SOCKOPT, -1, 0, 1},
	{BPF_PROG_TYPE_SK_LOOKUP, -1, 0, 1},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_RECVMSG, 1, 1},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_RECVMSG, 1, 1},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_BIND, 0, 3},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_BIND, 0, 3},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, -1, 0, 1},
	{BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 0, 0},
	{BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, 0, 0},
	{BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, 0, 0},
};

bool call_checks_return(u32 prog_type)
{
	for (u32 i = 0; i < ARRAY_SIZE(return_ranges); i++) {
		if (return_ranges[i].prog_type == prog_type)
			return true;
	}
	return false;
}

static int exit_program(struct verifier *env)
{
	int err = ref_check_none(env, "BPF_EXIT instruction in main prog", true);
	char name[REG_TYPE_NAME_MAX];

	err = err ? err : alu_check_reg(env, 0, REG_READ);
	if (err)
		return err;
	if (running(env)->subprog) {
		if (running_regs(env)[0].type == REG_SCALAR)
			return 0;
		return verify_reject(
			env, WHY_RETURN, 0, -EINVAL,
			"At subprogram exit the register R0 is not a scalar value (%s)",
			reg_type_name(&running_regs(env)[0], name));
	}
	if (pointer_is_secret(env, &running_regs(env)[0]))
		return verify_reject(env, WHY_LEAK, 0, -EACCES, "R0 leaks addr as return value");
	for (u32 i = 0; i < ARRAY_SIZE(return_ranges); i++) {
		if (return_ranges[i].prog_type != env->request->prog_type)
			continue;
		if (return_ranges[i].attach_type < 0 ||
		    (u32)return_ranges[i].attach_type == env->request->attach_type)
			return check_range(env, "At program exit", return_ranges[i].min,
					   return_ranges[i].max);
	}
	return 0;
}

int call_exit(struct verifier *env, u32 *ret_next, bool *ret_done)
{
	struct state *state = env->state;
	struct frame *callee = running(env), *caller;
	int err;

	*ret_done = state->depth == 1;
	if (*ret_done)
		return exit_program(env);
	caller = state->frames[state->depth - 2];
	if (callee->callback != CALLBACK_NONE) {
		err = alu_check_reg(env, 0, REG_READ);
		err = err ? err : check_range(env, "At callback return", 0, 1);
		if (err)
			return err;
		*ret_next = callee->callsite;
	} else {
		if (callee->regs[0].type == PTR_STACK)
			return verify_reject(env, WHY_RETURN, 0, -EINVAL,
					     "cannot return stack pointer to the caller");
		caller->regs[0] = callee->regs[0];
		*ret_next = callee->callsite + 1;
	}
	if (env->request->log_level & (LOG_LEVEL1 | LOG_LEVEL2)) {
		log_text(env, "returning from callee:\n");
		log_state(env, LOG_STATE_FULL);
	}
	frame_free(callee);
	state->frames[--state->depth] = NULL;
	if (env->request->log_level & (LOG_LEVEL1 | LOG_LEVEL2)) {
		log_text(env, "to caller at %u:\n", *ret_next);
		log_state(env, LOG_STATE_FULL);
	}
	return 0;
}

/* -- Depth of the call graph -- */

struct chain {
	u32 subprog, insn, depth_before;
};

static u32 rounded(u32 depth)
{
	return ALIGN_UP(depth, 16u);
}

static u32 called_at(struct verifier *env, u32 i)
{
	const struct bpf_insn *insn = &env->insns[i];

	if (insn_is_call_subprog(insn))
		return subprog_at(env, i + 1 + (u32)insn->imm);
	if (insn_is_ld_imm64(insn) && insn->src_reg == INSN_PSEUDO_FUNC)
		return subprog_at(env, i + 1 + (u32)insn->imm);
	return UINT32_MAX;
}

int call_check_depth(struct verifier *env)
{
	struct chain chain[INSN_MAX_FRAMES + 1] = {{.subprog = 0, .insn = env->subprogs[0].start}};
	u32 top = 0, depth = rounded(env->subprogs[0].stack_depth);

	for (;;) {
		struct chain *at = &chain[top];
		const struct subprog *subprog = &env->subprogs[at->subprog];
		u32 callee = UINT32_MAX;

		while (at->insn < subprog->end && callee == UINT32_MAX)
			callee = called_at(env, at->insn++);
		if (callee == UINT32_MAX) {
			if (!top)
				return 0;
			depth = chain[top--].depth_before;
			continue;
		}
		if (top + 1 >= INSN_MAX_FRAMES)
			return verify_reject(env, WHY_CALL_DEPTH, -1, -E2BIG,
					     "the call stack of %u frames is too deep !", top + 1);
		chain[++top] = (struct chain){callee, env->subprogs[callee].start, depth};
		depth += rounded(env->subprogs[callee].stack_depth);
		if (depth > INSN_MAX_STACK)
			return verify_reject(env, WHY_STACK_DEPTH, -1, -EACCES,
					     "combined stack size of %u calls is %u. Too large",
					     top + 1, depth);
		if (env->subprogs[callee].has_tail_call && chain[top].depth_before >= 256)
			return verify_reject(
				env, WHY_STACK_DEPTH, -1, -EACCES,
				"tail_calls are not allowed when call stack of previous frames is %u bytes. Too large",
				chain[top].depth_before);
	}
}
