/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/alu.h"

#include "verify/log.h"
#include "verify/pointer.h"
#include "verify/state.h"

int alu_check_reg(struct verifier *env, u32 regno, enum reg_use use)
{
	if (regno >= REG_CNT)
		return verify_reject(env, WHY_BAD_INSN, (int)regno, -EINVAL, "R%u is invalid",
				     regno);
	env->logged_changes |= 1u << regno;
	if (use == REG_READ && running_regs(env)[regno].type == REG_NONE)
		return verify_reject(env, WHY_UNINIT_REG, (int)regno, -EACCES, "R%u !read_ok",
				     regno);
	if (use == REG_WRITE && regno == REG_FP)
		return verify_reject(env, WHY_FP_WRITE, (int)regno, -EACCES,
				     "frame pointer is read only");
	return 0;
}

void alu_link_scalar(struct verifier *env, struct reg *reg)
{
	if (reg->type == REG_SCALAR && !scalar_is_const(&reg->s) && !reg->id)
		reg->id = ++env->next_id;
}

static int move_sign_extended(struct verifier *env, const struct bpf_insn *insn)
{
	struct reg *dst = &running_regs(env)[insn->dst_reg],
		   *src = &running_regs(env)[insn->src_reg];
	u32 bits = insn_class(insn) == BPF_ALU64 ? 64 : 32, bytes = (u32)insn->off / 8;
	s64 limit = 1ll << (8 * bytes - 1);

	if (reg_is_pointer(src)) {
		if (!env->privileged)
			return verify_reject(env, WHY_LEAK, insn->src_reg, -EACCES,
					     "R%d sign-extension part of pointer", insn->src_reg);
		reg_set_unknown(dst);
		if (bits == 32)
			scalar_zext(&dst->s, 4);
		return 0;
	}
	alu_link_scalar(env, src);
	if (dst != src)
		*dst = *src;
	if (src->s.umax >= (u64)limit)
		dst->id = 0;
	scalar_sext(&dst->s, bytes, bits);
	return 0;
}

static int move_reg(struct verifier *env, const struct bpf_insn *insn)
{
	struct reg *dst = &running_regs(env)[insn->dst_reg],
		   *src = &running_regs(env)[insn->src_reg];

	if (insn->off)
		return move_sign_extended(env, insn);
	if (insn_class(insn) == BPF_ALU64) {
		alu_link_scalar(env, src);
		*dst = *src;
		return 0;
	}
	if (reg_is_pointer(src)) {
		if (!env->privileged)
			return verify_reject(env, WHY_LEAK, insn->src_reg, -EACCES,
					     "R%d partial copy of pointer", insn->src_reg);
		reg_set_unknown(dst);
		scalar_zext(&dst->s, 4);
		return 0;
	}
	alu_link_scalar(env, src);
	*dst = *src;
	if (src->s.umax > UINT32_MAX)
		dst->id = 0;
	scalar_zext(&dst->s, 4);
	return 0;
}

static int move(struct verifier *env, const struct bpf_insn *insn)
{
	bool from_reg = insn_uses_reg(insn);
	int err = from_reg ? alu_check_reg(env, insn->src_reg, REG_READ) : 0;

	err = err ? err : alu_check_reg(env, insn->dst_reg, REG_WRITE);
	if (err)
		return err;
	if (from_reg)
		return move_reg(env, insn);
	reg_set_const(&running_regs(env)[insn->dst_reg],
		      insn_class(insn) == BPF_ALU64 ? (u64)(s64)insn->imm : (u32)insn->imm);
	return 0;
}

