// SPDX-License-Identifier: BSD-2-Clause
/*
 * Images for x86-64: what calls the programs of a site. The frame is trampoline_parts.h's.
 *
 * The words of hit->regs double as the place where clobbered registers are saved. Flags are not kept: no convention passes
 * anything in them across a call. `active` is compared and then stored, as `nest` is in the stubs.
 */
#include <errno.h>

#include "arch/x86_64/trampoline_parts.h"
#include "arch/x86_64/trampoline_point.h"
#include "arch/x86_64/x86_64.h"
#include "format/image.h"

/*
 * What an image of these programs saves, stores and restores, and where.
 *
 * The struct hit at rsp keeps registers, and is the context of programs that are shown registers. Typed contexts have one
 * of their own. At entry it is the upper one: whichever is just below the stub's stack pointer must hold the reader, by
 * which a mark is recognised as one that is in use (hook/stale.c).
 */
struct frame_plan {
	u32 saved;	 /* registers */
	u32 words;	 /* words of hit->regs that hold something */
	u32 facts;	 /* IMAGE_FACT_* of all programs */
	u32 typed_words; /* words of the typed context that some program reads */
	bool typed, modifies;
	s32 size;      /* of the frame: rsp + size is the stub's stack pointer */
	s32 typed_at;  /* the typed struct hit */
	s32 return_at; /* the function's return address */
};

static void plan_places(const struct trampoline_spec *spec, struct frame_plan *plan)
{
	plan->size = FRAME_SIZE;
	plan->typed_at = FRAME_SIZE;
	plan->return_at = RETURN_AT;
	if (spec->when == TRAMPOLINE_EXIT) {
		plan->typed_at += typed_hit_at_exit(spec->signature);
		plan->return_at = plan->typed_at + RETURN_AT;
	} else if (plan->typed) {
		plan->size += FRAME_SIZE;
		plan->return_at += FRAME_SIZE;
	}
}

static struct frame_plan plan_frame(const struct trampoline_spec *spec)
{
	struct frame_plan plan = {.saved = X86_BIT(X86_RAX)};

	for (u32 i = 0; i < spec->call_count; i++) {
		const struct trampoline_call *call = &spec->calls[i];

		plan.saved |= call->clobbers | X86_BIT(X86_RDI);
		plan.facts |= call->facts;
		plan.modifies |= call->context == TRAMPOLINE_MODIFY;
		if (call->context == TRAMPOLINE_REGS) {
			plan.words |= call->ctx_words;
		} else {
			plan.typed = true;
			plan.typed_words |= call->ctx_words;
		}
	}
	plan_places(spec, &plan);
	if (spec->hook_return || spec->when == TRAMPOLINE_RETURN)
		plan.saved |= RETURN_SCRATCH;
	if (plan.facts & IMAGE_FACT_PERCPU)
		plan.saved = X86_CALLER_SAVED;
	plan.saved &= X86_CALLER_SAVED & ~X86_BIT(X86_R11); /* the stub has r11 */
	plan.words &= ALL_WORDS;
	return plan;
}

/* rax is free: it has been saved. */
static void store_constant(struct codebuf *buf, s32 at, u64 value)
{
	if ((s64)value == (s32)value) {
		asm_store_imm(buf, 8, X86_RSP, at, (s32)value);
		return;
	}
	asm_mov_imm(buf, X86_RAX, value);
	asm_store(buf, 8, X86_RSP, at, X86_RAX);
}

static s32 image_cfa(const struct frame_plan *plan)
{
	return plan->return_at + 8;
}

static void emit_save(struct codebuf *buf, const struct frame_plan *plan)
{
	asm_lea(buf, X86_RSP, X86_RSP, -plan->size);
	note_cfa(buf, image_cfa(plan));
	for (u8 reg = 0; reg < 16; reg++) {
		bool read = reg != X86_RSP && reg != X86_R11 && plan->words >> word_of[reg] & 1;

		if (read || plan->saved & X86_BIT(reg))
			asm_store(buf, 8, X86_RSP, word_at(word_of[reg]), reg);
	}
	asm_store(buf, 8, X86_RSP, (s32)offsetof(struct hit, reader), X86_R11);
}

