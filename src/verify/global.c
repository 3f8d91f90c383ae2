/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/global.h"

#include <linux/btf.h>
#include <string.h>

#include "format/btf.h"
#include "verify/log.h"
#include "verify/memory.h"
#include "verify/pointer.h"
#include "verify/state.h"

#define MAX_ARGS 5

static const struct btf_type *func_of(const struct verifier *env, u32 subprog, u32 *ret_id)
{
	const struct verify_request *request = env->request;
	const struct btf_type *func;
	struct bpf_func_info info;

	if (!request->btf || subprog >= request->func_info_cnt)
		return NULL;
	memcpy(&info, (const char *)request->func_info + (size_t)subprog * request->func_info_rec,
	       sizeof(info));
	func = btf_type_at(request->btf, info.type_id);
	if (!func || BTF_INFO_KIND(func->info) != BTF_KIND_FUNC)
		return NULL;
	*ret_id = info.type_id;
	return func;
}

/* Does a function of this subprogram, or one that it calls, move the packet? Found by going round until nothing is new. */
static void find_packet_changes(struct verifier *env)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (u32 s = 0; s < env->subprog_cnt; s++) {
			struct subprog *subprog = &env->subprogs[s];
			bool moves = false;

			for (u32 i = subprog->start; i < subprog->end && !moves; i++) {
				const struct bpf_insn *insn = &env->insns[i];
				const struct helper_proto *proto =
					insn_is_call_helper(insn)
						? env->host->helper((u32)insn->imm)
						: NULL;
				u32 callee = insn_is_call_subprog(insn)
						     ? subprog_at(env, i + 1 + (u32)insn->imm)
						     : UINT32_MAX;

				moves = proto && proto->flags & PROTO_CHANGES_PACKET;
				moves |= callee != UINT32_MAX && env->subprogs[callee].moves_packet;
			}
			changed |= moves && !subprog->moves_packet;
			subprog->moves_packet |= moves;
		}
	}
}

void global_find(struct verifier *env)
{
	bool any = false;

	for (u32 s = 1; s < env->subprog_cnt; s++) {
		struct subprog *subprog = &env->subprogs[s];
		u32 id;
		const struct btf_type *func = func_of(env, s, &id);

		if (!func || BTF_INFO_VLEN(func->info) != BTF_FUNC_GLOBAL)
			continue;
		subprog->is_global = any = true;
		subprog->name = btf_type_name(env->request->btf, func);
	}
	if (any)
		find_packet_changes(env);
}

/* -- The prototype -- */

static bool has_tag(const struct btf *btf, u32 func_id, u32 arg, const char *tag)
{
	for (u32 id = 1; id <= btf->type_cnt; id++) {
		const struct btf_type *type = btf->types[id];
		const struct btf_decl_tag *where = (const void *)(type + 1);

		if (BTF_INFO_KIND(type->info) == BTF_KIND_DECL_TAG && type->type == func_id &&
		    where->component_idx == (s32)arg && !strcmp(btf_type_name(btf, type), tag))
			return true;
	}
	return false;
}

static bool is_number(const struct btf_type *type)
{
	u32 kind = type ? BTF_INFO_KIND(type->info) : BTF_KIND_UNKN;

	return kind == BTF_KIND_INT || kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64;
}

/* The type by which C programs name the context of each program type. */
static const struct {
	u32 prog_type;
	const char *name;
} contexts[] = {
	{BPF_PROG_TYPE_SOCKET_FILTER, "__sk_buff"},
	{BPF_PROG_TYPE_SCHED_CLS, "__sk_buff"},
	{BPF_PROG_TYPE_SCHED_ACT, "__sk_buff"},
	{BPF_PROG_TYPE_CGROUP_SKB, "__sk_buff"},
	{BPF_PROG_TYPE_LWT_IN, "__sk_buff"},
	{BPF_PROG_TYPE_LWT_OUT, "__sk_buff"},
	{BPF_PROG_TYPE_LWT_XMIT, "__sk_buff"},
	{BPF_PROG_TYPE_SK_SKB, "__sk_buff"},
	{BPF_PROG_TYPE_XDP, "xdp_md"},
	{BPF_PROG_TYPE_KPROBE, "bpf_user_pt_regs_t"},
	{BPF_PROG_TYPE_KPROBE, "pt_regs"},
	{BPF_PROG_TYPE_KPROBE, "user_pt_regs"},
	{BPF_PROG_TYPE_PERF_EVENT, "bpf_perf_event_data"},
	{BPF_PROG_TYPE_RAW_TRACEPOINT, "bpf_raw_tracepoint_args"},
	{BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, "bpf_raw_tracepoint_args"},
	{BPF_PROG_TYPE_SOCK_OPS, "bpf_sock_ops"},
	{BPF_PROG_TYPE_CGROUP_SOCK, "bpf_sock"},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "bpf_sock_addr"},
	{BPF_PROG_TYPE_CGROUP_DEVICE, "bpf_cgroup_dev_ctx"},
	{BPF_PROG_TYPE_CGROUP_SYSCTL, "bpf_sysctl"},
	{BPF_PROG_TYPE_CGROUP_SOCKOPT, "bpf_sockopt"},
	{BPF_PROG_TYPE_SK_LOOKUP, "bpf_sk_lookup"},
	{BPF_PROG_TYPE_SK_MSG, "sk_msg_md"},
	{BPF_PROG_TYPE_SK_REUSEPORT, "sk_reuseport_md"},
	{BPF_PROG_TYPE_FLOW_DISSECTOR, "__sk_buff"},
};

