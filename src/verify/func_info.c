/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/func_info.h"

#include <linux/btf.h>
#include <string.h>

#include "format/btf.h"
#include "verify/log.h"

/* Does the client's information say that the function returns an int or an enum? */
static bool returns_number(const struct verifier *env, u32 subprog)
{
	const struct verify_request *request = env->request;
	const struct btf_type *type;
	struct bpf_func_info info;

	memcpy(&info, (const char *)request->func_info + (size_t)subprog * request->func_info_rec,
	       sizeof(info));
	type = btf_type_at(request->btf, info.type_id);
	type = type ? btf_type_at(request->btf, type->type) : NULL;
	type = type ? btf_type_at(request->btf, btf_skip_modifiers(request->btf, type->type))
		    : NULL;
	if (!type)
		return false;
	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
		return type->size <= 8;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		return true;
	default:
		return false;
	}
}

static const char *abnormal_end(const struct bpf_insn *insn)
{
	if (insn_is_tail_call(insn))
		return "tail_call";
	if (insn_class(insn) == BPF_LD &&
	    (insn_mode(insn) == BPF_ABS || insn_mode(insn) == BPF_IND))
		return "LD_ABS";
	return NULL;
}

static int check_subprog(struct verifier *env, u32 number)
{
	bool typed = env->request->btf && number < env->request->func_info_cnt;

	for (u32 i = env->subprogs[number].start; i < env->subprogs[number].end; i++) {
		const char *what = abnormal_end(&env->insns[i]);

		if (what && !typed)
			return verify_reject(env, WHY_RETURN, -1, -EINVAL,
					     "%s is not allowed in subprogs without BTF", what);
		if (what && !returns_number(env, number))
			return verify_reject(env, WHY_RETURN, -1, -EINVAL,
					     "%s is only allowed in functions that return 'int'.",
					     what);
		i += insn_is_ld_imm64(&env->insns[i]);
	}
	return 0;
}

int func_info_check_ends(struct verifier *env)
{
	int err = 0;

	for (u32 number = 1; number < env->subprog_cnt && !err; number++)
		err = check_subprog(env, number);
	return err;
}
