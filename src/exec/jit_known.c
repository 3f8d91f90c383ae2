/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One pass from start to end. Where control comes in from elsewhere nothing is known: what compilers write before a call,
 * the map and the key on the stack, is seldom further away than the branch before.
 */
#include "exec/jit_known.h"

#include <errno.h>

#include "base/arena.h"
#include "base/mem.h"
#include "exec/interp_alu.h"
#include "exec/jit_live.h"
#include "format/insn.h"

#define WORDS	(INSN_MAX_STACK / 4)
#define NO_MAP	UINT32_MAX
#define NO_WORD UINT32_MAX

enum kind {
	NOTHING,
	CONSTANT, /* number */
	STACK,	  /* R10 + number */
	MAP,	  /* handle of map number */
};

struct value {
	enum kind kind;
	u64 number;
};

struct state {
	struct value regs[MAX_BPF_REG];
	u32 words[WORDS]; /* of the stack, where word_known */
	bool word_known[WORDS];
};

static void forget_stack(struct state *state)
{
	mem_zero(state->word_known, sizeof(state->word_known));
}

static void forget(struct state *state)
{
	mem_zero(state, sizeof(*state));
	state->regs[BPF_REG_10].kind = STACK;
}

static struct value sum(struct value value, s32 addend)
{
	if (value.kind != CONSTANT && value.kind != STACK)
		return (struct value){NOTHING, 0};
	value.number += (u64)(s64)addend;
	return value;
}

static void step_alu(struct state *state, const struct bpf_insn *insn)
{
	struct value *to = &state->regs[insn->dst_reg];
	bool wide = insn_class(insn) == BPF_ALU64;

	if (insn_op(insn) == BPF_MOV && !insn_uses_reg(insn))
		*to = (struct value){CONSTANT, wide ? (u64)(s64)insn->imm : (u32)insn->imm};
	else if (insn->code == (BPF_ALU64 | BPF_MOV | BPF_X) && !insn->off)
		*to = state->regs[insn->src_reg];
	else if (insn->code == (BPF_ALU64 | BPF_ADD | BPF_K))
		*to = sum(*to, insn->imm);
	else
		to->kind = NOTHING;
}

static void step_constant(struct state *state, const struct bpf_insn *insn)
{
	struct value *to = &state->regs[insn->dst_reg];

	if (insn->src_reg == 0)
		*to = (struct value){CONSTANT, insn_imm64(insn)};
	else if (insn->src_reg == INSN_PSEUDO_MAP_FD)
		*to = (struct value){MAP, (u32)insn->imm};
	else
		to->kind = NOTHING;
}

/* The word of the stack at an address, NO_WORD when it is none, or not a whole one. */
static u32 word_at(struct value address)
{
	s64 offset = (s64)address.number + INSN_MAX_STACK;

	return address.kind == STACK && offset >= 0 && offset < INSN_MAX_STACK && !(offset % 4)
		       ? (u32)offset / 4
		       : NO_WORD;
}

/* size bytes at an address change; to value, if that is known. */
static void store(struct state *state, struct value address, u32 size, struct value value)
{
	u32 word = word_at(address), count = size / 4;
	s64 first = (s64)address.number + INSN_MAX_STACK;

	/* A constant address is not of the stack. Any other may be. */
	if (address.kind == CONSTANT)
		return;
	if (address.kind != STACK || first < 0 || first + size > INSN_MAX_STACK) {
		forget_stack(state);
		return;
	}
	for (u32 i = (u32)first / 4; i <= ((u32)first + size - 1) / 4; i++)
		state->word_known[i] = false;
	for (u32 i = 0; i < count && word != NO_WORD && value.kind == CONSTANT; i++) {
		state->words[word + i] = (u32)(value.number >> (32 * i));
		state->word_known[word + i] = true;
	}
}

static void step_store(struct state *state, const struct bpf_insn *insn)
{
	struct value address = sum(state->regs[insn->dst_reg], insn->off);
	struct value value = {CONSTANT, (u64)(s64)insn->imm};
	u32 size = insn_access_size(insn);

	if (insn_class(insn) == BPF_STX)
		value = state->regs[insn->src_reg];
	if (insn_class(insn) != BPF_STX || insn_mode(insn) != BPF_ATOMIC) {
		store(state, address, size, value);
		return;
	}
	if (insn->imm == INSN_LOAD_ACQUIRE) {
		state->regs[insn->dst_reg].kind = NOTHING;
		return;
	}
	store(state, address, size, (struct value){NOTHING, 0});
	state->regs[insn->src_reg].kind = NOTHING;
	state->regs[BPF_REG_0].kind = NOTHING;
	state->regs[BPF_REG_10] = (struct value){STACK, 0};
}