static void emit_restore(struct codebuf *buf, const struct frame_plan *plan)
{
	for (u8 reg = 0; reg < 16; reg++) {
		if (plan->saved & X86_BIT(reg))
			asm_load(buf, 8, reg, X86_RSP, word_at(word_of[reg]));
	}
	asm_lea(buf, X86_RSP, X86_RSP, plan->size);
	note_cfa(buf, image_cfa(plan) - plan->size);
}

static void emit_segments(struct codebuf *buf, const struct frame_plan *plan)
{
	if (plan->words & 1u << WORD_ORIG_AX)
		store_constant(buf, word_at(WORD_ORIG_AX), ~0ull);
	if (plan->words & 1u << WORD_CS)
		store_constant(buf, word_at(WORD_CS), 0x33);
	if (plan->words & 1u << WORD_SS)
		store_constant(buf, word_at(WORD_SS), 0x2b);
}

static void emit_point_context(struct codebuf *buf, const struct trampoline_spec *spec,
			       const struct frame_plan *plan)
{
	if (plan->facts & IMAGE_FACT_FUNC_IP)
		store_constant(buf, (s32)offsetof(struct hit, func_ip), spec->func_ip);
	if (plan->facts & IMAGE_FACT_STACK)
		store_constant(buf, (s32)offsetof(struct hit, arguments), HIT_POINT);
	if (plan->words & 1u << WORD_IP)
		store_constant(buf, word_at(WORD_IP), spec->point);
	if (plan->words & 1u << WORD_R11)
		x86_64_point_word(buf, POINT_R11, plan->size, word_at(WORD_R11));
	if (plan->words & 1u << WORD_FLAGS)
		x86_64_point_word(buf, POINT_FLAGS, plan->size, word_at(WORD_FLAGS));
	if (plan->words & 1u << WORD_SP)
		x86_64_point_word(buf, POINT_SP, plan->size, word_at(WORD_SP));
	emit_segments(buf, plan);
}

/* The words that are no plain register. Segments and flags are what every 64-bit user thread has. */
static void emit_context(struct codebuf *buf, const struct trampoline_spec *spec,
			 const struct frame_plan *plan)
{
	const s32 return_at = (s32)offsetof(struct hit, return_address);
	bool returns = spec->when == TRAMPOLINE_RETURN;

	if (spec->point) {
		emit_point_context(buf, spec, plan);
		return;
	}
	if (plan->facts & IMAGE_FACT_FUNC_IP)
		store_constant(buf, (s32)offsetof(struct hit, func_ip), spec->func_ip);
	if (!returns && plan->facts & IMAGE_FACT_STACK)
		move_word(buf, return_at, plan->return_at);
	if (plan->facts & IMAGE_FACT_STACK)
		asm_store_imm(buf, 8, X86_RSP, (s32)offsetof(struct hit, arguments), 0);
	if (plan->words & 1u << WORD_R11)
		move_word(buf, word_at(WORD_R11), plan->size);
	if (plan->words & 1u << WORD_IP && returns)
		move_word(buf, word_at(WORD_IP), return_at);
	else if (plan->words & 1u << WORD_IP)
		store_constant(buf, word_at(WORD_IP), spec->func_ip);
	if (plan->words & 1u << WORD_FLAGS)
		store_constant(buf, word_at(WORD_FLAGS), 0x202);
	emit_segments(buf, plan);
	if (plan->words & 1u << WORD_SP) {
		asm_lea(buf, X86_RAX, X86_RSP, plan->return_at + (returns ? 8 : 0));
		asm_store(buf, 8, X86_RSP, word_at(WORD_SP), X86_RAX);
	}
}

