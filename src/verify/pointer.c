/* SPDX-License-Identifier: BSD-2-Clause */
/* Arithmetic on pointers: only what keeps every later bounds check meaningful. */
#include "verify/pointer.h"

#include "verify/log.h"
#include "verify/state.h"

const char *pointer_operator(u32 op)
{
	static const char *const operators[] = {"+=",  "-=",  "*=", "/=", "|=", "&=",	"<<=",
						">>=", "neg", "%=", "^=", "=",	"s>>=", "endian"};

	return op >> 4 < ARRAY_SIZE(operators) ? operators[op >> 4] : "?";
}

bool pointer_is_secret(const struct verifier *env, const struct reg *reg)
{
	return !env->privileged && reg_is_pointer(reg);
}

int pointer_check_unmoved(struct verifier *env, const struct reg *reg, int regno, bool fixed_ok)
{
	char name[REG_TYPE_NAME_MAX], text[TNUM_TEXT_MAX];

	reg_type_name(reg, name);
	if (reg->off < 0)
		return verify_reject(env, WHY_POINTER_ARITH, regno, -EACCES,
				     "negative offset %s ptr R%d off=%d disallowed", name, regno,
				     reg->off);
	if (!fixed_ok && reg->off)
		return verify_reject(env, WHY_POINTER_ARITH, regno, -EACCES,
				     "dereference of modified %s ptr R%d off=%d disallowed", name,
				     regno, reg->off);
	if (!scalar_is_zero(&reg->s))
		return verify_reject(env, WHY_POINTER_ARITH, regno, -EACCES,
				     "variable %s access var_off=%s disallowed", name,
				     tnum_text(reg->s.bits, text));
	return 0;
}

/* Offsets must stay so small that later sums cannot overflow. */
static int check_sane(struct verifier *env, const struct reg *reg, const struct reg *pointer,
		      int regno)
{
	char name[REG_TYPE_NAME_MAX];
	s64 value = (s64)reg->s.bits.value;

	reg_type_name(pointer, name);
	if (scalar_is_const(&reg->s) && (value >= MAX_VAR_OFF || value <= -MAX_VAR_OFF))
		return verify_reject(env, WHY_POINTER_RANGE, regno, -EINVAL,
				     "math between %s pointer and %lld is not allowed", name,
				     (long long)value);
	if (reg->off >= MAX_VAR_OFF || reg->off <= -MAX_VAR_OFF)
		return verify_reject(env, WHY_POINTER_RANGE, regno, -EINVAL,
				     "%s pointer offset %d is not allowed", name, reg->off);
	if (reg->s.smin == INT64_MIN)
		return verify_reject(
			env, WHY_POINTER_RANGE, regno, -EINVAL,
			"math between %s pointer and register with unbounded min value is not allowed",
			name);
	if (reg->s.smin >= MAX_VAR_OFF || reg->s.smin <= -MAX_VAR_OFF)
		return verify_reject(env, WHY_POINTER_RANGE, regno, -EINVAL,
				     "value %lld makes %s pointer be out of bounds",
				     (long long)reg->s.smin, name);
	return 0;
}

static int check_kind(struct verifier *env, const struct reg *pointer, int pointer_no, int dst,
		      const struct reg *number)
{
	char name[REG_TYPE_NAME_MAX];

	reg_type_name(pointer, name);
	if (pointer->maybe_null)
		return verify_reject(env, WHY_NULL, dst, -EACCES,
				     "R%d pointer arithmetic on %s prohibited, null-check it first",
				     dst, name);
	switch (pointer->type) {
	case PTR_MAP:
		if (number && scalar_is_zero(&number->s))
			return 0;
		break;
	case PTR_PACKET_END:
	case PTR_SOCK:
	case PTR_SOCK_COMMON:
	case PTR_TCP_SOCK:
	case PTR_XDP_SOCK:
	case PTR_FUNC:
		break;
	default:
		return 0;
	}
	(void)pointer_no;
	return verify_reject(env, WHY_POINTER_ARITH, dst, -EACCES,
			     "R%d pointer arithmetic on %s prohibited", dst, name);
}

static void add(struct verifier *env, struct reg *dst, const struct reg *pointer,
		const struct reg *number)
{
	s64 value = number->s.smin;

	if (scalar_is_const(&number->s) &&
	    (s64)(s32)(pointer->off + value) == pointer->off + value) {
		*dst = *pointer;
		dst->off = (s32)(pointer->off + value);
		return;
	}
	*dst = *pointer;
	scalar_alu(&dst->s, &number->s, BPF_ADD, 64);
	if (reg_is_packet(dst)) {
		dst->id = ++env->next_id;
		dst->range = 0;
	}
}

static void subtract(struct verifier *env, struct reg *dst, const struct reg *pointer,
		     const struct reg *number)
{
	s64 value = number->s.smin;

	*dst = *pointer;
	if (scalar_is_const(&number->s) &&
	    (s64)(s32)(pointer->off - value) == pointer->off - value) {
		dst->off = (s32)(pointer->off - value);
		return;
	}
	scalar_alu(&dst->s, &number->s, BPF_SUB, 64);
	if (reg_is_packet(dst)) {
		dst->id = ++env->next_id;
		if (number->s.smin < 0)
			dst->range = 0;
	}
}

int pointer_arith(struct verifier *env, const struct bpf_insn *insn, int dst_no,
		  const struct reg *pointer_, int pointer_no, const struct reg *number_)
{
	struct reg pointer = *pointer_, number = *number_, *dst = &running_regs(env)[dst_no];
	u32 op = insn_op(insn);
	int err;

	if (insn_class(insn) != BPF_ALU64) {
		if (op == BPF_SUB && env->privileged) {
			reg_set_unknown(dst);
			scalar_zext(&dst->s, 4);
			return 0;
		}
		return verify_reject(env, WHY_POINTER_ARITH, dst_no, -EACCES,
				     "R%d 32-bit pointer arithmetic prohibited", dst_no);
	}
	err = check_kind(env, &pointer, pointer_no, dst_no, &number);
	err = err ? err : check_sane(env, &number, &pointer, dst_no);
	err = err ? err : check_sane(env, &pointer, &pointer, dst_no);
	if (err)
		return err;
	switch (op) {
	case BPF_ADD:
		add(env, dst, &pointer, &number);
		break;
	case BPF_SUB:
		if (pointer_no != dst_no)
			return verify_reject(env, WHY_POINTER_ARITH, dst_no, -EACCES,
					     "R%d tried to subtract pointer from scalar", dst_no);
		if (pointer.type == PTR_STACK)
			return verify_reject(env, WHY_POINTER_ARITH, dst_no, -EACCES,
					     "R%d subtraction from stack pointer prohibited",
					     dst_no);
		subtract(env, dst, &pointer, &number);
		break;
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
		return verify_reject(env, WHY_POINTER_ARITH, dst_no, -EACCES,
				     "R%d bitwise operator %s on pointer prohibited", dst_no,
				     pointer_operator(op));
	default:
		return verify_reject(env, WHY_POINTER_ARITH, dst_no, -EACCES,
				     "R%d pointer arithmetic with %s operator prohibited", dst_no,
				     pointer_operator(op));
	}
	err = check_sane(env, dst, &pointer, dst_no);
	if (!err)
		scalar_sync(&dst->s);
	return err;
}
