/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses through pointers, one handler a region kind. Every region check is the same question: is [off + min, off + max +
 * size) inside the region, for all values of the variable part?
 */
#include "verify/memory.h"

#include <string.h>

#include "verify/alu.h"
#include "verify/ctx.h"
#include "verify/log.h"
#include "verify/pointer.h"
#include "verify/stack.h"
#include "verify/state.h"

/* One access, as its handler sees it. */
struct access {
	int regno;
	struct reg *reg; /* the pointer */
	s32 off;	 /* the instruction's offset */
	u32 size;
	enum memory_use use;
	const struct reg *value; /* stored; NULL: not a register's value */
	int dst;		 /* loaded into; -1: nowhere */
	bool sign_extend;
	bool strict; /* aligned even where the CPU does not mind */
};

#define UNSIGNED_HINT "either use unsigned index or do a if (index >=0) check."

bool memory_packet_ok(const struct verifier *env, enum memory_use use)
{
	return use == MEMORY_READ ? env->ctx->packet_read : env->ctx->packet_write;
}

/* -- Bounds -- */

static int check_bounds(struct verifier *env, int regno, s64 off, s64 size, u32 limit, bool zero_ok)
{
	const struct reg *reg = &running_regs(env)[regno];

	if (off >= 0 && (size > 0 || (!size && zero_ok)) && off + size <= limit)
		return 0;
	switch (reg->type) {
	case PTR_MAP_KEY:
		log_text(env, "invalid access to map key, key_size=%u off=%lld size=%lld\n", limit,
			 (long long)off, (long long)size);
		break;
	case PTR_MAP_VALUE:
		log_text(env, "invalid access to map value, value_size=%u off=%lld size=%lld\n",
			 limit, (long long)off, (long long)size);
		break;
	case PTR_PACKET:
	case PTR_PACKET_META:
	case PTR_PACKET_END:
		log_text(env,
			 "invalid access to packet, off=%lld size=%lld, R%d(id=%u,off=%d,r=%d)\n",
			 (long long)off, (long long)size, regno, reg->id, reg->off, reg->range);
		break;
	default:
		log_text(env, "invalid access to memory, mem_size=%u off=%lld size=%lld\n", limit,
			 (long long)off, (long long)size);
		break;
	}
	return -EACCES;
}

static enum why region_cause(const struct reg *reg)
{
	return reg->type == PTR_MAP_VALUE ? WHY_MAP_BOUNDS : WHY_MEM_BOUNDS;
}

/* off includes the pointer's constant part. */
static int check_region(struct verifier *env, int regno, s64 off, s64 size, u32 limit, bool zero_ok)
{
	const struct reg *reg = &running_regs(env)[regno];

	if (reg->s.smin < 0 &&
	    (reg->s.smin == INT64_MIN || off + reg->s.smin != (s32)(off + reg->s.smin) ||
	     reg->s.smin + off < 0))
		return verify_reject(env, WHY_NEGATIVE, regno, -EACCES,
				     "R%d min value is negative, " UNSIGNED_HINT, regno);
	if (check_bounds(env, regno, reg->s.smin + off, size, limit, zero_ok))
		return verify_reject(env, region_cause(reg), regno, -EACCES,
				     "R%d min value is outside of the allowed memory range", regno);
	if (reg->s.umax >= MAX_VAR_OFF)
		return verify_reject(
			env, WHY_UNBOUNDED, regno, -EACCES,
			"R%d unbounded memory access, make sure to bounds check any such access",
			regno);
	if (check_bounds(env, regno, (s64)reg->s.umax + off, size, limit, zero_ok))
		return verify_reject(env, region_cause(reg), regno, -EACCES,
				     "R%d max value is outside of the allowed memory range", regno);
	return 0;
}

static bool overlaps(const struct reg *reg, s64 off, s64 size, u32 field, u32 field_size)
{
	return field != UINT32_MAX && reg->s.smin + off < (s64)field + field_size &&
	       (s64)field < (s64)reg->s.umax + off + size;
}

