// SPDX-License-Identifier: BSD-2-Clause
/*
 * Stubs and images for x86-64. S is the stack pointer at the function's first instruction (the return address is there).
 *
 *   stack             | in the stub         | in an image
 *   S                 | return address      | rsp + FRAME_SIZE + 8
 *   S - 8             | saved r11           | rsp + FRAME_SIZE
 *   S - 8 - 208 ...   |                     | struct hit, 16-aligned since S + 8 is
 *
 * The words of hit->regs double as the place where clobbered registers are saved. Flags are not kept: no convention passes
 * anything in them across a call.
 *
 * The fast path makes no read-modify-write of `nest` and `active`: two of those in a row on one word cost a dozen cycles
 * of store forwarding a hit. It compares (predicted), then stores constants. A signal handler that hits a probe between
 * the two leaves both words as it found them, so what was compared still holds.
 */
#include <errno.h>

#include "arch/trampoline.h"
#include "arch/x86_64/asm.h"
#include "arch/x86_64/x86_64.h"
#include "format/image.h"
#include "sync/reader.h"

#define REGS_AT		  ((s32)offsetof(struct hit, regs))
#define FRAME_SIZE	  208
#define RETURN_AT	  (FRAME_SIZE + 8)
#define STUB_CFA	  16
#define ALL_WORDS	  ((1u << WORD_COUNT) - 1)

#define READER_NEST	  ((s32)offsetof(struct reader, nest))
#define READER_SP	  ((s32)offsetof(struct reader, sp))
#define READER_GENERATION ((s32)offsetof(struct reader, generation))
#define READER_ACTIVE	  ((s32)offsetof(struct reader, active))
#define READER_MISSED	  ((s32)offsetof(struct reader, missed))
#define READER_HITS	  ((s32)offsetof(struct reader, hits))

/* The words of pt_regs. */
enum regs_word {
	WORD_R11 = 6,
	WORD_ORIG_AX = 15,
	WORD_IP,
	WORD_CS,
	WORD_FLAGS,
	WORD_SP,
	WORD_SS,
	WORD_COUNT,
};

/* Which word holds which register; rsp's is computed. */
static const u8 word_of[16] = {
	[X86_R15] = 0,	[X86_R14] = 1,	[X86_R13] = 2,	[X86_R12] = 3,
	[X86_RBP] = 4,	[X86_RBX] = 5,	[X86_R11] = 6,	[X86_R10] = 7,
	[X86_R9] = 8,	[X86_R8] = 9,	[X86_RAX] = 10, [X86_RCX] = 11,
	[X86_RDX] = 12, [X86_RSI] = 13, [X86_RDI] = 14, [X86_RSP] = WORD_SP,
};

static const u8 caller_saved[] = {X86_RAX, X86_RCX, X86_RDX, X86_RSI,
				  X86_RDI, X86_R8,  X86_R9,  X86_R10};

/* Offsets and sizes are the ABI's; a change there must not go unnoticed here. */
_Static_assert(sizeof(struct hit) <= FRAME_SIZE && FRAME_SIZE % 16 == 0, "frame");

/* For unwinders: from here on S + 8 is rsp + offset. */
static void note_cfa(struct codebuf *buf, s32 offset)
{
	codebuf_note(buf, FRAME_CFA, X86_RSP, offset);
}

static s32 word_at(u32 word)
{
	return REGS_AT + 8 * (s32)word;
}

/* op qword [base + disp], imm8 */
static void emit_mem_imm8(struct codebuf *buf, u32 opcode, u8 digit, u8 base, s32 disp, u8 imm)
{
	asm_mem(buf, 8, opcode, digit, base, disp);
	asm_byte(buf, imm);
}

static void emit_compare(struct codebuf *buf, u8 base, s32 disp, u8 imm)
{
	emit_mem_imm8(buf, 0x83, ASM_CMP, base, disp, imm);
}

static void emit_increment(struct codebuf *buf, u8 base, s32 disp)
{
	asm_mem(buf, 8, 0xff, 0, base, disp);
}

static void emit_decrement(struct codebuf *buf, u8 base, s32 disp)
{
	asm_mem(buf, 8, 0xff, 1, base, disp);
}