/* The function's result as the word after those of the arguments; registers are as the function left them. */
static void store_result(struct codebuf *buf, const struct signature *signature, s32 at)
{
	if (signature->returns == SIGNATURE_FLOAT)
		store_vector(buf, at, 0);
	else if (signature->returns == SIGNATURE_HIDDEN)
		asm_store_imm(buf, 8, X86_RSP, at, 0);
	else
		asm_store(buf, 8, X86_RSP, at, X86_RAX);
}

/* Where a walk of the stack starts: what the function preserves is as it was at its entry. rax is free. */
static void store_frame(struct codebuf *buf, const struct frame_plan *plan)
{
	const struct arch *arch = &arch_x86_64;

	asm_lea(buf, X86_RAX, X86_RSP, plan->return_at);
	for (u32 i = 0; i < arch->frame.count; i++)
		asm_store(buf, 8, X86_RSP, plan->typed_at + word_at(HIT_FRAME_WORD + i),
			  arch->frame.encoder[i] == X86_RSP ? X86_RAX : arch->frame.encoder[i]);
}

/* The typed context. Registers are as they were saved; rax is free afterwards, not before. */
static void emit_typed_context(struct codebuf *buf, const struct trampoline_spec *spec,
			       const struct frame_plan *plan)
{
	const struct signature *signature = spec->signature;
	const s32 hit = plan->typed_at;
	u32 result = signature->slot_count;
	bool exits = spec->when == TRAMPOLINE_EXIT;

	if (exits && plan->typed_words >> result & 1)
		store_result(buf, signature, hit + word_at(result));
	if (!exits)
		asm_store(buf, 8, X86_RSP, hit + (s32)offsetof(struct hit, reader), X86_R11);
	if (plan->modifies)
		asm_store_imm(buf, 8, X86_RSP, hit + word_at(result), 0);
	for (u32 i = 0; i < signature->slot_count; i++) {
		u8 place = signature->slots[i];

		if (!(plan->typed_words >> i & 1))
			continue;
		if ((place & SIGNATURE_PLACE_MASK) == SIGNATURE_STACK)
			move_word(buf, hit + word_at(i),
				  plan->return_at + 8 + 8 * (place & ~SIGNATURE_PLACE_MASK));
		else if (!exits)
			store_register_word(buf, signature, i, hit);
	}
	/* A context that escapes into a helper: bpf_get_func_arg_cnt and its like. */
	if (plan->typed_words >> (SIGNATURE_MAX_SLOTS + 1))
		store_constant(buf, hit + (s32)offsetof(struct hit, arguments),
			       signature->slot_count | HIT_TYPED |
				       (exits || plan->modifies ? HIT_HAS_RESULT : 0));
	if (plan->facts & (IMAGE_FACT_FUNC_IP | IMAGE_FACT_STACK))
		store_constant(buf, hit + (s32)offsetof(struct hit, func_ip), spec->func_ip);
	if (plan->facts & IMAGE_FACT_STACK) {
		move_word(buf, hit + (s32)offsetof(struct hit, return_address), plan->return_at);
		store_frame(buf, plan);
	}
}

/* bt, bts, btr qword [reader->active], slot */
enum bit_test {
	BIT_TEST = 4,
	BIT_SET = 5,
	BIT_CLEAR = 6,
};

static void emit_active_bit(struct codebuf *buf, enum bit_test op, u32 slot)
{
	emit_mem_imm8(buf, 0x0fba, (u8)op, X86_R11, READER_ACTIVE, (u8)slot);
}

/* Takes a slot of the per-CPU maps; returns the mark of the branch for when there is none (reader in r11). */
static u32 emit_percpu_enter(struct codebuf *buf, const struct trampoline_spec *spec)
{
	emit_call(buf, spec->percpu_enter);
	reload_reader(buf);
	asm_test(buf, 4, X86_RAX, X86_RAX);
	return emit_far_if(buf, X86_CC_S);
}