/* Byte swaps and truncations, negation: one operand. */
static int unary(struct verifier *env, const struct bpf_insn *insn)
{
	struct reg *dst;
	int err = alu_check_reg(env, insn->dst_reg, REG_READ);

	if (err)
		return err;
	dst = &running_regs(env)[insn->dst_reg];
	if (pointer_is_secret(env, dst))
		return verify_reject(env, WHY_LEAK, insn->dst_reg, -EACCES,
				     "R%d pointer arithmetic prohibited", insn->dst_reg);
	err = alu_check_reg(env, insn->dst_reg, REG_WRITE);
	if (err)
		return err;
	if (reg_is_pointer(dst)) {
		reg_set_unknown(dst);
		if (insn_class(insn) == BPF_ALU)
			scalar_zext(&dst->s, 4);
		return 0;
	}
	dst->id = 0;
	if (insn_op(insn) == BPF_NEG)
		scalar_alu(&dst->s, &dst->s, BPF_NEG, insn_class(insn) == BPF_ALU64 ? 64 : 32);
	else
		scalar_set_unknown(&dst->s);
	return 0;
}

static int on_scalars(struct verifier *env, const struct bpf_insn *insn, const struct reg *src)
{
	struct reg *dst = &running_regs(env)[insn->dst_reg];
	/* x ^ x and x - x of one register are 0 whatever x is. */
	bool same = insn_uses_reg(insn) && insn->dst_reg == insn->src_reg;
	u32 bits = insn_class(insn) == BPF_ALU64 ? 64 : 32;

	if (same && insn_op(insn) == BPF_XOR && scalar_is_const(&dst->s)) {
		reg_set_const(dst, 0);
		return 0;
	}
	dst->id = 0;
	scalar_alu(&dst->s, &src->s, insn_op(insn), bits);
	return 0;
}

static int two_pointers(struct verifier *env, const struct bpf_insn *insn)
{
	if (insn_op(insn) == BPF_SUB && env->privileged) {
		reg_set_unknown(&running_regs(env)[insn->dst_reg]);
		if (insn_class(insn) == BPF_ALU)
			scalar_zext(&running_regs(env)[insn->dst_reg].s, 4);
		return 0;
	}
	return verify_reject(env, WHY_POINTER_ARITH, insn->dst_reg, -EACCES,
			     "R%d pointer %s pointer prohibited", insn->dst_reg,
			     pointer_operator(insn_op(insn)));
}

static int binary(struct verifier *env, const struct bpf_insn *insn)
{
	struct reg *dst, imm;
	const struct reg *src = &imm;
	int err = insn_uses_reg(insn) ? alu_check_reg(env, insn->src_reg, REG_READ) : 0;

	err = err ? err : alu_check_reg(env, insn->dst_reg, REG_READ);
	if (err)
		return err;
	if (!insn_uses_reg(insn) && (insn_op(insn) == BPF_DIV || insn_op(insn) == BPF_MOD) &&
	    !insn->imm)
		return verify_reject(env, WHY_DIVISION, -1, -EINVAL, "div by zero");
	if (!insn_uses_reg(insn) &&
	    (insn_op(insn) == BPF_LSH || insn_op(insn) == BPF_RSH || insn_op(insn) == BPF_ARSH) &&
	    (insn->imm < 0 || insn->imm >= (insn_class(insn) == BPF_ALU64 ? 64 : 32)))
		return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL, "invalid shift %d", insn->imm);
	err = alu_check_reg(env, insn->dst_reg, REG_WRITE);
	if (err)
		return err;
	dst = &running_regs(env)[insn->dst_reg];
	reg_set_const(&imm, (u64)(s64)insn->imm);
	if (insn_uses_reg(insn))
		src = &running_regs(env)[insn->src_reg];
	if (reg_is_pointer(dst) && reg_is_pointer(src))
		return two_pointers(env, insn);
	if (reg_is_pointer(dst))
		return pointer_arith(env, insn, insn->dst_reg, dst, insn->dst_reg, src);
	if (reg_is_pointer(src))
		return pointer_arith(env, insn, insn->dst_reg, src, insn->src_reg, dst);
	return on_scalars(env, insn, src);
}

int alu_step(struct verifier *env, const struct bpf_insn *insn)
{
	switch (insn_op(insn)) {
	case BPF_MOV:
		return move(env, insn);
	case BPF_NEG:
	case BPF_END:
		return unary(env, insn);
	default:
		return binary(env, insn);
	}
}