static int check_map_value(struct verifier *env, int regno, s64 off, s64 size, bool zero_ok,
			   const char *user)
{
	const struct reg *reg = &running_regs(env)[regno];
	const struct verify_map *map = reg->map;
	int err = check_region(env, regno, off, size, map->value_size, zero_ok);

	if (err)
		return err;
	if (overlaps(reg, off, size, map->spin_lock_off, sizeof(struct bpf_spin_lock)))
		return verify_reject(env, WHY_LOCK, regno, -EACCES,
				     "bpf_spin_lock cannot be accessed directly by %s", user);
	if (overlaps(reg, off, size, map->timer_off, sizeof(struct bpf_timer)))
		return verify_reject(env, WHY_LOCK, regno, -EACCES,
				     "bpf_timer cannot be accessed directly by %s", user);
	return 0;
}

static int check_map_permission(struct verifier *env, int regno, s64 off, u32 size,
				enum memory_use use)
{
	const struct verify_map *map = running_regs(env)[regno].map;
	bool denied = use == MEMORY_WRITE ? map->readonly_prog : map->writeonly_prog;

	if (!denied)
		return 0;
	return verify_reject(env, WHY_MAP_ACCESS, regno, -EACCES,
			     "%s map forbidden, value_size=%u off=%lld size=%u",
			     use == MEMORY_WRITE ? "write into" : "read from", map->value_size,
			     (long long)off, size);
}

static int check_packet(struct verifier *env, int regno, s64 off, s64 size, bool zero_ok)
{
	const struct reg *reg = &running_regs(env)[regno];
	int err;

	if (reg->s.smin < 0)
		return verify_reject(env, WHY_NEGATIVE, regno, -EACCES,
				     "R%d min value is negative, " UNSIGNED_HINT, regno);
	err = reg->range < 0 ? -EINVAL
			     : check_bounds(env, regno, off, size, (u32)reg->range, zero_ok);
	if (err)
		return verify_reject(env, WHY_PACKET_BOUNDS, regno, err,
				     "R%d offset is outside of the packet", regno);
	return 0;
}

/* -- Alignment -- */

static const char *alignment_name(u8 type)
{
	switch (type) {
	case PTR_MAP_KEY:
		return "key ";
	case PTR_MAP_VALUE:
		return "value ";
	case PTR_CTX:
		return "context ";
	case PTR_STACK:
		return "stack ";
	case PTR_SOCK:
		return "sock ";
	case PTR_SOCK_COMMON:
		return "sock_common ";
	case PTR_TCP_SOCK:
		return "tcp_sock ";
	case PTR_XDP_SOCK:
		return "xdp_sock ";
	default:
		return "";
	}
}

/* The stack is always strict: a slot is the unit of what is known. */
static int check_alignment(struct verifier *env, const struct access *a)
{
	const struct reg *reg = a->reg;
	char text[TNUM_TEXT_MAX];
	struct tnum at;

	if (!env->strict_align && !a->strict && reg->type != PTR_STACK)
		return 0;
	if (a->size == 1)
		return 0;
	if (reg_is_packet(reg)) {
		/* Drivers place the packet 2 bytes off, so that the IP header is aligned. */
		at = tnum_add(reg->s.bits, tnum_const((u64)(s64)(2 + reg->off + a->off)));
		if (tnum_is_aligned(at, a->size))
			return 0;
		return verify_reject(env, WHY_ALIGNMENT, a->regno, -EACCES,
				     "misaligned packet access off %d+%s+%d+%d size %u", 2,
				     tnum_text(reg->s.bits, text), reg->off, a->off, a->size);
	}
	at = tnum_add(reg->s.bits, tnum_const((u64)(s64)(reg->off + a->off)));
	if (tnum_is_aligned(at, a->size))
		return 0;
	return verify_reject(env, WHY_ALIGNMENT, a->regno, -EACCES,
			     "misaligned %saccess off %s+%d+%d size %u", alignment_name(reg->type),
			     tnum_text(reg->s.bits, text), reg->off, a->off, a->size);
}

