/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/helper.h"

#include <string.h>

#include "format/image.h"
#include "verify/alu.h"
#include "verify/call.h"
#include "verify/ctx.h"
#include "verify/helper_map.h"
#include "verify/log.h"
#include "verify/memory.h"
#include "verify/pointer.h"
#include "verify/stack.h"
#include "verify/state.h"

#define MAX_SIZE_ARG (1 << 29)

/* What one call's arguments have said so far. */
struct call_info {
	const struct helper_proto *proto;
	const struct verify_map *map;
	u32 map_uid;
	u32 ref_id; /* of an argument */
	u32 alloc_size;
	u64 size_max;
	bool key_known; /* an array's key that is a constant inside it */
	int callback;	/* subprogram, -1: none */
};

/* -- Register types an argument accepts -- */

struct accepts {
	u32 types; /* bit = enum reg_type */
	const char *names;
	bool or_null;
};

#define T(type) (1u << (type))
#define MEM_TYPES                                                                                  \
	(T(PTR_STACK) | T(PTR_PACKET) | T(PTR_PACKET_META) | T(PTR_MAP_KEY) | T(PTR_MAP_VALUE) |   \
	 T(PTR_MEM) | T(PTR_RINGBUF))
#define MEM_NAMES    "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"
#define SOCKET_TYPES (T(PTR_SOCK) | T(PTR_SOCK_COMMON) | T(PTR_TCP_SOCK) | T(PTR_XDP_SOCK))

static const struct accepts accepts[ARG_TYPE_MAX] = {
	[ARG_CONST_MAP_PTR] = {T(PTR_MAP), "map_ptr", false},
	[ARG_PTR_TO_MAP_KEY] = {MEM_TYPES, MEM_NAMES, false},
	[ARG_PTR_TO_MAP_VALUE] = {MEM_TYPES, MEM_NAMES, false},
	[ARG_PTR_TO_MAP_VALUE_OR_NULL] = {MEM_TYPES, MEM_NAMES, true},
	[ARG_PTR_TO_UNINIT_MAP_VALUE] = {MEM_TYPES, MEM_NAMES, false},
	[ARG_PTR_TO_MEM] = {MEM_TYPES, MEM_NAMES, false},
	[ARG_PTR_TO_MEM_OR_NULL] = {MEM_TYPES, MEM_NAMES, true},
	[ARG_PTR_TO_UNINIT_MEM] = {MEM_TYPES, MEM_NAMES, false},
	[ARG_CONST_SIZE] = {T(REG_SCALAR), "scalar", false},
	[ARG_CONST_SIZE_OR_ZERO] = {T(REG_SCALAR), "scalar", false},
	[ARG_CONST_ALLOC_SIZE_OR_ZERO] = {T(REG_SCALAR), "scalar", false},
	[ARG_PTR_TO_CTX] = {T(PTR_CTX), "ctx", false},
	[ARG_PTR_TO_CTX_OR_NULL] = {T(PTR_CTX), "ctx", true},
	[ARG_PTR_TO_ALLOC_MEM] = {T(PTR_RINGBUF), "ringbuf_mem", false},
	[ARG_PTR_TO_LONG] = {MEM_TYPES, MEM_NAMES, false},
	[ARG_PTR_TO_INT] = {MEM_TYPES, MEM_NAMES, false},
	[ARG_PTR_TO_CONST_STR] = {T(PTR_MAP_VALUE), "map_value", false},
	[ARG_PTR_TO_FUNC] = {T(PTR_FUNC), "func", false},
	[ARG_PTR_TO_STACK_OR_NULL] = {T(PTR_STACK), "fp", true},
	[ARG_PTR_TO_SPIN_LOCK] = {T(PTR_MAP_VALUE), "map_value, ptr_", false},
	[ARG_PTR_TO_TIMER] = {T(PTR_MAP_VALUE), "map_value", false},
	[ARG_PTR_TO_DYNPTR] = {0, "fp, dynptr_ptr", false},
	[ARG_PTR_TO_BTF_ID] = {T(PTR_BTF_ID), "ptr_, trusted_ptr_, rcu_ptr_", false},
	[ARG_PTR_TO_SOCKET] = {T(PTR_SOCK), "sock", false},
	[ARG_PTR_TO_SOCK_COMMON] = {SOCKET_TYPES, "sock_common, sock, tcp_sock, xdp_sock", false},
	[ARG_PTR_TO_BTF_ID_SOCK_COMMON] =
		{SOCKET_TYPES | T(PTR_BTF_ID),
		 "sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_", false},
	[ARG_PTR_TO_XDP_SOCK] = {T(PTR_XDP_SOCK), "xdp_sock", false},
};