static void step_call(struct state *state, const struct bpf_insn *insn)
{
	/* A lookup writes nothing. */
	if (!insn_is_call_helper(insn) || insn->imm != BPF_FUNC_map_lookup_elem)
		forget_stack(state);
	for (u32 reg = BPF_REG_0; reg <= BPF_REG_5; reg++)
		state->regs[reg].kind = NOTHING;
}

/* Folds a key that is known into the base. */
static u8 fold_key(const struct state *state, struct jit_in_place *how)
{
	u32 word = word_at(state->regs[BPF_REG_2]), key;

	if (!how->count)
		return JIT_IN_PLACE;
	if (word == NO_WORD || !state->word_known[word])
		return JIT_IN_PLACE | JIT_READS_KEY;
	key = state->words[word];
	if (key < how->count)
		how->base += (u64)key * how->stride;
	else
		how->base = how->slots = 0;
	how->count = 0;
	return JIT_IN_PLACE;
}

/* Returns whether the call is done in place. */
static bool try_in_place(struct state *state, const struct exec_env *env,
			 const struct bpf_insn *insn, u8 *target, struct jit_in_place *how)
{
	struct value map = state->regs[BPF_REG_1];

	*how = (struct jit_in_place){0};
	if (!insn_is_call_helper(insn) ||
	    !env->in_place(env->opaque, (u32)insn->imm, map.kind == MAP ? (u32)map.number : NO_MAP,
			   how))
		return false;
	*target |= fold_key(state, how);
	step_call(state, insn);
	if (!how->count && !how->slots)
		state->regs[BPF_REG_0] = (struct value){CONSTANT, how->base};
	return true;
}

static bool is_condition(const struct bpf_insn *insn)
{
	u8 class = insn_class(insn), op = insn_op(insn);

	return (class == BPF_JMP || class == BPF_JMP32) && op != BPF_JA && op != BPF_CALL &&
	       op != BPF_EXIT && op != INSN_JCOND;
}

static void fold_branch(const struct state *state, struct bpf_insn *insn)
{
	struct value left = state->regs[insn->dst_reg];
	struct value right = {CONSTANT, (u64)(s64)insn->imm};
	bool taken;

	if (insn_uses_reg(insn))
		right = state->regs[insn->src_reg];
	if (left.kind != CONSTANT || right.kind != CONSTANT)
		return;
	if (insn_class(insn) == BPF_JMP32) {
		left.number = (u64)(s64)(s32)left.number;
		right.number = (u64)(s64)(s32)right.number;
	}
	taken = interp_compare(insn_op(insn), left.number, right.number);
	*insn = (struct bpf_insn){.code = BPF_JMP | BPF_JA, .off = taken ? insn->off : 0};
}

static void step(struct state *state, struct bpf_insn *insn)
{
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		step_alu(state, insn);
		break;
	case BPF_LD:
		if (insn_is_ld_imm64(insn))
			step_constant(state, insn);
		else
			step_call(state, insn);
		break;
	case BPF_LDX:
		state->regs[insn->dst_reg].kind = NOTHING;
		break;
	case BPF_ST:
	case BPF_STX:
		step_store(state, insn);
		break;
	default:
		if (insn_op(insn) == BPF_CALL)
			step_call(state, insn);
		else if (is_condition(insn))
			fold_branch(state, insn);
	}
}

u32 jit_known_calls(const struct image_header *image)
{
	u32 count = 0;

	for (u32 i = 0; i < image->insn_cnt; i++) {
		count += insn_is_call_helper(&image_insns(image)[i]);
		i += insn_is_ld_imm64(&image_insns(image)[i]);
	}
	return count;
}

int jit_known(const struct exec_env *env, struct jit_unit *unit, struct bpf_insn *insns,
	      u8 *targets, u64 *values, struct jit_in_place *in_place)
{
	struct state *state = arena_alloc(sizeof(*state));
	int count = 0;

	if (!state)
		return -ENOMEM;
	for (u32 i = 0; i < unit->insn_cnt; i++) {
		if (targets[i] & JIT_TARGET)
			forget(state);
		if (try_in_place(state, env, &insns[i], &targets[i], &in_place[count]))
			values[i] = (u64)count++;
		else
			step(state, &insns[i]);
		i += insn_is_ld_imm64(&insns[i]);
	}
	arena_free(state);
	return count;
}