/* -- Regions -- */

static void give_unknown(struct verifier *env, const struct access *a)
{
	struct reg *dst;

	if (a->use != MEMORY_READ || a->dst < 0)
		return;
	dst = &running_regs(env)[a->dst];
	reg_set_unknown(dst);
}

static int refuse_leak(struct verifier *env, const struct access *a, const char *where)
{
	if (!a->value || !pointer_is_secret(env, a->value))
		return 0;
	return verify_reject(env, WHY_LEAK, a->regno, -EACCES, "R%d leaks addr into %s",
			     (int)(a->value - running_regs(env)), where);
}

/* The value of a map that nobody can change any more is a constant (of a map with one value: which is it otherwise?). */
static bool constant_value(const struct access *a, u64 *ret_value)
{
	const struct verify_map *map = a->reg->map;
	s64 off = a->off + a->reg->off + (s64)a->reg->s.bits.value;

	if (!map->readonly_prog || !map->frozen || !map->value || map->max_entries != 1 ||
	    !scalar_is_const(&a->reg->s) || a->size > 8)
		return false;
	*ret_value = 0;
	memcpy(ret_value, (const char *)map->value + off, a->size);
	return true;
}

static int access_map_value(struct verifier *env, struct access *a)
{
	u64 value;
	int err = refuse_leak(env, a, "map");

	err = err ? err
		  : check_map_permission(env, a->regno, a->off + a->reg->off, a->size, a->use);
	err = err ? err
		  : check_map_value(env, a->regno, a->off + a->reg->off, a->size, false,
				    "load/store");
	if (err)
		return err;
	if (a->use == MEMORY_READ && a->dst >= 0 && constant_value(a, &value))
		reg_set_const(&running_regs(env)[a->dst], value);
	else
		give_unknown(env, a);
	return 0;
}

static int access_map_key(struct verifier *env, struct access *a)
{
	int err;

	if (a->use == MEMORY_WRITE)
		return verify_reject(env, WHY_READONLY, a->regno, -EACCES,
				     "write to change key R%d not allowed", a->regno);
	err = check_region(env, a->regno, a->off + a->reg->off, a->size, a->reg->map->key_size,
			   false);
	if (!err)
		give_unknown(env, a);
	return err;
}

/* Read-only struct bpf_map seen through its pointer: only ops and such, for tracing; we offer none of it. */
static int access_map_ptr(struct verifier *env, struct access *a)
{
	if (a->use == MEMORY_WRITE)
		return verify_reject(env, WHY_READONLY, a->regno, -EACCES,
				     "only read from bpf_array is supported");
	if (a->off + a->reg->off < 0)
		return verify_reject(env, WHY_NEGATIVE, a->regno, -EACCES,
				     "R%d is bpf_array invalid negative access: off=%d", a->regno,
				     a->off + a->reg->off);
	return verify_reject(env, WHY_NOT_POINTER, a->regno, -EACCES,
			     "R%d invalid mem access 'map_ptr'", a->regno);
}

static int access_mem(struct verifier *env, struct access *a)
{
	char name[REG_TYPE_NAME_MAX];
	int err;

	if (a->use == MEMORY_WRITE && a->reg->readonly)
		return verify_reject(env, WHY_READONLY, a->regno, -EACCES,
				     "R%d cannot write into %s", a->regno,
				     reg_type_name(a->reg, name));
	err = refuse_leak(env, a, "mem");
	err = err ? err
		  : check_region(env, a->regno, a->off + a->reg->off, a->size, a->reg->mem_size,
				 false);
	if (!err)
		give_unknown(env, a);
	return err;
}