/* mov r11, fs:[offset] */
static void emit_load_reader(struct codebuf *buf, s64 offset)
{
	codebuf_put(buf, 0x251c8b4c64, 5);
	codebuf_put(buf, (u32)offset, 4);
}

/* A call that reaches anywhere; may use rax. A sizing pass counts the longer form. */
static void emit_call(struct codebuf *buf, u64 target)
{
	if (buf->bytes && asm_reaches(buf, 5, target)) {
		asm_call(buf, target);
		return;
	}
	asm_byte(buf, 0x48);
	asm_byte(buf, 0xb8);
	codebuf_put(buf, target, 8);
	asm_call_reg(buf, X86_RAX);
}

/* A forward jcc rel32: its target is filled in by land_far. */
static u32 emit_far_if(struct codebuf *buf, enum x86_cond cond)
{
	asm_jcc(buf, cond, codebuf_pc(buf) + 6);
	return buf->size;
}

static void land_far(struct codebuf *buf, u32 mark)
{
	u32 distance = buf->size - mark;

	if (buf->bytes && !buf->error)
		__builtin_memcpy(buf->bytes + mark - 4, &distance, 4);
}

/* Both in a stub, with r11 saved; cfa: as noted there. */
static void push_caller_saved(struct codebuf *buf, s32 cfa)
{
	for (u32 i = 0; i < ARRAY_SIZE(caller_saved); i++) {
		asm_push(buf, caller_saved[i]);
		note_cfa(buf, cfa + 8 * (s32)(i + 1));
	}
}

static void pop_caller_saved(struct codebuf *buf, s32 cfa)
{
	for (u32 i = ARRAY_SIZE(caller_saved); i-- > 0;) {
		asm_pop(buf, caller_saved[i]);
		note_cfa(buf, cfa + 8 * (s32)i);
	}
}

/* A jmp that one aligned store can retarget; goes to what follows it until then. Returns its offset from start. */
static u16 emit_swappable_jump(struct codebuf *buf, u32 start)
{
	u32 at;

	while ((codebuf_pc(buf) & 7) > 3)
		asm_byte(buf, 0x90);
	at = buf->size;
	asm_jump(buf, codebuf_pc(buf) + 5);
	return (u16)(at - start);
}

/*
 * Marking the thread inside and outside, reader in r11. The common path falls through: a taken branch a hit is worth saving.
 * The nested ones are emitted behind the stub's other code and come back.
 */
struct mark_paths {
	u32 enter_nested, leave_nested; /* marks of the branches to them */
	u64 enter, entered, left;	/* where they come back to */
};

static void emit_enter(struct codebuf *buf, struct mark_paths *paths)
{
	paths->enter = codebuf_pc(buf);
	emit_compare(buf, X86_R11, READER_NEST, 0);
	paths->enter_nested = emit_far_if(buf, X86_CC_NE);
	asm_store_imm(buf, 8, X86_R11, READER_NEST, 1);
	asm_store(buf, 8, X86_R11, READER_SP, X86_RSP);
	paths->entered = codebuf_pc(buf);
}

/* Marks it outside and restores r11. */
static void emit_leave(struct codebuf *buf, const struct stub_spec *spec, struct mark_paths *paths,
		       s32 cfa)
{
	emit_load_reader(buf, spec->tls_offset);
	emit_compare(buf, X86_R11, READER_NEST, 1);
	paths->leave_nested = emit_far_if(buf, X86_CC_NE);
	asm_store_imm(buf, 8, X86_R11, READER_SP, 0);
	emit_increment(buf, X86_R11, READER_GENERATION);
	asm_store_imm(buf, 8, X86_R11, READER_NEST, 0);
	paths->left = codebuf_pc(buf);
	asm_pop(buf, X86_R11);
	note_cfa(buf, cfa - 8);
}

/*
 * Entered while marked: a signal handler or a program's callee, below the mark's stack pointer; at it or above, the mark may
 * have been jumped out of, and is judged. A mark that is gone when it is left stays away.
 */