static bool writes_memory(enum arg_type type)
{
	return type == ARG_PTR_TO_UNINIT_MEM || type == ARG_PTR_TO_UNINIT_MAP_VALUE ||
	       type == ARG_PTR_TO_LONG || type == ARG_PTR_TO_INT;
}

static int check_type(struct verifier *env, int regno, enum arg_type type)
{
	const struct reg *reg = &running_regs(env)[regno];
	const struct accepts *accept = &accepts[type];
	char name[REG_TYPE_NAME_MAX];

	if ((accept->types & T(reg->type)) && (!reg->maybe_null || accept->or_null) &&
	    !(reg->readonly && writes_memory(type)))
		return 0;
	return verify_reject(env, reg->maybe_null ? WHY_NULL : WHY_HELPER_ARG, regno, -EACCES,
			     "R%d type=%s expected=%s", regno, reg_type_name(reg, name),
			     accept->names);
}

static bool is_release_arg(const struct helper_proto *proto, int index)
{
	return (proto->flags & PROTO_RELEASES) && index == 0;
}

/* Which kinds may have been moved before they are passed. */
static int check_offset(struct verifier *env, int regno, bool released)
{
	const struct reg *reg = &running_regs(env)[regno];

	if (released) {
		if (reg->ref_id && (reg->off || !scalar_is_zero(&reg->s)))
			return verify_reject(
				env, WHY_REFERENCE, regno, -EINVAL,
				"R%d must have zero offset when passed to release func or trusted arg to kfunc",
				regno);
		return pointer_check_unmoved(env, reg, regno, false);
	}
	switch (reg->type) {
	case REG_SCALAR:
	case PTR_STACK:
	case PTR_PACKET:
	case PTR_PACKET_META:
	case PTR_MAP_KEY:
	case PTR_MAP_VALUE:
	case PTR_MEM:
	case PTR_RINGBUF:
		return 0;
	default:
		return pointer_check_unmoved(env, reg, regno, false);
	}
}

/* -- Arguments by kind -- */

static int map_memory(struct verifier *env, struct call_info *call, int regno, enum arg_type type)
{
	bool key = type == ARG_PTR_TO_MAP_KEY;
	u32 size;
	int err;

	if (!call->map)
		return verify_reject(env, WHY_HELPER_ARG, regno, -EACCES,
				     "invalid map_ptr to access map->%s", key ? "key" : "value");
	size = key ? call->map->key_size : call->map->value_size;
	err = memory_helper_access(env, regno, size,
				   writes_memory(type) ? MEMORY_WRITE : MEMORY_READ,
				   !writes_memory(type), false);
	if (!err && key)
		call->key_known = helper_map_key_known(env, call->map, regno);
	return err;
}

static enum memory_use use_of(const struct call_info *call, int regno)
{
	return writes_memory(call->proto->args[regno - 1]) ? MEMORY_WRITE : MEMORY_READ;
}

static int size_arg(struct verifier *env, struct call_info *call, int regno, bool zero_ok)
{
	const struct scalar *size = &running_regs(env)[regno].s;
	bool raw = use_of(call, regno - 1) == MEMORY_WRITE && scalar_is_const(size);

	call->size_max = size->umax;
	if (size->smin < 0)
		return verify_reject(
			env, WHY_HELPER_SIZE, regno, -EACCES,
			"R%d min value is negative, either use unsigned or 'var &= const'", regno);
	if (!size->umin && !zero_ok)
		return verify_reject(env, WHY_HELPER_SIZE, regno, -EACCES,
				     "R%d invalid zero-sized read: u64=[%lld,%lld]", regno,
				     (long long)size->umin, (long long)size->umax);
	if (size->umax >= MAX_SIZE_ARG)
		return verify_reject(
			env, WHY_UNBOUNDED, regno, -EACCES,
			"R%d unbounded memory access, use 'var &= const' or 'if (var < const)'",
			regno);
	return memory_helper_access(env, regno - 1, (s64)size->umax, use_of(call, regno - 1), !raw,
				    zero_ok);
}