static int access_ctx(struct verifier *env, struct access *a)
{
	struct reg loaded;
	int err = refuse_leak(env, a, "ctx");

	err = err ? err : pointer_check_unmoved(env, a->reg, a->regno, false);
	err = err ? err
		  : ctx_access(env, (s64)a->off + a->reg->off, a->size, a->use == MEMORY_WRITE,
			       &loaded);
	if (!err && a->use == MEMORY_READ && a->dst >= 0)
		running_regs(env)[a->dst] = loaded;
	return err;
}

static int access_stack(struct verifier *env, struct access *a)
{
	enum stack_access access = a->use == MEMORY_READ ? STACK_READ : STACK_WRITE;
	int err = stack_check_bounds(env, a->regno, a->off, a->size, access);

	if (err)
		return err;
	if (a->use == MEMORY_WRITE)
		return stack_write(env, a->regno, a->off, a->size, a->value);
	return stack_read(env, a->regno, a->off, a->size, a->dst);
}

static int access_packet(struct verifier *env, struct access *a)
{
	int err;

	if (a->use == MEMORY_WRITE && !memory_packet_ok(env, MEMORY_WRITE))
		return verify_reject(env, WHY_READONLY, a->regno, -EACCES,
				     "cannot write into packet");
	err = refuse_leak(env, a, "packet");
	err = err ? err : check_packet(env, a->regno, (s64)a->off + a->reg->off, a->size, false);
	if (!err)
		give_unknown(env, a);
	return err;
}

static int access_socket(struct verifier *env, struct access *a)
{
	char name[REG_TYPE_NAME_MAX];

	reg_type_name(a->reg, name);
	if (a->use == MEMORY_WRITE)
		return verify_reject(env, WHY_READONLY, a->regno, -EACCES,
				     "R%d cannot write into %s", a->regno, name);
	if (a->reg->s.smin < 0)
		return verify_reject(env, WHY_NEGATIVE, a->regno, -EACCES,
				     "R%d min value is negative, " UNSIGNED_HINT, a->regno);
	if (!scalar_is_const(&a->reg->s) ||
	    !ctx_socket_covers(a->reg->type, a->off + a->reg->off, a->size))
		return verify_reject(env, WHY_MEM_BOUNDS, a->regno, -EACCES,
				     "R%d invalid %s access off=%d size=%u", a->regno, name,
				     a->off + a->reg->off, a->size);
	give_unknown(env, a);
	return 0;
}

static int access_tp_buffer(struct verifier *env, struct access *a)
{
	char text[TNUM_TEXT_MAX];

	if (a->off < 0)
		return verify_reject(env, WHY_NEGATIVE, a->regno, -EACCES,
				     "R%d invalid tracepoint buffer access: off=%d, size=%u",
				     a->regno, a->off, a->size);
	if (!scalar_is_zero(&a->reg->s))
		return verify_reject(env, WHY_MEM_BOUNDS, a->regno, -EACCES,
				     "R%d invalid variable buffer offset: off=%d, var_off=%s",
				     a->regno, a->off, tnum_text(a->reg->s.bits, text));
	give_unknown(env, a);
	return 0;
}

typedef int (*region_access)(struct verifier *env, struct access *a);
static const region_access regions[REG_TYPE_MAX] = {
	[PTR_CTX] = access_ctx,
	[PTR_MAP] = access_map_ptr,
	[PTR_MAP_KEY] = access_map_key,
	[PTR_MAP_VALUE] = access_map_value,
	[PTR_STACK] = access_stack,
	[PTR_PACKET] = access_packet,
	[PTR_PACKET_META] = access_packet,
	[PTR_SOCK] = access_socket,
	[PTR_SOCK_COMMON] = access_socket,
	[PTR_TCP_SOCK] = access_socket,
	[PTR_XDP_SOCK] = access_socket,
	[PTR_MEM] = access_mem,
	[PTR_RINGBUF] = access_mem,
	[PTR_TP_BUFFER] = access_tp_buffer,
};

