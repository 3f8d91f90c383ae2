/* SPDX-License-Identifier: BSD-2-Clause */
/* The passes in order: the table of contents of the verifier. */
#include "verify/verify.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "verify/call.h"
#include "verify/cfg.h"
#include "verify/ctx.h"
#include "verify/func_info.h"
#include "verify/global.h"
#include "verify/log.h"
#include "verify/precise.h"
#include "verify/rewrite.h"
#include "verify/verify_priv.h"
#include "verify/walk.h"

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

static int run_passes(struct verifier *env)
{
	int err;

	err = cfg_subprogs(env);
	if (err)
		return err;
	err = func_info_check_ends(env);
	if (err)
		return err;
	global_find(env);
	err = rewrite_resolve(env);
	if (err)
		return err;
	err = cfg_check(env);
	if (err)
		return err;
	err = precise_analyse(env);
	if (err)
		return err;
	err = walk_program(env);
	if (err)
		return err;
	return call_check_depth(env);
}

static int setup(struct verifier *env, struct verify_request *request)
{
	if (!request->insn_cnt || request->insn_cnt > INSN_MAX_COUNT)
		return -E2BIG;
	env->ctx = ctx_rules_of(request->prog_type);
	if (!env->ctx)
		return -EINVAL;
	env->insns = request->insns;
	env->insn_cnt = request->insn_cnt;
	env->privileged = request->privileged;
	env->allow_uninit_stack = request->privileged && !request->refuse_uninit_stack;
	env->strict_align = (request->flags & BPF_F_STRICT_ALIGNMENT) &&
			    !(request->flags & BPF_F_ANY_ALIGNMENT);
	if (request->flags & BPF_F_STRICT_ALIGNMENT)
		env->strict_align = true;
	env->max_insns = request->max_insns ? request->max_insns : INSN_MAX_COUNT;
	env->facts = calloc(request->insn_cnt, sizeof(*env->facts));
	return env->facts ? 0 : -ENOMEM;
}

int verify_program(struct verify_request *request, const struct verify_host *host,
		   struct verify_log *log, struct verify_result *result)
{
	struct verifier *env = calloc(1, sizeof(*env));
	u64 started = now();
	int err;

	memset(result, 0, sizeof(*result));
	if (!env)
		return -ENOMEM;
	env->request = request;
	env->host = host;
	env->log = log;
	env->result = result;
	err = setup(env, request);
	if (!err)
		err = run_passes(env);
	if (!err)
		err = rewrite_program(env);
	result->insn_processed = env->processed;
	result->total_states = env->total_states;
	result->peak_states = env->peak_states;
	result->time_ns = now() - started;
	log_stats(env);
	if (err)
		explain_reason(env);
	walk_done(env);
	free(env->facts);
	free(env);
	return err;
}
