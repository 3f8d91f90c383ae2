/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/cfg.h"

#include <stdlib.h>

static bool refers_to_subprog(const struct bpf_insn *insn)
{
	return insn_is_call_subprog(insn) ||
	       (insn_is_ld_imm64(insn) && insn->src_reg == INSN_PSEUDO_FUNC);
}

/* -- Subprograms -- */

static int add_subprog(struct verifier *env, s64 start)
{
	u32 i = 0;

	if (start < 0 || start >= env->insn_cnt)
		return verify_reject(env, WHY_CALL, -1, -EINVAL, "call to invalid destination");
	while (i < env->subprog_cnt && env->subprogs[i].start < start)
		i++;
	if (i < env->subprog_cnt && env->subprogs[i].start == start)
		return 0;
	if (env->subprog_cnt >= VERIFY_MAX_SUBPROGS)
		return verify_reject(env, WHY_CALL, -1, -E2BIG, "too many subprograms");
	for (u32 k = env->subprog_cnt; k > i; k--)
		env->subprogs[k] = env->subprogs[k - 1];
	env->subprogs[i] = (struct subprog){.start = (u32)start};
	env->subprog_cnt++;
	return 0;
}

static int check_subprog(struct verifier *env, struct subprog *subprog)
{
	for (u32 i = subprog->start; i < subprog->end; i++) {
		const struct bpf_insn *insn = &env->insns[i];
		s64 target;

		if (cfg_is_jump(insn)) {
			target = cfg_jump_target(insn, i);
			if (target < subprog->start || target >= subprog->end)
				return verify_reject(env, WHY_BAD_JUMP, -1, -EINVAL,
						     "jump out of range from insn %u to %lld", i,
						     (long long)target);
			subprog->has_back_edge |= target <= i;
		}
		if (i == subprog->end - 1 && !cfg_is_exit(insn) && !cfg_is_unconditional(insn))
			return verify_reject(env, WHY_BAD_JUMP, -1, -EINVAL,
					     "last insn is not an exit or jmp");
	}
	return 0;
}

int cfg_subprogs(struct verifier *env)
{
	int err = add_subprog(env, 0);

	for (u32 i = 0; i < env->insn_cnt && !err; i++) {
		const struct bpf_insn *insn = &env->insns[i];

		if (!refers_to_subprog(insn))
			continue;
		if (!env->privileged)
			return verify_reject(
				env, WHY_CALL, -1, -EPERM,
				"loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN");
		env->insn = i;
		err = add_subprog(env, (s64)i + 1 + insn->imm);
	}
	for (u32 i = 0; i < env->subprog_cnt && !err; i++) {
		env->subprogs[i].end =
			i + 1 < env->subprog_cnt ? env->subprogs[i + 1].start : env->insn_cnt;
		err = check_subprog(env, &env->subprogs[i]);
	}
	env->insn = 0;
	return err;
}

/* -- Reachability -- */

#define VISITED	 1
#define FINISHED 2

struct search {
	u8 *mark;     /* per instruction */
	u32 *stack;   /* instructions being visited */
	u8 *progress; /* per instruction: edges already followed */
	u32 top;
};

static u32 edges(const struct verifier *env, u32 at, u32 next[3])
{
	const struct bpf_insn *insn = &env->insns[at];
	u32 count = cfg_successors(env, at, next);

	if (refers_to_subprog(insn))
		next[count++] = at + 1 + (u32)insn->imm;
	return count;
}

static void mark_points(struct verifier *env, u32 at)
{
	const struct bpf_insn *insn = &env->insns[at];

	if (!cfg_is_unconditional(insn) && (cfg_is_jump(insn) || refers_to_subprog(insn)))
		env->facts[at].prune_point = true;
	if (cfg_is_jump(insn))
		env->facts[cfg_jump_target(insn, at)].prune_point = true;
	if (insn_is_call_subprog(insn)) {
		env->facts[at + 1].prune_point = true;
		env->facts[at + 1 + (u32)insn->imm].prune_point = true;
	}
	if (insn_is_call_helper(insn) &&
	    (insn->imm == BPF_FUNC_loop || insn->imm == BPF_FUNC_for_each_map_elem)) {
		env->facts[at].prune_point = true;
		env->facts[at].force_checkpoint = true;
	}
}

static int visit(struct verifier *env, struct search *s)
{
	u32 at = s->stack[s->top - 1], next[3], count = edges(env, at, next);

	if (s->progress[at] == count) {
		s->mark[at] = FINISHED;
		s->top--;
		return 0;
	}
	next[0] = next[s->progress[at]++];
	if (next[0] >= env->insn_cnt)
		return verify_reject(env, WHY_BAD_JUMP, -1, -EINVAL,
				     "jump out of range from insn %u to %u", at, next[0]);
	if (s->mark[next[0]] == VISITED && !env->privileged && !refers_to_subprog(&env->insns[at]))
		return verify_reject(env, WHY_BACK_EDGE, -1, -EINVAL,
				     "back-edge from insn %u to %u", at, next[0]);
	if (s->mark[next[0]])
		return 0;
	s->mark[next[0]] = VISITED;
	mark_points(env, next[0]);
	s->stack[s->top++] = next[0];
	return 0;
}

static int all_reached(struct verifier *env, const struct search *s)
{
	for (u32 i = 0; i < env->insn_cnt; i++) {
		if (!s->mark[i])
			return verify_reject(env, WHY_UNREACHABLE, -1, -EINVAL,
					     "unreachable insn %u", i);
		if (insn_is_ld_imm64(&env->insns[i])) {
			if (s->mark[i + 1])
				return verify_reject(env, WHY_BAD_JUMP, -1, -EINVAL,
						     "jump into the middle of ldimm64 insn %u", i);
			i++;
		}
	}
	return 0;
}

int cfg_check(struct verifier *env)
{
	struct search s = {0};
	int err = -ENOMEM;

	s.mark = calloc(env->insn_cnt, 1);
	s.progress = calloc(env->insn_cnt, 1);
	s.stack = calloc(env->insn_cnt, sizeof(*s.stack));
	if (!s.mark || !s.progress || !s.stack)
		goto out_free;
	s.mark[0] = VISITED;
	mark_points(env, 0);
	s.stack[s.top++] = 0;
	err = 0;
	while (s.top && !err)
		err = visit(env, &s);
	if (!err)
		err = all_reached(env, &s);
out_free:
	free(s.mark);
	free(s.progress);
	free(s.stack);
	return err;
}
