/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/branch.h"

#include "verify/alu.h"
#include "verify/cond.h"
#include "verify/log.h"
#include "verify/pointer.h"
#include "verify/precise.h"
#include "verify/state.h"
#include "verify/walk.h"

/* Packet pointers compared with the end: `range` then says that they are at or beyond it. */
#define AT_PACKET_END	  (-1)
#define BEYOND_PACKET_END (-2)

/* -- Scalars that are copies of each other learn together -- */

static void learn(struct verifier *env, struct reg *reg, void *arg)
{
	const struct reg *known = arg;

	(void)env;
	if (reg != known && reg->type == REG_SCALAR && reg->id == known->id)
		*reg = *known;
}

static void share(struct verifier *env, struct state *state, struct reg *reg)
{
	struct reg known = *reg;

	if (reg->type == REG_SCALAR && reg->id)
		state_each_reg(env, state, learn, &known);
}

/* -- Null checks -- */

struct null_check {
	u32 id, ref_id;
	bool is_null;
};

static void resolve_null(struct verifier *env, struct reg *reg, void *arg)
{
	const struct null_check *check = arg;

	(void)env;
	if (!reg->maybe_null || reg->id != check->id)
		return;
	if (check->is_null) {
		reg_set_const(reg, 0);
		return;
	}
	reg->maybe_null = false;
	if (reg->type == PTR_MAP_VALUE && reg->map->spin_lock_off != UINT32_MAX)
		reg->map_uid = reg->id;
	reg->id = 0;
}

static void forget_reference(struct state *state, u32 id)
{
	for (u32 i = 0; i < state->ref_cnt; i++) {
		if (state->refs[i].id != id)
			continue;
		for (u32 k = i + 1; k < state->ref_cnt; k++)
			state->refs[k - 1] = state->refs[k];
		state->ref_cnt--;
		return;
	}
}

static void check_null(struct verifier *env, struct state *state, u32 regno, bool is_null)
{
	struct reg *reg = &state->frames[state->depth - 1]->regs[regno];
	struct null_check check = {.id = reg->id, .ref_id = reg->ref_id, .is_null = is_null};

	/* A reference that turned out to be null was never taken (but a cast of a held one still is). */
	if (is_null && check.ref_id && check.ref_id == check.id)
		forget_reference(state, check.ref_id);
	state_each_reg(env, state, resolve_null, &check);
}

/* -- Packet ranges -- */

struct range_check {
	u8 type;
	u32 id;
	s32 range;
};

static void widen_range(struct verifier *env, struct reg *reg, void *arg)
{
	const struct range_check *check = arg;

	(void)env;
	if (reg->type == check->type && reg->id == check->id && reg->range < check->range)
		reg->range = check->range;
}

/* In this state every byte below pointer (below or at it, when strict) is in the packet. */
static void found_range(struct verifier *env, struct state *state, const struct reg *pointer,
			bool strict)
{
	struct range_check check = {
		.type = pointer->type, .id = pointer->id, .range = pointer->off + strict};

	if (pointer->off < 0 || (!pointer->off && strict))
		return;
	if (pointer->s.umax > MAX_PACKET_OFF ||
	    pointer->s.umax + (u64)pointer->off > MAX_PACKET_OFF)
		return;
	state_each_reg(env, state, widen_range, &check);
}

static bool is_packet_start(const struct reg *reg)
{
	return reg->type == PTR_PACKET && !reg->id && !reg->off && scalar_is_zero(&reg->s);
}

/* pointer against its limit: data against data_end, data_meta against data. */
static bool is_packet_pair(const struct reg *pointer, const struct reg *limit)
{
	return (pointer->type == PTR_PACKET && limit->type == PTR_PACKET_END) ||
	       (pointer->type == PTR_PACKET_META && is_packet_start(limit));
}

static void mark_end(struct state *state, u32 regno, bool strict)
{
	struct reg *reg = &state->frames[state->depth - 1]->regs[regno];

	if (reg->type == PTR_PACKET)
		reg->range = strict ? BEYOND_PACKET_END : AT_PACKET_END;
}

static u32 mirror(u32 op)
{
	switch (op) {
	case BPF_JGT:
		return BPF_JLT;
	case BPF_JLT:
		return BPF_JGT;
	case BPF_JGE:
		return BPF_JLE;
	case BPF_JLE:
		return BPF_JGE;
	default:
		return op;
	}
}

/* The jump compares a packet pointer with its limit: the side on which it is below gains a range. */
static bool compare_packet(struct verifier *env, const struct bpf_insn *insn, struct state *taken,
			   struct state *not_taken)
{
	const struct reg *dst = &running_regs(env)[insn->dst_reg],
			 *src = &running_regs(env)[insn->src_reg];
	bool swapped = is_packet_pair(src, dst);
	struct reg pointer = swapped ? *src : *dst;
	u32 regno = swapped ? insn->src_reg : insn->dst_reg, op = insn_op(insn);