static int const_string(struct verifier *env, int regno)
{
	const struct reg *reg = &running_regs(env)[regno];
	s64 off;

	if (!reg->map->readonly_prog || !reg->map->frozen)
		return verify_reject(env, WHY_HELPER_ARG, regno, -EACCES,
				     "R%d does not point to a readonly map'", regno);
	if (!scalar_is_const(&reg->s))
		return verify_reject(env, WHY_HELPER_ARG, regno, -EACCES,
				     "R%d is not a constant address'", regno);
	if (!reg->map->value || reg->map->max_entries != 1)
		return verify_reject(env, WHY_HELPER_ARG, regno, -EACCES,
				     "no direct value access support for this map type");
	off = reg->off + (s64)reg->s.bits.value;
	if (off < 0 || off >= reg->map->value_size)
		return memory_helper_access(env, regno, reg->map->value_size - off, MEMORY_READ,
					    true, false);
	if (!memchr((const char *)reg->map->value + off, 0, reg->map->value_size - (size_t)off))
		return verify_reject(env, WHY_HELPER_ARG, regno, -EINVAL,
				     "string is not zero-terminated");
	return 0;
}

static int alloc_size(struct verifier *env, struct call_info *call, int regno)
{
	const struct reg *reg = &running_regs(env)[regno];

	if (!scalar_is_const(&reg->s))
		return verify_reject(env, WHY_HELPER_SIZE, regno, -EACCES,
				     "R%d is not a known constant'", regno);
	call->alloc_size = (u32)reg->s.bits.value;
	return 0;
}

static int map_arg(struct verifier *env, struct call_info *call, int regno)
{
	const struct reg *reg = &running_regs(env)[regno];

	(void)env;
	call->map = reg->map;
	call->map_uid = reg->map_uid;
	return 0;
}

static int by_kind(struct verifier *env, struct call_info *call, int regno, enum arg_type type)
{
	switch (type) {
	case ARG_CONST_MAP_PTR:
		return map_arg(env, call, regno);
	case ARG_PTR_TO_MAP_KEY:
	case ARG_PTR_TO_MAP_VALUE:
	case ARG_PTR_TO_MAP_VALUE_OR_NULL:
	case ARG_PTR_TO_UNINIT_MAP_VALUE:
		return map_memory(env, call, regno, type);
	case ARG_CONST_SIZE:
	case ARG_CONST_SIZE_OR_ZERO:
		return size_arg(env, call, regno, type == ARG_CONST_SIZE_OR_ZERO);
	case ARG_CONST_ALLOC_SIZE_OR_ZERO:
		return alloc_size(env, call, regno);
	case ARG_PTR_TO_LONG:
		return memory_helper_word(env, regno, 8);
	case ARG_PTR_TO_INT:
		return memory_helper_word(env, regno, 4);
	case ARG_PTR_TO_CONST_STR:
		return const_string(env, regno);
	case ARG_PTR_TO_SPIN_LOCK:
		return helper_map_lock(env, regno, call->proto->id == BPF_FUNC_spin_lock);
	case ARG_PTR_TO_TIMER:
		return helper_map_timer(env, regno);
	case ARG_PTR_TO_FUNC:
		call->callback = (int)running_regs(env)[regno].subprog;
		return 0;
	case ARG_PTR_TO_CTX:
	case ARG_PTR_TO_CTX_OR_NULL:
		if (call->proto->id != BPF_FUNC_get_func_ip &&
		    call->proto->id != BPF_FUNC_get_attach_cookie)
			env->result->ctx_words = ~0u;
		return 0;
	default:
		return 0;
	}
}

static int check_arg(struct verifier *env, struct call_info *call, int regno)
{
	enum arg_type type = call->proto->args[regno - 1];
	const struct reg *reg = &running_regs(env)[regno];
	bool released = is_release_arg(call->proto, regno - 1);
	int err = alu_check_reg(env, (u32)regno, REG_READ);

	if (err)
		return err;
	if (type == ARG_ANYTHING) {
		if (pointer_is_secret(env, reg))
			return verify_reject(env, WHY_LEAK, regno, -EACCES,
					     "R%d leaks addr into helper function", regno);
		/* As an address that is read from, its words are. */
		if (reg->type == PTR_CTX)
			env->result->ctx_words = ~0u;
		return 0;
	}
	if (reg_is_packet(reg) &&
	    !(memory_packet_ok(env, MEMORY_READ) && (call->proto->flags & PROTO_PACKET_ACCESS)))
		return verify_reject(env, WHY_HELPER_ARG, regno, -EACCES,
				     "helper access to the packet is not allowed");
	if (reg_is_null(reg) && accepts[type].or_null)
		return 0;
	err = check_type(env, regno, type);
	err = err ? err : check_offset(env, regno, released);
	if (err)
		return err;
	if (released && !reg->ref_id)
		return verify_reject(env, WHY_REFERENCE, regno, -EINVAL,
				     "R%d must be referenced when passed to release function",
				     regno);
	if (reg->ref_id)
		call->ref_id = reg->ref_id;
	return by_kind(env, call, regno, type);
}