/* What a load narrower than a register leaves in it. */
static void narrow_result(struct verifier *env, const struct access *a)
{
	struct reg *dst;

	if (a->use != MEMORY_READ || a->dst < 0 || a->size == 8)
		return;
	dst = &running_regs(env)[a->dst];
	if (dst->type != REG_SCALAR)
		return;
	if (a->sign_extend) {
		dst->id = 0;
		scalar_sext(&dst->s, a->size, 64);
	} else if (dst->s.umax >= 1ull << (8 * a->size)) {
		dst->id = 0;
		scalar_zext(&dst->s, a->size);
	}
}

static int access(struct verifier *env, struct access *a)
{
	char name[REG_TYPE_NAME_MAX];
	int err;

	a->reg = &running_regs(env)[a->regno];
	if (a->reg->maybe_null || !regions[a->reg->type]) {
		err = check_alignment(env, a);
		return err ? err
			   : verify_reject(env, a->reg->maybe_null ? WHY_NULL : WHY_NOT_POINTER,
					   a->regno, -EACCES, "R%d invalid mem access '%s'",
					   a->regno, reg_type_name(a->reg, name));
	}
	err = check_alignment(env, a);
	err = err ? err : regions[a->reg->type](env, a);
	if (!err)
		narrow_result(env, a);
	return err;
}

/* One instruction may not load through pointers of kinds that are rewritten differently. */
static int note_pointer(struct verifier *env, int regno, bool store)
{
	struct insn_facts *facts = &env->facts[env->insn];
	u8 type = running_regs(env)[regno].type, before = facts->pointer_type;
	bool special = type == PTR_CTX || type >= PTR_SOCK;

	(void)store;
	if (!before) {
		facts->pointer_type = type + 1;
		return 0;
	}
	if (before == type + 1)
		return 0;
	if (special || before - 1 == PTR_CTX || before - 1 >= PTR_SOCK) {
		if (type == PTR_MEM || type == PTR_RINGBUF || before - 1 == PTR_MEM ||
		    before - 1 == PTR_RINGBUF) {
			if (type != PTR_CTX && before - 1 != PTR_CTX &&
			    !reg_is_socket(&running_regs(env)[regno]))
				return 0;
		}
		return verify_reject(env, WHY_MIXED_POINTERS, regno, -EINVAL,
				     "same insn cannot be used with different pointers");
	}
	return 0;
}

int memory_load(struct verifier *env, const struct bpf_insn *insn)
{
	struct access a = {
		.regno = insn->src_reg,
		.off = insn->off,
		.size = insn_access_size(insn),
		.use = MEMORY_READ,
		.dst = insn->dst_reg,
		.sign_extend = insn_mode(insn) == INSN_MODE_MEMSX,
	};
	u8 type;
	int err = alu_check_reg(env, insn->src_reg, REG_READ);

	err = err ? err : alu_check_reg(env, insn->dst_reg, REG_WRITE);
	if (err)
		return err;
	type = running_regs(env)[insn->src_reg].type;
	if (type != REG_SCALAR && type != REG_NONE &&
	    !running_regs(env)[insn->src_reg].maybe_null) {
		struct reg *pointer = &running_regs(env)[insn->src_reg];
		struct reg saved = *pointer;

		err = access(env, &a);
		if (err)
			return err;
		if (insn->src_reg == insn->dst_reg) {
			/* The pointer was overwritten by what it loaded: judge the kind that it had. */
			struct reg loaded = *pointer;

			*pointer = saved;
			err = note_pointer(env, insn->src_reg, false);
			*pointer = loaded;
			return err;
		}
		return note_pointer(env, insn->src_reg, false);
	}
	return access(env, &a);
}