	if (insn_class(insn) != BPF_JMP || !insn_uses_reg(insn) ||
	    (!swapped && !is_packet_pair(dst, src)))
		return false;
	if (swapped)
		op = mirror(op);
	switch (op) {
	case BPF_JGT: /* pointer > limit */
		found_range(env, not_taken, &pointer, false);
		mark_end(taken, regno, true);
		return true;
	case BPF_JLT:
		found_range(env, taken, &pointer, true);
		mark_end(not_taken, regno, false);
		return true;
	case BPF_JGE:
		found_range(env, not_taken, &pointer, true);
		mark_end(taken, regno, false);
		return true;
	case BPF_JLE:
		found_range(env, taken, &pointer, false);
		mark_end(not_taken, regno, true);
		return true;
	default:
		return false;
	}
}

/* -- Prediction -- */

static bool never_null(const struct reg *reg)
{
	if (reg->maybe_null)
		return false;
	return reg_is_socket(reg) || reg->type == PTR_MAP_VALUE || reg->type == PTR_MAP_KEY ||
	       reg->type == PTR_MEM || reg->type == PTR_RINGBUF;
}

static enum cond_outcome predict_packet(const struct reg *dst, const struct reg *src, u32 op)
{
	const struct reg *pointer = dst;

	if (dst->type == PTR_PACKET_END) {
		pointer = src;
		op = mirror(op);
	} else if (src->type != PTR_PACKET_END) {
		return COND_EITHER;
	}
	if (pointer->type != PTR_PACKET || pointer->range >= 0)
		return COND_EITHER;
	switch (op) {
	case BPF_JLE: /* pointer <= end */
		return pointer->range == BEYOND_PACKET_END ? COND_NEVER : COND_EITHER;
	case BPF_JGT:
		return pointer->range == BEYOND_PACKET_END ? COND_ALWAYS : COND_EITHER;
	case BPF_JLT:
		return COND_NEVER;
	case BPF_JGE:
		return COND_ALWAYS;
	default:
		return COND_EITHER;
	}
}

static enum cond_outcome predict(const struct bpf_insn *insn, const struct reg *dst,
				 const struct reg *src)
{
	u32 bits = insn_class(insn) == BPF_JMP ? 64 : 32, op = insn_op(insn);

	if (dst->type == REG_SCALAR && src->type == REG_SCALAR)
		return cond_predict(&dst->s, &src->s, op, bits);
	if (bits == 32)
		return COND_EITHER;
	if (insn_uses_reg(insn) && reg_is_pointer(dst) && reg_is_pointer(src))
		return predict_packet(dst, src, op);
	if (reg_is_pointer(src)) {
		const struct reg *other = dst;

		dst = src;
		src = other;
	}
	if (reg_is_null(src) && never_null(dst)) {
		if (op == BPF_JEQ)
			return COND_NEVER;
		if (op == BPF_JNE)
			return COND_ALWAYS;
	}
	return COND_EITHER;
}

/* -- Both sides -- */

static struct reg *reg_in(struct state *state, u32 regno)
{
	return &state->frames[state->depth - 1]->regs[regno];
}

/* A side that turned out impossible but was not predicted: keep the bits, forget bounds that contradict each other. */
static int settle(struct verifier *env, struct reg *reg)
{
	if (!scalar_is_empty(&reg->s))
		return 0;
	if (env->request->flags & (1u << 7))
		return verify_reject(env, WHY_TOO_COMPLEX, -1, -EFAULT, "REG INVARIANTS VIOLATION");
	scalar_set_unbounded(&reg->s);
	return 0;
}

static int refine_side(struct verifier *env, const struct bpf_insn *insn, struct state *state,
		       u32 op)
{
	u32 bits = insn_class(insn) == BPF_JMP ? 64 : 32;
	struct reg *dst = reg_in(state, insn->dst_reg), *src, imm;
	int err;

	reg_set_const(&imm, (u64)(s64)insn->imm);
	src = insn_uses_reg(insn) ? reg_in(state, insn->src_reg) : &imm;
	if (dst->type != REG_SCALAR || src->type != REG_SCALAR || dst == src)
		return 0;
	cond_refine(&dst->s, &src->s, op, bits);
	err = settle(env, dst);
	err = err ? err : settle(env, src);
	if (err)
		return err;
	share(env, state, dst);
	if (src != &imm)
		share(env, state, src);
	return 0;
}