/* Between the guard's set and clear, reader in r11 at both ends. Returns emit_percpu_enter's mark, or 0. */
static u32 emit_program(struct codebuf *buf, const struct trampoline_spec *spec,
			const struct frame_plan *plan, const struct trampoline_call *call)
{
	s32 hit = call->context == TRAMPOLINE_REGS ? 0 : plan->typed_at;
	bool percpu = call->facts & IMAGE_FACT_PERCPU;
	u32 missed = percpu ? emit_percpu_enter(buf, spec) : 0;

	emit_increment(buf, X86_R11, READER_HITS + 8 * (s32)call->slot);
	if (call->facts & IMAGE_FACT_COOKIE)
		store_constant(buf, hit + (s32)offsetof(struct hit, cookie), call->cookie);
	asm_lea(buf, X86_RDI, X86_RSP, hit + REGS_AT);
	emit_call(buf, call->entry);
	if (call->context == TRAMPOLINE_MODIFY)
		asm_store(buf, 8, X86_RSP, hit + word_at(spec->signature->slot_count), X86_RAX);
	if (percpu)
		emit_call(buf, spec->percpu_leave);
	reload_reader(buf);
	return missed;
}

static void set_only_active(struct codebuf *buf, u32 slot)
{
	if (slot < 31) {
		asm_store_imm(buf, 8, X86_R11, READER_ACTIVE, 1 << slot);
		return;
	}
	asm_mov_imm(buf, X86_RAX, 1ull << slot);
	asm_store(buf, 8, X86_R11, READER_ACTIVE, X86_RAX);
}

/* A call's parts that are out of line, because some program is active already or there is no per-CPU slot. */
struct outside {
	u32 busy, no_slot; /* marks of the branches to it */
	u64 next;	   /* where the common path goes on */
};

/* The common path: no program is active in this thread. */
static struct outside emit_guarded_call(struct codebuf *buf, const struct trampoline_spec *spec,
					const struct frame_plan *plan,
					const struct trampoline_call *call)
{
	struct outside out;

	emit_compare(buf, X86_R11, READER_ACTIVE, 0);
	out.busy = emit_far_if(buf, X86_CC_NE);
	set_only_active(buf, call->slot);
	out.no_slot = emit_program(buf, spec, plan, call);
	asm_store_imm(buf, 8, X86_R11, READER_ACTIVE, 0);
	out.next = codebuf_pc(buf);
	return out;
}

/* Others are active: only our own bit counts and changes. */
static void emit_outside(struct codebuf *buf, const struct trampoline_spec *spec,
			 const struct frame_plan *plan, const struct trampoline_call *call,
			 const struct outside *out)
{
	u32 missed, no_slot;

	land_far(buf, out->busy);
	emit_active_bit(buf, BIT_TEST, call->slot);
	missed = emit_far_if(buf, X86_CC_B);
	emit_active_bit(buf, BIT_SET, call->slot);
	no_slot = emit_program(buf, spec, plan, call);
	emit_active_bit(buf, BIT_CLEAR, call->slot);
	asm_jump(buf, out->next);
	if (no_slot) {
		land_far(buf, no_slot);
		land_far(buf, out->no_slot);
		emit_active_bit(buf, BIT_CLEAR, call->slot);
	}
	land_far(buf, missed);
	emit_increment(buf, X86_R11, READER_MISSED);
	asm_jump(buf, out->next);
}

/* Caller-saved registers that hold what they held at the image's first instruction, saved nowhere. */
static u32 unsaved_of(const struct frame_plan *plan)
{
	return X86_CALLER_SAVED & ~plan->saved & ~X86_BIT(X86_R11);
}

/* A RETURN image without programs is the stub's own and runs seldom: it is kept small. */
static void emit_pop_return(struct codebuf *buf, const struct trampoline_spec *spec,
			    const struct frame_plan *plan, struct return_paths *paths)
{
	bool wants_caller = plan->words & 1u << WORD_IP || plan->facts & IMAGE_FACT_STACK;

	if (spec->call_count)
		trampoline_pop_return(buf, RETURN_AT, wants_caller, paths);
	else
		trampoline_call_pop(buf, spec->return_lookup, RETURN_AT, unsaved_of(plan));
}