int memory_store(struct verifier *env, const struct bpf_insn *insn)
{
	bool from_reg = insn_class(insn) == BPF_STX;
	struct reg imm;
	struct access a = {
		.regno = insn->dst_reg,
		.off = insn->off,
		.size = insn_access_size(insn),
		.use = MEMORY_WRITE,
		.dst = -1,
	};
	int err = from_reg ? alu_check_reg(env, insn->src_reg, REG_READ) : 0;

	err = err ? err : alu_check_reg(env, insn->dst_reg, REG_READ);
	if (err)
		return err;
	reg_set_const(&imm, (u64)(s64)insn->imm);
	a.value = &imm;
	if (from_reg) {
		struct reg *src = &running_regs(env)[insn->src_reg];

		if (running_regs(env)[insn->dst_reg].type == PTR_STACK && env->privileged &&
		    (a.size == 8 || src->s.umax < 1ull << (8 * a.size)))
			alu_link_scalar(env, src);
		a.value = src;
	}
	err = access(env, &a);
	return err ? err : note_pointer(env, insn->dst_reg, true);
}

static bool atomic_denied(const struct verifier *env, const struct reg *reg)
{
	(void)env;
	return reg->type == PTR_CTX || reg_is_packet(reg) || reg_is_socket(reg);
}

/* Registers of an atomic: the operand, the pointer, r0 of a compare-and-exchange, and where the old value goes. */
static int atomic_operands(struct verifier *env, const struct bpf_insn *insn, int *ret_load)
{
	char name[REG_TYPE_NAME_MAX];
	struct reg *regs = running_regs(env);
	int err = alu_check_reg(env, insn->src_reg, REG_READ);

	err = err ? err : alu_check_reg(env, insn->dst_reg, REG_READ);
	if (err)
		return err;
	if (insn->imm == BPF_CMPXCHG) {
		err = alu_check_reg(env, 0, REG_READ);
		if (err)
			return err;
		if (pointer_is_secret(env, &regs[0]))
			return verify_reject(env, WHY_LEAK, 0, -EACCES, "R0 leaks addr into mem");
	}
	if (pointer_is_secret(env, &regs[insn->src_reg]))
		return verify_reject(env, WHY_LEAK, insn->src_reg, -EACCES,
				     "R%d leaks addr into mem", insn->src_reg);
	if (atomic_denied(env, &regs[insn->dst_reg]))
		return verify_reject(env, WHY_READONLY, insn->dst_reg, -EACCES,
				     "BPF_ATOMIC stores into R%d %s is not allowed", insn->dst_reg,
				     reg_type_name(&regs[insn->dst_reg], name));
	*ret_load = -1;
	if (insn->imm & BPF_FETCH) {
		*ret_load = insn->imm == BPF_CMPXCHG ? 0 : insn->src_reg;
		return alu_check_reg(env, (u32)*ret_load, REG_WRITE);
	}
	return 0;
}

int memory_atomic(struct verifier *env, const struct bpf_insn *insn)
{
	struct access a = {
		.regno = insn->dst_reg,
		.off = insn->off,
		.size = insn_access_size(insn),
		.strict = true,
	};
	struct reg loaded, *slot;
	int load = -1, err = atomic_operands(env, insn, &load);

	if (err)
		return err;
	/* Both happen to one place: read it first, into a scratch copy, since the pointer may be overwritten. */
	a.use = MEMORY_READ;
	a.dst = load;
	slot = load >= 0 ? &running_regs(env)[load] : NULL;
	if (slot)
		loaded = *slot;
	err = access(env, &a);
	if (err)
		return err;
	if (slot) {
		struct reg result = *slot;

		*slot = loaded;
		loaded = result;
	}
	a.use = MEMORY_WRITE;
	a.dst = -1;
	a.value = NULL;
	err = access(env, &a);
	err = err ? err : note_pointer(env, insn->dst_reg, true);
	if (!err && slot)
		*slot = loaded;
	return err;
}