/* Is a pointer to this type one to the context? Typedefs count by their name too. */
static bool is_context(const struct verifier *env, u32 id)
{
	const struct btf *btf = env->request->btf;

	for (;;) {
		const struct btf_type *type = btf_type_at(btf, id);
		u32 kind = type ? BTF_INFO_KIND(type->info) : BTF_KIND_UNKN;

		for (u32 i = 0; type && i < ARRAY_SIZE(contexts); i++) {
			if (contexts[i].prog_type == env->request->prog_type &&
			    (kind == BTF_KIND_STRUCT || kind == BTF_KIND_TYPEDEF) &&
			    !strcmp(btf_type_name(btf, type), contexts[i].name))
				return true;
		}
		if (kind != BTF_KIND_TYPEDEF && kind != BTF_KIND_CONST &&
		    kind != BTF_KIND_VOLATILE && kind != BTF_KIND_RESTRICT)
			return false;
		id = type->type;
	}
}

static int read_pointer(struct verifier *env, u32 func_id, u32 number, u32 pointee,
			struct global_arg *ret_arg)
{
	const struct btf *btf = env->request->btf;
	const struct btf_type *type = btf_type_at(btf, btf_skip_modifiers(btf, pointee));
	s64 size;

	if (is_context(env, pointee) || has_tag(btf, func_id, number, "arg:ctx")) {
		*ret_arg = (struct global_arg){.kind = GLOBAL_CTX};
		return 0;
	}
	size = type ? btf_size_of(btf, pointee) : -EINVAL;
	if (size < 0)
		return verify_reject(
			env, WHY_CALL, -1, -EINVAL,
			"arg#%u reference type('%s %s') size cannot be determined: %lld", number,
			type ? "FWD" : "UNKNOWN", type ? btf_type_name(btf, type) : "",
			(long long)size);
	*ret_arg = (struct global_arg){
		.kind = GLOBAL_MEM,
		.size = (u32)size,
		.maybe_null = !has_tag(btf, func_id, number, "arg:nonnull"),
	};
	return 0;
}

static int read_prototype(struct verifier *env, u32 number)
{
	struct subprog *subprog = &env->subprogs[number];
	const struct btf *btf = env->request->btf;
	u32 id = 0, count;
	const struct btf_type *func = func_of(env, number, &id),
			      *proto = func ? btf_type_at(btf, func->type) : NULL;
	const struct btf_param *params = (const void *)(proto + 1);

	if (!proto || BTF_INFO_KIND(proto->info) != BTF_KIND_FUNC_PROTO)
		return -EINVAL;
	count = BTF_INFO_VLEN(proto->info);
	if (count > MAX_ARGS)
		return verify_reject(env, WHY_CALL, -1, -EINVAL,
				     "Global function %s() with %u > %d args. Buggy compiler.",
				     subprog->name, count, MAX_ARGS);
	if (!is_number(btf_type_at(btf, btf_skip_modifiers(btf, proto->type))))
		return verify_reject(
			env, WHY_CALL, -1, -EINVAL,
			"Global function %s() doesn't return scalar. Only those are supported.",
			subprog->name);
	for (u32 i = 0; i < count; i++) {
		const struct btf_type *type =
			btf_type_at(btf, btf_skip_modifiers(btf, params[i].type));
		int err = 0;

		if (is_number(type))
			subprog->args[i] = (struct global_arg){.kind = GLOBAL_NUMBER};
		else if (type && BTF_INFO_KIND(type->info) == BTF_KIND_PTR)
			err = read_pointer(env, id, i, type->type, &subprog->args[i]);
		else
			err = verify_reject(env, WHY_CALL, -1, -EINVAL,
					    "Arg#%u type %s in %s() is not supported yet.", i,
					    type ? btf_type_name(btf, type) : "void",
					    subprog->name);
		if (err)
			return err;
	}
	subprog->arg_cnt = count;
	return 0;
}

