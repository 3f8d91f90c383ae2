/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backward dataflow over the instructions, before the search, and again when the search has decided a jump for the first
 * time (precise_predicted): only decided jumps count as conditions. For the point before each instruction:
 *
 *   live(i)   registers, and stack slots of the running frame, that some path from i reads before it writes them
 *   exact(i)  of those: the ones whose number some path from i may use where safety depends
 *             on it: in a condition, in pointer arithmetic, as a size or a return value; or from which such a number is computed
 *
 * Two states that differ only in scalars that are not exact accept the same programs: no decision of the search reads them.
 * So pruning may ignore them. (The kernel finds the same by walking each path's history backwards; this is coarser, since it does
 * not know which path was taken, and needs no history.)
 *
 * Stack slots are followed through r10 + constant only. In a subprogram that lets r10 into another register, every
 * access through another register may be to any slot. Slots of callers count as exact throughout.
 */
#include "verify/precise.h"

#include "verify/call.h"
#include "verify/cfg.h"
#include "verify/may_point.h"

struct facts {
	u16 live, exact;
	u64 live_slots, slots;
};

#define BIT(n)	     ((u16)(1u << (n)))
#define CALLER_SAVED 0x3f
#define ARGUMENTS    0x3e
#define MAX_REFINED                                                                                \
	20000 /* instructions of a program whose facts are computed again as jumps are predicted */
#define MAX_ANALYSES 200

static bool slot_mask(const struct bpf_insn *insn, u64 *ret_mask)
{
	s32 low = insn->off, high = low + (s32)insn_access_size(insn) - 1;

	if (low < -INSN_MAX_STACK || high >= 0)
		return false;
	*ret_mask = 1ull << ((-low - 1) / SLOT_SIZE) | 1ull << ((-high - 1) / SLOT_SIZE);
	return true;
}

static void write_reg(struct facts *f, u32 reg)
{
	f->live &= (u16)~BIT(reg);
	f->exact &= (u16)~BIT(reg);
}

static void read_reg(struct facts *f, u32 reg, bool exact)
{
	f->live |= BIT(reg);
	if (exact)
		f->exact |= BIT(reg);
}

static void alu(struct facts *f, const struct bpf_insn *insn, u16 may_point)
{
	u32 op = insn_op(insn), dst = insn->dst_reg, src = insn->src_reg;
	bool exact = f->exact & BIT(dst),
	     from_reg = insn_uses_reg(insn) && op != BPF_END && op != BPF_NEG;
	bool sum = from_reg && insn_class(insn) == BPF_ALU64 && (op == BPF_ADD || op == BPF_SUB);

	if (dst >= REG_CNT || src >= REG_CNT)
		return;
	if (op == BPF_MOV) {
		write_reg(f, dst);
		if (from_reg)
			read_reg(f, src, exact);
		return;
	}
	/* Of a sum that may be pointer + number, the number is exact. */
	read_reg(f, dst, exact || (sum && may_point & BIT(src)));
	if (from_reg)
		read_reg(f, src, exact || (sum && may_point & BIT(dst)));
}

static void load(struct facts *f, const struct bpf_insn *insn, const struct subprog *subprog)
{
	bool exact = f->exact & BIT(insn->dst_reg & 15);
	u64 mask;

	if (insn->dst_reg >= REG_CNT || insn->src_reg >= REG_CNT)
		return;
	write_reg(f, insn->dst_reg);
	read_reg(f, insn->src_reg, false);
	if (insn->src_reg != REG_FP || !slot_mask(insn, &mask))
		mask = subprog->leaks_fp ? ~0ull : 0;
	f->live_slots |= mask;
	if (exact)
		f->slots |= mask;
}

/* Where a store may be refused for what it overwrites, it reads that. */
static bool stores_read(const struct verifier *env)
{
	return !env->privileged || !env->allow_uninit_stack;
}

static void store(const struct verifier *env, struct facts *f, const struct bpf_insn *insn,
		  const struct subprog *subprog)
{
	bool from_reg = insn_class(insn) == BPF_STX, exact, is_main = subprog == &env->subprogs[0];
	u64 mask;

	if (insn->dst_reg >= REG_CNT || insn->src_reg >= REG_CNT)
		return;
	if (insn->dst_reg == REG_FP && slot_mask(insn, &mask)) {
		exact = f->slots & mask;
		if (insn_access_size(insn) == 8 && !(insn->off % SLOT_SIZE)) {
			f->slots &= ~mask;
			f->live_slots &= ~mask;
		}
		if (stores_read(env))
			f->live_slots |= mask;
	} else {
		/* Through another pointer: into a caller's stack, perhaps, or our own. */
		exact = !is_main || (subprog->leaks_fp && f->slots);
		if (stores_read(env) && subprog->leaks_fp)
			f->live_slots = ~0ull;
	}
	read_reg(f, insn->dst_reg, false);
	if (from_reg)
		read_reg(f, insn->src_reg, exact);
}