static void emit_nested_enter(struct codebuf *buf, const struct stub_spec *spec,
			      const struct mark_paths *paths, s32 cfa)
{
	u64 count;
	u32 above;

	note_cfa(buf, cfa);
	land_far(buf, paths->enter_nested);
	asm_mem(buf, 8, 0x3b, X86_RSP, X86_R11, READER_SP); /* cmp rsp, [r11 + sp] */
	above = asm_skip_if(buf, X86_CC_AE);
	count = codebuf_pc(buf);
	emit_increment(buf, X86_R11, READER_NEST);
	asm_jump(buf, paths->entered);
	asm_land(buf, above);
	push_caller_saved(buf, cfa);
	asm_mov(buf, 8, X86_RDI, X86_R11);
	asm_lea(buf, X86_RSI, X86_RSP, 8 * (s32)ARRAY_SIZE(caller_saved));
	emit_call(buf, spec->judge);
	pop_caller_saved(buf, cfa);
	emit_load_reader(buf, spec->tls_offset);
	emit_compare(buf, X86_R11, READER_NEST, 0);
	asm_jcc(buf, X86_CC_NE, count);
	asm_jump(buf, paths->enter);
}

static void emit_nested_leave(struct codebuf *buf, const struct mark_paths *paths, s32 cfa)
{
	note_cfa(buf, cfa);
	land_far(buf, paths->leave_nested);
	asm_jcc(buf, X86_CC_B, paths->left);
	emit_decrement(buf, X86_R11, READER_NEST);
	asm_jump(buf, paths->left);
}

static void emit_nested(struct codebuf *buf, const struct stub_spec *spec,
			const struct mark_paths *paths)
{
	emit_nested_enter(buf, spec, paths, STUB_CFA);
	emit_nested_leave(buf, paths, STUB_CFA);
}

/* The thread's first hit: make its record. Ends with flags of `test r11, r11`. */
static void emit_slow_path(struct codebuf *buf, u64 reader_self, s32 cfa)
{
	note_cfa(buf, cfa);
	push_caller_saved(buf, cfa);
	emit_call(buf, reader_self);
	asm_mov(buf, 8, X86_R11, X86_RAX);
	pop_caller_saved(buf, cfa);
	asm_test(buf, 8, X86_R11, X86_R11);
}

static int emit_entry_stub(struct codebuf *buf, struct stub_spec *spec)
{
	u32 start = buf->size, slow;
	struct mark_paths paths;
	u64 marked;
	int err = 0;

	note_cfa(buf, STUB_CFA - 8);
	asm_push(buf, X86_R11);
	note_cfa(buf, STUB_CFA);
	emit_load_reader(buf, spec->tls_offset);
	asm_test(buf, 8, X86_R11, X86_R11);
	slow = emit_far_if(buf, X86_CC_E);
	marked = codebuf_pc(buf);
	emit_enter(buf, &paths);
	spec->ret_branch = emit_swappable_jump(buf, start);
	spec->ret_leave = spec->ret_idle = (u16)(buf->size - start);
	emit_leave(buf, spec, &paths, STUB_CFA);
	spec->ret_displaced = (u16)(buf->size - start);
	if (spec->displaced)
		err = x86_64_relocate_copy(buf, spec->displaced);
	asm_jump(buf, spec->resume);
	land_far(buf, slow);
	emit_slow_path(buf, spec->slow_path, STUB_CFA);
	asm_jcc(buf, X86_CC_NE, marked);
	asm_pop(buf, X86_R11); /* no record to be had: the function runs unprobed */
	note_cfa(buf, STUB_CFA - 8);
	asm_jump(buf, buf->exec + start + spec->ret_displaced);
	emit_nested(buf, spec, &paths);
	spec->ret_size = (u16)(buf->size - start);
	return err ? err : buf->error;
}

/*
 * To the address in the word at rsp, popping it. Not by ret: the function's own ret has already used up the prediction for
 * its call, and another would put every outer return off by one. The word is in the red zone while it is read.
 */
static void emit_jump_popped(struct codebuf *buf)
{
	asm_lea(buf, X86_RSP, X86_RSP, 8);
	note_cfa(buf, 0);
	asm_mem(buf, 4, 0xff, 4, X86_RSP, -8);
}