/* -- Calls -- */

static int check_memory(struct verifier *env, int regno, const struct global_arg *arg, u32 number)
{
	struct reg *reg = &running_regs(env)[regno], saved = *reg;
	int err;

	if (reg_is_null(reg) || reg->maybe_null) {
		if (!arg->maybe_null)
			return verify_reject(env, WHY_NULL, regno, -EINVAL,
					     "arg#%u is expected to be non-NULL", number);
		if (reg_is_null(reg))
			return 0;
	}
	/* The function finds out whether it is NULL: where it is not, all of it must be there. */
	reg->maybe_null = false;
	err = memory_helper_access(env, regno, arg->size, MEMORY_READ, true, false);
	if (!err)
		err = memory_helper_access(env, regno, arg->size, MEMORY_WRITE, true, false);
	*reg = saved;
	return err;
}

static int check_arg(struct verifier *env, int regno, const struct global_arg *arg, u32 number)
{
	const struct reg *reg = &running_regs(env)[regno];

	switch (arg->kind) {
	case GLOBAL_NUMBER:
		if (reg->type == REG_SCALAR)
			return 0;
		return verify_reject(env, WHY_CALL, regno, -EINVAL, "R%d is not a scalar", regno);
	case GLOBAL_CTX:
		if (reg->type != PTR_CTX)
			return verify_reject(env, WHY_CALL, regno, -EINVAL,
					     "arg#%u expects pointer to ctx", number);
		return pointer_check_unmoved(env, reg, regno, false);
	default:
		return check_memory(env, regno, arg, number);
	}
}

static bool logs(const struct verifier *env)
{
	return env->request->log_level & (LOG_LEVEL1 | LOG_LEVEL2);
}

static int check_args(struct verifier *env, u32 number)
{
	struct subprog *subprog = &env->subprogs[number];
	int err = subprog->is_called ? 0 : read_prototype(env, number);

	for (u32 i = 0; i < subprog->arg_cnt && !err; i++)
		err = check_arg(env, (int)i + 1, &subprog->args[i], i);
	return err;
}

int global_call(struct verifier *env, u32 number, u32 *ret_next)
{
	struct subprog *subprog = &env->subprogs[number];
	struct reg *regs = running_regs(env);
	int err = check_args(env, number);

	if (env->state->lock_map)
		return verify_reject(
			env, WHY_LOCK, -1, -EINVAL,
			"global function calls are not allowed while holding a lock,\nuse static function instead");
	if (err) {
		log_text(env, "Caller passes invalid args into func#%u ('%s')\n", number,
			 subprog->name);
		return err;
	}
	if (logs(env))
		log_text(env, "Func#%u ('%s') is global and assumed valid.\n", number,
			 subprog->name);
	subprog->is_called = true;
	if (subprog->moves_packet)
		ref_forget_packet(env);
	for (u32 i = 0; i <= 5; i++)
		reg_set_none(&regs[i]);
	reg_set_unknown(&regs[0]);
	env->logged_changes |= 1;
	*ret_next = env->insn + 1;
	return 0;
}

/* -- The function itself -- */

void global_enter(struct verifier *env, u32 number)
{
	struct subprog *subprog = &env->subprogs[number];
	struct reg *regs = running_regs(env);

	for (u32 i = 0; i < subprog->arg_cnt; i++) {
		struct global_arg *arg = &subprog->args[i];
		struct reg *reg = &regs[i + 1];

		switch (arg->kind) {
		case GLOBAL_NUMBER:
			reg_set_unknown(reg);
			break;
		case GLOBAL_CTX:
			reg_set_pointer(reg, PTR_CTX);
			break;
		default:
			reg_set_pointer(reg, PTR_MEM);
			reg->mem_size = arg->size;
			reg->maybe_null = arg->maybe_null;
			reg->id = arg->maybe_null ? ++env->next_id : 0;
			break;
		}
	}
	if (logs(env))
		log_text(env, "Validating %s() func#%u...\n", subprog->name, number);
}

u32 global_next(struct verifier *env)
{
	for (u32 s = 1; s < env->subprog_cnt; s++) {
		struct subprog *subprog = &env->subprogs[s];

		if (subprog->is_global && subprog->is_called && !subprog->is_proved) {
			subprog->is_proved = true;
			return s;
		}
	}
	return UINT32_MAX;
}