static void atomic(struct facts *f, const struct bpf_insn *insn)
{
	if (insn->dst_reg >= REG_CNT || insn->src_reg >= REG_CNT)
		return;
	if (insn->imm == BPF_CMPXCHG)
		write_reg(f, 0);
	else if (insn->imm & BPF_FETCH)
		write_reg(f, insn->src_reg);
	read_reg(f, insn->dst_reg, false);
	read_reg(f, insn->src_reg, true);
	if (insn->imm == BPF_CMPXCHG)
		read_reg(f, 0, true);
	f->live_slots = f->slots = ~0ull;
}

static void helper(const struct verifier *env, struct facts *f, const struct bpf_insn *insn,
		   const struct subprog *subprog)
{
	const struct helper_proto *proto = env->host->helper((u32)insn->imm);

	f->live &= (u16)~CALLER_SAVED;
	f->exact &= (u16)~CALLER_SAVED;
	for (u32 i = 0; i < 5 && (!proto || proto->args[i] != ARG_NONE); i++)
		read_reg(
			f, i + 1,
			/* A tail call's key may be taken for constant, and the rounds of a loop are walked. */
			!proto || proto->args[i] != ARG_ANYTHING ||
				proto->id == BPF_FUNC_tail_call || proto->id == BPF_FUNC_loop);
	/* A lookup's result depends on its key, which may be a constant in a slot; a callback may read what it likes. */
	if (!proto || proto->id == BPF_FUNC_map_lookup_elem || proto->args[1] == ARG_PTR_TO_FUNC)
		f->slots = ~0ull;
	if (subprog->leaks_fp && (!proto || proto->args[0] != ARG_NONE))
		f->live_slots = ~0ull;
}

/* What the callee does with its arguments is what the call does with them. */
static void call(struct verifier *env, struct facts *f, const struct bpf_insn *insn,
		 const struct subprog *subprog)
{
	u32 start = (u32)(insn - env->insns) + 1 + (u32)insn->imm;
	struct subprog *callee;

	if (insn->src_reg == INSN_CALL_HELPER) {
		helper(env, f, insn, subprog);
		return;
	}
	if (insn->src_reg != INSN_CALL_SUBPROG) {
		f->live |= ARGUMENTS;
		f->exact |= ARGUMENTS;
		return;
	}
	callee = &env->subprogs[subprog_at(env, start)];
	/* Its arguments are compared with its prototype: a number where a pointer is wanted must be 0. */
	if (callee->is_global) {
		f->live = (u16)((f->live & ~CALLER_SAVED) | ARGUMENTS);
		f->exact = (u16)((f->exact & ~CALLER_SAVED) | ARGUMENTS);
		if (subprog->leaks_fp)
			f->live_slots = f->slots = ~0ull;
		return;
	}
	callee->exact_result |= f->exact & 1;
	f->live = (u16)((f->live & ~CALLER_SAVED) | (env->facts[start].live & ARGUMENTS));
	f->exact = (u16)((f->exact & ~CALLER_SAVED) | (env->facts[start].exact & ARGUMENTS));
	if (subprog->leaks_fp)
		f->live_slots = f->slots = ~0ull;
}

/*
 * A comparison of two registers narrows each by what is known of the other, and their copies with them, wherever those are. So
 * both matter as soon as any number does behind it; in a function, whose callers may hold copies, always.
 */
static void jump(struct facts *f, const struct bpf_insn *insn, bool predicted, bool is_main)
{
	bool exact = predicted;

	if (insn_op(insn) == BPF_JA || insn->dst_reg >= REG_CNT || insn->src_reg >= REG_CNT)
		return;
	if (insn_uses_reg(insn))
		exact |= f->exact || f->slots || !is_main;
	read_reg(f, insn->dst_reg, exact);
	if (insn_uses_reg(insn))
		read_reg(f, insn->src_reg, exact);
}

static void load_constant(struct facts *f, const struct bpf_insn *insn)
{
	if (insn_is_ld_imm64(insn)) {
		if (insn->dst_reg < REG_CNT)
			write_reg(f, insn->dst_reg);
		return;
	}
	f->live &= (u16)~CALLER_SAVED;
	f->exact &= (u16)~CALLER_SAVED;
	read_reg(f, 6, false);
	if (insn_mode(insn) == BPF_IND && insn->src_reg < REG_CNT)
		read_reg(f, insn->src_reg, false);
}