/* -- Result -- */

static int acquire(struct verifier *env, const struct call_info *call, struct reg *r0)
{
	bool map_socket = call->proto->id == BPF_FUNC_map_lookup_elem && call->map &&
			  (call->map->type == BPF_MAP_TYPE_SOCKMAP ||
			   call->map->type == BPF_MAP_TYPE_SOCKHASH);
	int id;

	if (call->proto->flags & PROTO_CASTS) {
		r0->ref_id = call->ref_id;
		return 0;
	}
	if (!(call->proto->flags & PROTO_ACQUIRES) && !map_socket)
		return 0;
	id = ref_acquire(env, env->insn);
	if (id < 0)
		return id;
	r0->id = (u32)id;
	r0->ref_id = (u32)id;
	return 0;
}

static void map_value_result(struct verifier *env, const struct call_info *call, struct reg *r0,
			     bool or_null)
{
	enum reg_type type = PTR_MAP_VALUE;

	if (call->map->inner)
		type = PTR_MAP;
	else if (call->map->type == BPF_MAP_TYPE_XSKMAP)
		type = PTR_XDP_SOCK;
	else if (call->map->type == BPF_MAP_TYPE_SOCKMAP ||
		 call->map->type == BPF_MAP_TYPE_SOCKHASH)
		type = PTR_SOCK;
	reg_set_pointer(r0, type);
	if (type == PTR_MAP_VALUE)
		r0->map = call->map;
	if (type == PTR_MAP) {
		r0->map = call->map->inner;
		r0->map_uid = ++env->next_id;
	}
	r0->maybe_null = or_null && !(call->key_known && type == PTR_MAP_VALUE);
	r0->id = r0->maybe_null || call->map->spin_lock_off != UINT32_MAX ? ++env->next_id : 0;
	if (!r0->maybe_null)
		r0->map_uid = r0->id;
}

static void integer_result(const struct call_info *call, struct reg *r0)
{
	reg_set_unknown(r0);
	switch (call->proto->id) {
	case BPF_FUNC_get_stack:
	case BPF_FUNC_get_task_stack:
	case BPF_FUNC_probe_read_str:
	case BPF_FUNC_probe_read_kernel_str:
	case BPF_FUNC_probe_read_user_str:
		r0->s.smin = -4095;
		r0->s.smax = (s64)call->size_max;
		r0->s.smin32 = -4095;
		r0->s.smax32 = (s32)call->size_max;
		scalar_sync(&r0->s);
		break;
	case BPF_FUNC_get_smp_processor_id:
		r0->s.umax = 8191;
		r0->s.umax32 = 8191;
		scalar_sync(&r0->s);
		break;
	default:
		break;
	}
}

static void pointer_result(struct verifier *env, struct reg *r0, enum reg_type type)
{
	reg_set_pointer(r0, type);
	r0->maybe_null = true;
	r0->id = ++env->next_id;
}

static int set_result(struct verifier *env, const struct call_info *call)
{
	struct reg *r0 = &running_regs(env)[0];

	switch (call->proto->ret) {
	case RET_INTEGER:
		integer_result(call, r0);
		break;
	case RET_VOID:
		break;
	case RET_PTR_TO_MAP_VALUE_OR_NULL:
	case RET_PTR_TO_MAP_VALUE:
		if (!call->map)
			return verify_reject(env, WHY_HELPER_ARG, 1, -EINVAL,
					     "kernel subsystem misconfigured verifier");
		map_value_result(env, call, r0, call->proto->ret == RET_PTR_TO_MAP_VALUE_OR_NULL);
		break;
	case RET_PTR_TO_ALLOC_MEM_OR_NULL:
		pointer_result(env, r0, PTR_RINGBUF);
		r0->mem_size = call->alloc_size;
		break;
	case RET_PTR_TO_BTF_ID_OR_NULL:
		pointer_result(env, r0, PTR_BTF_ID);
		break;
	case RET_PTR_TO_SOCKET_OR_NULL:
		pointer_result(env, r0, PTR_SOCK);
		break;
	case RET_PTR_TO_SOCK_COMMON_OR_NULL:
		pointer_result(env, r0, PTR_SOCK_COMMON);
		break;
	case RET_PTR_TO_TCP_SOCK_OR_NULL:
		pointer_result(env, r0, PTR_TCP_SOCK);
		break;
	}
	env->logged_changes |= 1;
	return acquire(env, call, r0);
}

/* -- The call -- */