int memory_load_packet(struct verifier *env, const struct bpf_insn *insn)
{
	struct reg *regs = running_regs(env);
	int err;

	if (!env->ctx->ld_abs)
		return verify_reject(
			env, WHY_HELPER_DENIED, -1, -EINVAL,
			"BPF_LD_[ABS|IND] instructions not allowed for this program type");
	err = alu_check_reg(env, 6, REG_READ);
	err = err ? err : ref_check_none(env, "BPF_LD_[ABS|IND]", true);
	if (err)
		return err;
	if (regs[6].type != PTR_CTX)
		return verify_reject(env, WHY_CTX, 6, -EINVAL,
				     "at the time of BPF_LD_ABS|IND R6 != pointer to skb");
	err = insn_mode(insn) == BPF_IND ? alu_check_reg(env, insn->src_reg, REG_READ) : 0;
	err = err ? err : pointer_check_unmoved(env, &regs[6], 6, false);
	if (err)
		return err;
	for (u32 i = 0; i <= 5; i++)
		reg_set_none(&regs[i]);
	reg_set_unknown(&regs[0]);
	env->logged_changes |= 1;
	env->result->ctx_words = ~0u;
	return 0;
}

/* -- Helpers' memory arguments -- */

static int helper_mem(struct verifier *env, int regno, s64 size, enum memory_use use, bool zero_ok)
{
	const struct reg *reg = &running_regs(env)[regno];
	char name[REG_TYPE_NAME_MAX];

	if (reg->readonly && use == MEMORY_WRITE)
		return verify_reject(env, WHY_READONLY, regno, -EACCES, "R%d cannot write into %s",
				     regno, reg_type_name(reg, name));
	return check_region(env, regno, reg->off, size, reg->mem_size, zero_ok);
}

static int helper_stack(struct verifier *env, int regno, s64 size, enum memory_use use, bool init,
			bool zero_ok)
{
	int err = 0;

	if (init && use == MEMORY_WRITE)
		err = stack_check_bounds(env, regno, 0, size, STACK_WRITE);
	if (!err && init)
		err = stack_helper_access(env, regno, size, STACK_HELPER_READS, zero_ok);
	if (!err && use == MEMORY_WRITE)
		err = stack_helper_access(env, regno, size, STACK_HELPER_WRITES, zero_ok);
	return err;
}

int memory_helper_word(struct verifier *env, int regno, u32 size)
{
	struct access a = {
		.regno = regno, .reg = &running_regs(env)[regno], .size = size, .strict = true};
	int err = memory_helper_access(env, regno, size, MEMORY_WRITE, false, false);

	return err ? err : check_alignment(env, &a);
}

int memory_helper_access(struct verifier *env, int regno, s64 size, enum memory_use use, bool init,
			 bool zero_ok)
{
	const struct reg *reg = &running_regs(env)[regno];
	char name[REG_TYPE_NAME_MAX];
	int err;

	switch (reg->type) {
	case PTR_PACKET:
	case PTR_PACKET_META:
		return check_packet(env, regno, reg->off, size, zero_ok);
	case PTR_MAP_KEY:
		if (use == MEMORY_WRITE)
			return verify_reject(env, WHY_READONLY, regno, -EACCES,
					     "R%d cannot write into %s", regno,
					     reg_type_name(reg, name));
		return check_region(env, regno, reg->off, size, reg->map->key_size, zero_ok);
	case PTR_MAP_VALUE:
		err = check_map_permission(env, regno, reg->off, (u32)size, use);
		return err ? err : check_map_value(env, regno, reg->off, size, zero_ok, "helper");
	case PTR_MEM:
	case PTR_RINGBUF:
		return helper_mem(env, regno, size, use, zero_ok);
	case PTR_STACK:
		return helper_stack(env, regno, size, use, init, zero_ok);
	default:
		if (zero_ok && !size && reg_is_null(reg))
			return 0;
		return verify_reject(env, WHY_HELPER_ARG, regno, -EACCES, "R%d type=%s expected=fp",
				     regno, reg_type_name(reg, name));
	}
}