static bool is_null_check(const struct bpf_insn *insn, const struct reg *dst)
{
	return dst->maybe_null && !insn_uses_reg(insn) && !insn->imm &&
	       insn_class(insn) == BPF_JMP &&
	       (insn_op(insn) == BPF_JEQ || insn_op(insn) == BPF_JNE);
}

static bool is_scalar_pair(const struct bpf_insn *insn, const struct reg *dst,
			   const struct reg *src)
{
	return dst->type == REG_SCALAR && (!insn_uses_reg(insn) || src->type == REG_SCALAR);
}

/* What the sides learn. taken is the pushed state. */
static int split(struct verifier *env, const struct bpf_insn *insn, struct state *taken)
{
	struct reg *dst = &running_regs(env)[insn->dst_reg],
		   *src = &running_regs(env)[insn->src_reg];
	int err;

	if (is_scalar_pair(insn, dst, src)) {
		err = refine_side(env, insn, taken, insn_op(insn));
		return err ? err : refine_side(env, insn, env->state, cond_negate(insn_op(insn)));
	}
	if (is_null_check(insn, dst)) {
		check_null(env, taken, insn->dst_reg, insn_op(insn) == BPF_JEQ);
		check_null(env, env->state, insn->dst_reg, insn_op(insn) == BPF_JNE);
		return 0;
	}
	if (compare_packet(env, insn, taken, env->state))
		return 0;
	if (pointer_is_secret(env, dst))
		return verify_reject(env, WHY_LEAK, insn->dst_reg, -EACCES,
				     "R%d pointer comparison prohibited", insn->dst_reg);
	return 0;
}

static int check_operands(struct verifier *env, const struct bpf_insn *insn)
{
	const struct reg *regs = running_regs(env), *dst, *src;
	int err = alu_check_reg(env, insn->dst_reg, REG_READ);

	if (err || !insn_uses_reg(insn))
		return err;
	err = alu_check_reg(env, insn->src_reg, REG_READ);
	if (err)
		return err;
	dst = &regs[insn->dst_reg];
	src = &regs[insn->src_reg];
	if (pointer_is_secret(env, src) && !is_packet_pair(dst, src) && !is_packet_pair(src, dst))
		return verify_reject(env, WHY_LEAK, insn->src_reg, -EACCES,
				     "R%d pointer comparison prohibited", insn->src_reg);
	return 0;
}

/* -- Copies of one number -- */

static void keep_linked(struct reg *reg, u32 id, u32 *kept)
{
	if (reg->type != REG_SCALAR || reg->id != id)
		return;
	if (*kept < MAX_LINKED)
		++*kept;
	else
		reg->id = 0;
}

/*
 * A jump learns of at most MAX_LINKED copies of its operands; of others it is forgotten that they are copies. The kernel's
 * limit (collect_linked_regs), in its order: without it some programs would be accepted that the kernel refuses.
 */
static void limit_links(struct verifier *env, const struct reg *operand, u32 *kept)
{
	u32 id = operand->id;

	if (operand->type != REG_SCALAR || !id)
		return;
	for (u32 f = env->state->depth; f-- > 0;) {
		struct frame *frame = env->state->frames[f];

		for (u32 i = 0; i < REG_FP; i++)
			keep_linked(&frame->regs[i], id, kept);
		for (u32 i = 0; i < frame->slot_cnt; i++) {
			if (frame->slots[i].kind[0] == BYTE_SPILL)
				keep_linked(&frame->slots[i].spill, id, kept);
		}
	}
}

int branch_step(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next)
{
	u32 target = env->insn + 1 + (u32)(s32)insn->off;
	struct reg imm, *dst;
	const struct reg *src = &imm;
	struct state *taken;
	enum cond_outcome outcome;
	u32 kept = 0;
	int err = check_operands(env, insn);

	if (err)
		return err;
	reg_set_const(&imm, (u64)(s64)insn->imm);
	dst = &running_regs(env)[insn->dst_reg];
	if (insn_uses_reg(insn))
		src = &running_regs(env)[insn->src_reg];
	outcome = predict(insn, dst, src);
	if (outcome != COND_EITHER) {
		precise_predicted(env, env->insn);
		*ret_next = outcome == COND_ALWAYS ? target : env->insn + 1;
		return 0;
	}
	if (insn_uses_reg(insn))
		limit_links(env, src, &kept);
	limit_links(env, dst, &kept);
	taken = walk_push(env, target, env->insn, &err);
	if (!taken)
		return err;
	env->logged_changes |= 1u << insn->dst_reg;
	if (insn_uses_reg(insn))
		env->logged_changes |= 1u << insn->src_reg;
	*ret_next = env->insn + 1;
	return split(env, insn, taken);
}