static int check_allowed(struct verifier *env, const struct bpf_insn *insn,
			 const struct helper_proto **ret_proto)
{
	const struct helper_proto *proto = env->host->helper((u32)insn->imm);

	if (!proto)
		return verify_reject(env, WHY_HELPER_UNKNOWN, -1, -EINVAL,
				     "invalid func unknown#%d", insn->imm);
	if (!env->host->helper_allowed(proto->id, env->request->prog_type,
				       env->request->attach_type))
		return verify_reject(env, WHY_HELPER_DENIED, -1, -EINVAL,
				     "program of this type cannot use helper %s#%d", proto->name,
				     insn->imm);
	if ((proto->flags & PROTO_GPL_ONLY) && !env->request->gpl)
		return verify_reject(
			env, WHY_GPL, -1, -EINVAL,
			"cannot call GPL-restricted function from non-GPL compatible program");
	*ret_proto = proto;
	return 0;
}

static int check_args(struct verifier *env, struct call_info *call)
{
	for (int i = 0; i < 5 && call->proto->args[i] != ARG_NONE; i++) {
		int err = check_arg(env, call, i + 1);

		if (err)
			return err;
	}
	return 0;
}

static void note_facts(struct verifier *env, u32 id)
{
	u32 *facts = &env->result->facts;

	switch (id) {
	case BPF_FUNC_get_func_ip:
		*facts |= IMAGE_FACT_FUNC_IP;
		break;
	case BPF_FUNC_get_attach_cookie:
		*facts |= IMAGE_FACT_COOKIE;
		break;
	case BPF_FUNC_get_stackid:
	case BPF_FUNC_get_stack:
		*facts |= IMAGE_FACT_STACK;
		break;
	case BPF_FUNC_tail_call:
		*facts |= IMAGE_FACT_TAIL_CALL;
		env->subprogs[running(env)->subprog].has_tail_call = true;
		break;
	default:
		break;
	}
}

/* A call that finds the same map and the same key on every path needs no lookup when it runs. */
static void note_tail_call(struct verifier *env, const struct verify_map *map)
{
	struct insn_facts *facts = &env->facts[env->insn];
	const struct scalar *key = &running_regs(env)[3].s;
	bool constant = running_regs(env)[3].type == REG_SCALAR && scalar_is_const(key) &&
			key->bits.value < map->max_entries;

	if (facts->tail == TAIL_NONE && constant) {
		facts->tail = TAIL_CONSTANT;
		facts->map = map;
		facts->tail_key = (u32)key->bits.value;
	} else if (!constant || facts->map != map || facts->tail_key != key->bits.value) {
		facts->tail = TAIL_VARIES;
	}
}

static int tail_call(struct verifier *env, const struct call_info *call)
{
	int err = ref_check_none(env, "tail_call", true);

	if (!err && running(env)->callback != CALLBACK_NONE)
		err = verify_reject(env, WHY_TAIL_CALL, -1, -EINVAL,
				    "tail_call is not allowed in a callback");
	if (!err)
		note_tail_call(env, call->map);
	return err;
}

/* Rules of single helpers, after their arguments are known to be of the right types. */
static int check_special(struct verifier *env, const struct call_info *call)
{
	switch (call->proto->id) {
	case BPF_FUNC_tail_call:
		return tail_call(env, call);
	case BPF_FUNC_get_local_storage:
		if (!reg_is_null(&running_regs(env)[2]))
			return verify_reject(env, WHY_HELPER_ARG, 2, -EINVAL,
					     "get_local_storage() doesn't support non-zero flags");
		return 0;
	default:
		return 0;
	}
}

int helper_call(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next)
{
	struct call_info call = {.callback = -1};
	int err = check_allowed(env, insn, &call.proto);

	err = err ? err : check_args(env, &call);
	if (err)
		return err;
	if (call.proto->flags & PROTO_RELEASES) {
		u32 id = running_regs(env)[1].ref_id;

		err = ref_release(env, id);
		if (err)
			return verify_reject(env, WHY_REFERENCE, 1, err,
					     "func %s#%u reference has not been acquired before",
					     call.proto->name, call.proto->id);
	}
	err = check_special(env, &call);
	if (err)
		return err;
	note_facts(env, call.proto->id);
	if (call.callback >= 0)
		return call_callback(env, insn, call.proto->id, (u32)call.callback, call.map,
				     ret_next);
	for (u32 i = 0; i <= 5; i++)
		reg_set_none(&running_regs(env)[i]);
	err = set_result(env, &call);
	err = err ? err : helper_map_compatible(env, call.map, call.proto);
	if (err)
		return err;
	if (call.proto->flags & PROTO_CHANGES_PACKET)
		ref_forget_packet(env);
	*ret_next = env->insn + 1;
	return 0;
}