/* A hooked return of a thread that can have no record: the shadow stacks are searched, no program runs. */
static void emit_bare_return(struct codebuf *buf, u64 lookup)
{
	s32 slot = 8 * (s32)ARRAY_SIZE(caller_saved) + 8;

	push_caller_saved(buf, STUB_CFA);
	asm_mov_imm(buf, X86_RDI, 0);
	asm_lea(buf, X86_RSI, X86_RSP, slot);
	asm_mov_imm(buf, X86_RDX, 0);
	emit_call(buf, lookup);
	asm_store(buf, 8, X86_RSP, slot, X86_RAX);
	pop_caller_saved(buf, STUB_CFA);
	asm_pop(buf, X86_R11);
	note_cfa(buf, STUB_CFA - 8);
	emit_jump_popped(buf);
}

static int emit_return_stub(struct codebuf *buf, struct stub_spec *spec)
{
	struct trampoline_spec idle = {
		.when = TRAMPOLINE_RETURN,
		.return_lookup = spec->return_lookup,
	};
	u32 start = buf->size, slow;
	struct mark_paths paths;
	u64 marked;

	codebuf_note(buf, FRAME_HOOKED, 0, 0);
	note_cfa(buf, 0);
	/* Unwinders look for the instruction in front of a return address. */
	asm_byte(buf, 0x90);
	spec->ret_entry = (u16)(buf->size - start);
	asm_lea(buf, X86_RSP, X86_RSP, -8);
	note_cfa(buf, STUB_CFA - 8);
	asm_push(buf, X86_R11);
	note_cfa(buf, STUB_CFA);
	emit_load_reader(buf, spec->tls_offset);
	asm_test(buf, 8, X86_R11, X86_R11);
	slow = emit_far_if(buf, X86_CC_E);
	marked = codebuf_pc(buf);
	emit_enter(buf, &paths);
	spec->ret_branch = emit_swappable_jump(buf, start);
	spec->ret_leave = (u16)(buf->size - start);
	emit_leave(buf, spec, &paths, STUB_CFA);
	emit_jump_popped(buf);
	/* Functions hooked before the last program went still come back here: without programs, to where they would go. */
	land_far(buf, start + spec->ret_branch + 5);
	spec->ret_idle = (u16)(buf->size - start);
	idle.stub_leave = buf->exec + start + spec->ret_leave;
	x86_64_trampoline_image(buf, &idle);
	land_far(buf, slow);
	emit_slow_path(buf, spec->slow_path, STUB_CFA);
	asm_jcc(buf, X86_CC_NE, marked);
	emit_bare_return(buf, spec->return_lookup);
	emit_nested(buf, spec, &paths);
	spec->ret_size = (u16)(buf->size - start);
	return buf->error;
}

/*
 * ---- calls of the function ----
 *
 *   S                   return address
 *   S - 8               r11, as the caller left it
 *   S - 8 - FRAME_SIZE  struct hit; words of register arguments
 *   below               copies of the stack arguments, 16-aligned: the function finds them above its return address
 *   below, at return    one word, r11 as the function left it: as in the other stubs
 */

static const u8 argument_registers[] = {X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8, X86_R9};

static s32 copies_size(const struct signature *signature)
{
	return (s32)ALIGN_UP(8 * (u32)signature->stack_words, 16u);
}

/* Where the struct hit of an EXIT stub is, from the stack pointer of its images. */
static s32 typed_hit_at_exit(const struct signature *signature)
{
	return 16 + copies_size(signature);
}

/* movq [rsp + at], xmm */
static void store_vector(struct codebuf *buf, s32 at, u8 vector)
{
	asm_byte(buf, 0x66);
	asm_mem(buf, 4, 0x0fd6, vector, X86_RSP, at);
}