static void transfer(struct verifier *env, struct facts *f, const struct bpf_insn *insn,
		     const struct subprog *subprog)
{
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		alu(f, insn, env->facts[insn - env->insns].may_point);
		break;
	case BPF_LDX:
		load(f, insn, subprog);
		break;
	case BPF_ST:
	case BPF_STX:
		if (insn_mode(insn) == BPF_ATOMIC)
			atomic(f, insn);
		else
			store(env, f, insn, subprog);
		break;
	case BPF_JMP:
	case BPF_JMP32:
		if (insn_op(insn) == BPF_CALL)
			call(env, f, insn, subprog);
		else if (insn_op(insn) == BPF_EXIT)
			*f = (struct facts){.live = 1, .exact = subprog->exact_result};
		else
			jump(f, insn, env->all_exact || env->facts[insn - env->insns].predicted,
			     subprog == &env->subprogs[0]);
		break;
	default:
		load_constant(f, insn);
		break;
	}
}

/* Does a pointer to the frame get into a register other than r10 (or out of the frame)? */
static bool leaks_fp(const struct verifier *env, const struct subprog *subprog)
{
	for (u32 i = subprog->start; i < subprog->end; i++) {
		const struct bpf_insn *insn = &env->insns[i];
		u8 class = insn_class(insn);

		if (insn->src_reg != REG_FP || class == BPF_LDX)
			continue;
		if ((class == BPF_ALU || class == BPF_ALU64) && !insn_uses_reg(insn))
			continue;
		return true;
	}
	return false;
}

static bool update(struct verifier *env, u32 at, const struct subprog *subprog)
{
	struct facts f = {0};
	u32 next[2], count = cfg_successors(env, at, next);
	struct insn_facts *own = &env->facts[at];

	for (u32 i = 0; i < count; i++) {
		f.live |= env->facts[next[i]].live;
		f.exact |= env->facts[next[i]].exact;
		f.live_slots |= env->facts[next[i]].live_slots;
		f.slots |= env->facts[next[i]].exact_slots;
	}
	transfer(env, &f, &env->insns[at], subprog);
	if (f.live == own->live && f.exact == own->exact && f.slots == own->exact_slots &&
	    f.live_slots == own->live_slots)
		return false;
	own->live = f.live;
	own->exact = f.exact;
	own->live_slots = f.live_slots;
	own->exact_slots = f.slots;
	return true;
}

/* Backwards; once is enough without loops, since every successor comes before its instruction. */
static bool solve_subprog(struct verifier *env, const struct subprog *subprog)
{
	bool changed, any = false;

	do {
		changed = false;
		for (u32 i = subprog->end; i-- > subprog->start;) {
			/* The second half of a 64-bit constant is no instruction. */
			if (i > subprog->start && insn_is_ld_imm64(&env->insns[i - 1]) &&
			    !env->insns[i].code)
				continue;
			changed |= update(env, i, subprog);
		}
		any |= changed;
	} while (changed && subprog->has_back_edge);
	return any;
}

/* Callers learn from what callees do with arguments, callees from what callers do with results. */
static void solve(struct verifier *env)
{
	bool changed;

	do {
		changed = false;
		for (u32 s = env->subprog_cnt; s-- > 0;)
			changed |= solve_subprog(env, &env->subprogs[s]);
	} while (changed && env->subprog_cnt > 1);
}

static bool is_callback(const struct verifier *env, const struct subprog *subprog)
{
	for (u32 i = 0; i < env->insn_cnt; i++) {
		const struct bpf_insn *insn = &env->insns[i];

		if (insn_is_ld_imm64(insn) && insn->src_reg == INSN_PSEUDO_FUNC &&
		    i + 1 + (u32)insn->imm == subprog->start)
			return true;
	}
	return false;
}

int precise_analyse(struct verifier *env)
{
	may_point_analyse(env);
	for (u32 s = 0; s < env->subprog_cnt; s++) {
		struct subprog *subprog = &env->subprogs[s];

		subprog->leaks_fp = leaks_fp(env, subprog);
		subprog->exact_result =
			s ? is_callback(env, subprog) : call_checks_return(env->request->prog_type);
	}
	env->all_exact = env->insn_cnt > MAX_REFINED;
	solve(env);
	return 0;
}

void precise_predicted(struct verifier *env, u32 insn)
{
	if (env->facts[insn].predicted)
		return;
	env->facts[insn].predicted = true;
	env->exact_stale = !env->all_exact;
}

void precise_refresh(struct verifier *env)
{
	if (!env->exact_stale)
		return;
	env->exact_stale = false;
	/* Facts only grow, so the last solution is a start. After many rounds all jumps count. */
	env->all_exact = ++env->analyses > MAX_ANALYSES;
	solve(env);
}
