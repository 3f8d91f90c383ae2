/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * May a register hold a pointer? Joined over all paths; whatever is in doubt may. Numbers come from constants, narrow loads, 32-bit
 * operations and helpers that return integers. Sums of numbers are then known to be no addresses (precise.c).
 */
#include "verify/may_point.h"

#include "verify/cfg.h"
#include "verify/ctx.h"

#define BIT(n)	  ((u16)(1u << (n)))
#define ARGUMENTS 0x3e
#define RESULT	  0x01

static u16 set(u16 mask, u32 reg, bool may)
{
	u32 bit = 1u << reg;

	return (u16)(may ? mask | bit : mask & ~bit);
}

static u16 after_alu(u16 mask, const struct bpf_insn *insn)
{
	u32 op = insn_op(insn), dst = insn->dst_reg, src = insn->src_reg;
	bool from_reg = insn_uses_reg(insn) && op != BPF_END && op != BPF_NEG;

	if (insn_class(insn) == BPF_ALU)
		return set(mask, dst, false);
	if (op == BPF_MOV)
		return set(mask, dst, from_reg && mask & BIT(src));
	if ((op == BPF_ADD || op == BPF_SUB) && from_reg && mask & BIT(src))
		return set(mask, dst, true);
	return mask;
}

/* Packet pointers are read from 32-bit fields of the context. */
static bool load_may_point(const struct verifier *env, const struct bpf_insn *insn)
{
	u32 size = insn_access_size(insn);

	return size == 8 || (size == 4 && env->ctx->packet_read);
}

static u16 after_call(const struct verifier *env, u16 mask, const struct bpf_insn *insn)
{
	const struct helper_proto *proto =
		insn_is_call_helper(insn) ? env->host->helper((u32)insn->imm) : NULL;
	bool number = proto && (proto->ret == RET_INTEGER || proto->ret == RET_VOID);

	mask &= (u16) ~(ARGUMENTS | RESULT);
	return number ? mask : (u16)(mask | RESULT);
}

static u16 after_atomic(u16 mask, const struct bpf_insn *insn)
{
	if (insn->imm == BPF_CMPXCHG)
		return mask | RESULT;
	return insn->imm & BPF_FETCH ? set(mask, insn->src_reg, true) : mask;
}

static u16 after(const struct verifier *env, u16 mask, const struct bpf_insn *insn)
{
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		return after_alu(mask, insn);
	case BPF_LDX:
		return set(mask, insn->dst_reg, load_may_point(env, insn));
	case BPF_STX:
		return insn_mode(insn) == BPF_ATOMIC ? after_atomic(mask, insn) : mask;
	case BPF_JMP:
		return insn_op(insn) == BPF_CALL ? after_call(env, mask, insn) : mask;
	case BPF_LD:
		if (insn_is_ld_imm64(insn))
			return set(mask, insn->dst_reg, insn->src_reg != 0);
		return (u16)(mask & ~(ARGUMENTS | RESULT));
	default:
		return mask;
	}
}

static bool update(struct verifier *env, u32 at)
{
	u16 mask = after(env, env->facts[at].may_point, &env->insns[at]);
	u32 next[2], count = cfg_successors(env, at, next);
	bool changed = false;

	for (u32 i = 0; i < count; i++) {
		struct insn_facts *facts = &env->facts[next[i]];

		changed |= (mask & ~facts->may_point) != 0;
		facts->may_point |= mask;
	}
	return changed;
}

void may_point_analyse(struct verifier *env)
{
	for (u32 s = 0; s < env->subprog_cnt; s++) {
		const struct subprog *subprog = &env->subprogs[s];
		bool changed;

		env->facts[subprog->start].may_point |= (u16)(BIT(REG_FP) | ARGUMENTS);
		do {
			changed = false;
			for (u32 i = subprog->start; i < subprog->end; i++) {
				changed |= update(env, i);
				i += insn_is_ld_imm64(&env->insns[i]);
			}
		} while (changed && subprog->has_back_edge);
	}
}