/* Word i of the arguments into the struct hit at `hit`, when it is in a register. */
static void store_register_word(struct codebuf *buf, const struct signature *signature, u32 i,
				s32 hit)
{
	u8 place = signature->slots[i], number = place & (u8)~SIGNATURE_PLACE_MASK;

	if ((place & SIGNATURE_PLACE_MASK) == SIGNATURE_GENERAL)
		asm_store(buf, 8, X86_RSP, hit + word_at(i), argument_registers[number]);
	else if ((place & SIGNATURE_PLACE_MASK) == SIGNATURE_VECTOR)
		store_vector(buf, hit + word_at(i), number);
}

/* From rsp = S, with the registers of the function's entry, all of which it keeps. */
static void emit_call_frame(struct codebuf *buf, const struct signature *signature)
{
	s32 copies = copies_size(signature);

	asm_push(buf, X86_R11);
	note_cfa(buf, STUB_CFA);
	asm_lea(buf, X86_RSP, X86_RSP, -(FRAME_SIZE + copies));
	note_cfa(buf, STUB_CFA + FRAME_SIZE + copies);
	for (u32 i = 0; i < signature->slot_count; i++)
		store_register_word(buf, signature, i, copies);
	for (s32 i = 0; i < signature->stack_words; i++) {
		asm_load(buf, 8, X86_R11, X86_RSP, copies + RETURN_AT + 8 + 8 * i);
		asm_store(buf, 8, X86_RSP, 8 * i, X86_R11);
	}
	if (signature->stack_words)
		asm_load(buf, 8, X86_R11, X86_RSP, copies + FRAME_SIZE);
}

/* Gives the frame back, its result and r11 in place. */
static void emit_call_return(struct codebuf *buf, const struct signature *signature)
{
	asm_lea(buf, X86_RSP, X86_RSP, 8 + copies_size(signature) + RETURN_AT);
	note_cfa(buf, 8);
	asm_ret(buf);
}

static int emit_exit_stub(struct codebuf *buf, struct stub_spec *spec)
{
	const s32 cfa = STUB_CFA + typed_hit_at_exit(spec->signature) + FRAME_SIZE;
	struct mark_paths call, skip, paths;
	u32 start = buf->size, slow;
	u64 marked, returned;

	spec->ret_call = 0;
	note_cfa(buf, STUB_CFA);
	emit_leave(buf, spec, &call, STUB_CFA);
	emit_call_frame(buf, spec->signature);
	asm_call(buf, spec->function);
	returned = codebuf_pc(buf);
	asm_lea(buf, X86_RSP, X86_RSP, -8);
	note_cfa(buf, cfa - 8);
	asm_push(buf, X86_R11);
	note_cfa(buf, cfa);
	emit_load_reader(buf, spec->tls_offset);
	asm_test(buf, 8, X86_R11, X86_R11);
	slow = emit_far_if(buf, X86_CC_E);
	marked = codebuf_pc(buf);
	emit_enter(buf, &paths);
	spec->ret_branch = emit_swappable_jump(buf, start);
	spec->ret_leave = spec->ret_idle = (u16)(buf->size - start);
	emit_leave(buf, spec, &paths, cfa);
	emit_call_return(buf, spec->signature);
	spec->ret_skip = (u16)(buf->size - start);
	note_cfa(buf, STUB_CFA);
	emit_leave(buf, spec, &skip, STUB_CFA);
	emit_call_frame(buf, spec->signature);
	asm_jump(buf, returned);
	land_far(buf, slow);
	emit_slow_path(buf, spec->slow_path, cfa);
	asm_jcc(buf, X86_CC_NE, marked);
	asm_pop(buf, X86_R11); /* a coroutine came to a thread that can have no record */
	note_cfa(buf, cfa - 8);
	emit_call_return(buf, spec->signature);
	emit_nested_enter(buf, spec, &paths, cfa);
	emit_nested_leave(buf, &paths, cfa);
	emit_nested_leave(buf, &call, STUB_CFA);
	emit_nested_leave(buf, &skip, STUB_CFA);
	spec->ret_size = (u16)(buf->size - start);
	return buf->error;
}