static void emit_slow_returns(struct codebuf *buf, const struct trampoline_spec *spec,
			      const struct frame_plan *plan, struct return_paths *paths)
{
	if (!paths->count)
		return;
	trampoline_land_slow(buf, paths);
	if (spec->when == TRAMPOLINE_RETURN)
		trampoline_call_pop(buf, spec->return_lookup, RETURN_AT, unsaved_of(plan));
	else
		trampoline_call_push(buf, spec, plan->return_at, unsaved_of(plan));
	asm_jump(buf, paths->join);
}

/* All programs; one that modifies to something else than 0 is the last that runs. */
static void emit_calls(struct codebuf *buf, const struct trampoline_spec *spec,
		       const struct frame_plan *plan, struct outside *ret_outside)
{
	const s32 result =
		plan->modifies ? plan->typed_at + word_at(spec->signature->slot_count) : 0;
	u32 done[TRAMPOLINE_MAX_CALLS], count = 0;

	for (u32 i = 0; i < spec->call_count; i++) {
		ret_outside[i] = emit_guarded_call(buf, spec, plan, &spec->calls[i]);
		if (spec->calls[i].context != TRAMPOLINE_MODIFY || i + 1 == spec->call_count)
			continue;
		emit_compare(buf, X86_RSP, result, 0);
		done[count++] = emit_far_if(buf, X86_CC_NE);
	}
	while (count)
		land_far(buf, done[--count]);
}

/* To where the function runs, or is called, or is not. */
static void emit_way_out(struct codebuf *buf, const struct trampoline_spec *spec,
			 const struct frame_plan *plan)
{
	s32 result;
	u32 skip;

	if (!plan->modifies) {
		emit_restore(buf, plan);
		asm_jump(buf, spec->call_function ? spec->call_function : spec->stub_leave);
		return;
	}
	result = plan->typed_at + word_at(spec->signature->slot_count);
	emit_compare(buf, X86_RSP, result, 0);
	skip = emit_far_if(buf, X86_CC_NE);
	emit_restore(buf, plan);
	asm_jump(buf, spec->call_function);
	land_far(buf, skip);
	note_cfa(buf, image_cfa(plan));
	move_word(buf, word_at(word_of[X86_RAX]), result);
	emit_restore(buf, plan);
	asm_jump(buf, spec->skip_function);
}

int x86_64_trampoline_image(struct codebuf *buf, const struct trampoline_spec *spec)
{
	struct outside outside[TRAMPOLINE_MAX_CALLS];
	struct frame_plan plan = plan_frame(spec);
	struct return_paths returns = {.count = 0};

	if (spec->call_count > TRAMPOLINE_MAX_CALLS)
		return -E2BIG;
	if (plan.typed && !spec->signature)
		return -EINVAL;
	if (spec->when == TRAMPOLINE_RETURN)
		codebuf_note(buf, FRAME_HOOKED, 0, 0);
	note_cfa(buf, image_cfa(&plan) - plan.size);
	if (spec->call_function && !spec->call_count && !spec->hook_return) {
		asm_jump(buf, spec->call_function);
		return buf->error;
	}
	emit_save(buf, &plan);
	if (spec->when == TRAMPOLINE_RETURN)
		emit_pop_return(buf, spec, &plan, &returns);
	if (plan.typed)
		emit_typed_context(buf, spec, &plan);
	emit_context(buf, spec, &plan);
	emit_calls(buf, spec, &plan, outside);
	if (spec->hook_return)
		trampoline_push_return(buf, spec, plan.return_at, &returns);
	emit_way_out(buf, spec, &plan);
	note_cfa(buf, image_cfa(&plan));
	for (u32 i = 0; i < spec->call_count; i++)
		emit_outside(buf, spec, &plan, &spec->calls[i], &outside[i]);
	emit_slow_returns(buf, spec, &plan, &returns);
	return buf->error;
}