int x86_64_trampoline_stub(struct codebuf *buf, struct stub_spec *spec)
{
	switch (spec->when) {
	case TRAMPOLINE_ENTRY:
		return emit_entry_stub(buf, spec);
	case TRAMPOLINE_RETURN:
		return emit_return_stub(buf, spec);
	case TRAMPOLINE_EXIT:
		return emit_exit_stub(buf, spec);
	}
	return -EINVAL;
}

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
	if (spec->hook_return || spec->when == TRAMPOLINE_RETURN || plan.facts & IMAGE_FACT_PERCPU)
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

static void move_word(struct codebuf *buf, s32 to, s32 from)
{
	asm_load(buf, 8, X86_RAX, X86_RSP, from);
	asm_store(buf, 8, X86_RSP, to, X86_RAX);
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

/* The words that are no plain register. Segments and flags are what every 64-bit user thread has. */
static void emit_context(struct codebuf *buf, const struct trampoline_spec *spec,
			 const struct frame_plan *plan)
{
	const s32 return_at = (s32)offsetof(struct hit, return_address);
	bool returns = spec->when == TRAMPOLINE_RETURN;

	if (plan->facts & IMAGE_FACT_FUNC_IP)
		store_constant(buf, (s32)offsetof(struct hit, func_ip), spec->func_ip);
	if (!returns && plan->facts & IMAGE_FACT_STACK)
		move_word(buf, return_at, plan->return_at);
	if (plan->words & 1u << WORD_R11)
		move_word(buf, word_at(WORD_R11), plan->size);
	if (plan->words & 1u << WORD_ORIG_AX)
		store_constant(buf, word_at(WORD_ORIG_AX), ~0ull);
	if (plan->words & 1u << WORD_IP && returns)
		move_word(buf, word_at(WORD_IP), return_at);
	else if (plan->words & 1u << WORD_IP)
		store_constant(buf, word_at(WORD_IP), spec->func_ip);
	if (plan->words & 1u << WORD_CS)
		store_constant(buf, word_at(WORD_CS), 0x33);
	if (plan->words & 1u << WORD_FLAGS)
		store_constant(buf, word_at(WORD_FLAGS), 0x202);
	if (plan->words & 1u << WORD_SS)
		store_constant(buf, word_at(WORD_SS), 0x2b);
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
			       signature->slot_count |
				       (exits || plan->modifies ? HIT_HAS_RESULT : 0));
	if (plan->facts & IMAGE_FACT_FUNC_IP)
		store_constant(buf, hit + (s32)offsetof(struct hit, func_ip), spec->func_ip);
	if (plan->facts & IMAGE_FACT_STACK)
		move_word(buf, hit + (s32)offsetof(struct hit, return_address), plan->return_at);
}

static void reload_reader(struct codebuf *buf)
{
	asm_load(buf, 8, X86_R11, X86_RSP, (s32)offsetof(struct hit, reader));
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

static void emit_return_lookup(struct codebuf *buf, u64 lookup)
{
	asm_mov(buf, 8, X86_RDI, X86_R11);
	asm_lea(buf, X86_RSI, X86_RSP, RETURN_AT);
	asm_mov(buf, 8, X86_RDX, X86_RSP);
	emit_call(buf, lookup);
	asm_store(buf, 8, X86_RSP, RETURN_AT, X86_RAX);
	reload_reader(buf);
}

static void emit_hook_return(struct codebuf *buf, const struct trampoline_spec *spec,
			     const struct frame_plan *plan)
{
	asm_mov(buf, 8, X86_RDI, X86_R11);
	asm_lea(buf, X86_RSI, X86_RSP, plan->return_at);
	asm_mov_imm(buf, X86_RDX, spec->hook_site);
	emit_call(buf, spec->hook_return);
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
		emit_return_lookup(buf, spec->return_lookup);
	if (plan.typed)
		emit_typed_context(buf, spec, &plan);
	emit_context(buf, spec, &plan);
	emit_calls(buf, spec, &plan, outside);
	if (spec->hook_return)
		emit_hook_return(buf, spec, &plan);
	emit_way_out(buf, spec, &plan);
	note_cfa(buf, image_cfa(&plan));
	for (u32 i = 0; i < spec->call_count; i++)
		emit_outside(buf, spec, &plan, &spec->calls[i], &outside[i]);
	return buf->error;
}
