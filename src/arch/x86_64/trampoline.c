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
#define IMAGE_CFA	  (FRAME_SIZE + STUB_CFA)
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

/* Both in a stub, with r11 saved. */
static void push_caller_saved(struct codebuf *buf)
{
	for (u32 i = 0; i < ARRAY_SIZE(caller_saved); i++) {
		asm_push(buf, caller_saved[i]);
		note_cfa(buf, STUB_CFA + 8 * (s32)(i + 1));
	}
}

static void pop_caller_saved(struct codebuf *buf)
{
	for (u32 i = ARRAY_SIZE(caller_saved); i-- > 0;) {
		asm_pop(buf, caller_saved[i]);
		note_cfa(buf, STUB_CFA + 8 * (s32)i);
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
static void emit_leave(struct codebuf *buf, s64 tls_offset, struct mark_paths *paths)
{
	emit_load_reader(buf, tls_offset);
	emit_compare(buf, X86_R11, READER_NEST, 1);
	paths->leave_nested = emit_far_if(buf, X86_CC_NE);
	asm_store_imm(buf, 8, X86_R11, READER_SP, 0);
	emit_increment(buf, X86_R11, READER_GENERATION);
	asm_store_imm(buf, 8, X86_R11, READER_NEST, 0);
	paths->left = codebuf_pc(buf);
	asm_pop(buf, X86_R11);
	note_cfa(buf, STUB_CFA - 8);
}

/*
 * Entered while marked: a signal handler or a program's callee, below the mark's stack pointer; at it or above, the mark may
 * have been jumped out of, and is judged. A mark that is gone when it is left stays away.
 */
static void emit_nested(struct codebuf *buf, const struct stub_spec *spec,
			const struct mark_paths *paths)
{
	u64 count;
	u32 above;

	note_cfa(buf, STUB_CFA);
	land_far(buf, paths->enter_nested);
	asm_mem(buf, 8, 0x3b, X86_RSP, X86_R11, READER_SP); /* cmp rsp, [r11 + sp] */
	above = asm_skip_if(buf, X86_CC_AE);
	count = codebuf_pc(buf);
	emit_increment(buf, X86_R11, READER_NEST);
	asm_jump(buf, paths->entered);
	asm_land(buf, above);
	push_caller_saved(buf);
	asm_mov(buf, 8, X86_RDI, X86_R11);
	asm_lea(buf, X86_RSI, X86_RSP, 8 * (s32)ARRAY_SIZE(caller_saved));
	emit_call(buf, spec->judge);
	pop_caller_saved(buf);
	emit_load_reader(buf, spec->tls_offset);
	emit_compare(buf, X86_R11, READER_NEST, 0);
	asm_jcc(buf, X86_CC_NE, count);
	asm_jump(buf, paths->enter);
	land_far(buf, paths->leave_nested);
	asm_jcc(buf, X86_CC_B, paths->left);
	emit_decrement(buf, X86_R11, READER_NEST);
	asm_jump(buf, paths->left);
}

/* The thread's first hit: make its record. Ends with flags of `test r11, r11`. */
static void emit_slow_path(struct codebuf *buf, u64 reader_self)
{
	note_cfa(buf, STUB_CFA);
	push_caller_saved(buf);
	emit_call(buf, reader_self);
	asm_mov(buf, 8, X86_R11, X86_RAX);
	pop_caller_saved(buf);
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
	emit_leave(buf, spec->tls_offset, &paths);
	spec->ret_displaced = (u16)(buf->size - start);
	if (spec->displaced)
		err = x86_64_relocate_copy(buf, spec->displaced);
	asm_jump(buf, spec->resume);
	land_far(buf, slow);
	emit_slow_path(buf, spec->slow_path);
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

	push_caller_saved(buf);
	asm_mov_imm(buf, X86_RDI, 0);
	asm_lea(buf, X86_RSI, X86_RSP, slot);
	asm_mov_imm(buf, X86_RDX, 0);
	emit_call(buf, lookup);
	asm_store(buf, 8, X86_RSP, slot, X86_RAX);
	pop_caller_saved(buf);
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
	emit_leave(buf, spec->tls_offset, &paths);
	emit_jump_popped(buf);
	/* Functions hooked before the last program went still come back here: without programs, to where they would go. */
	land_far(buf, start + spec->ret_branch + 5);
	spec->ret_idle = (u16)(buf->size - start);
	idle.stub_leave = buf->exec + start + spec->ret_leave;
	x86_64_trampoline_image(buf, &idle);
	land_far(buf, slow);
	emit_slow_path(buf, spec->slow_path);
	asm_jcc(buf, X86_CC_NE, marked);
	emit_bare_return(buf, spec->return_lookup);
	emit_nested(buf, spec, &paths);
	spec->ret_size = (u16)(buf->size - start);
	return buf->error;
}

int x86_64_trampoline_stub(struct codebuf *buf, struct stub_spec *spec)
{
	return spec->when == TRAMPOLINE_ENTRY ? emit_entry_stub(buf, spec)
					      : emit_return_stub(buf, spec);
}

/* What an image of these programs saves, stores and restores. */
struct frame_plan {
	u32 saved; /* registers */
	u32 words; /* words of hit->regs that hold something */
	u32 facts; /* IMAGE_FACT_* of all programs */
};

static struct frame_plan plan_frame(const struct trampoline_spec *spec)
{
	struct frame_plan plan = {.saved = X86_BIT(X86_RAX)};

	for (u32 i = 0; i < spec->call_count; i++) {
		plan.saved |= spec->calls[i].clobbers | X86_BIT(X86_RDI);
		plan.words |= spec->calls[i].ctx_words;
		plan.facts |= spec->calls[i].facts;
	}
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

static void emit_save(struct codebuf *buf, const struct frame_plan *plan)
{
	asm_lea(buf, X86_RSP, X86_RSP, -FRAME_SIZE);
	note_cfa(buf, IMAGE_CFA);
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
	asm_lea(buf, X86_RSP, X86_RSP, FRAME_SIZE);
	note_cfa(buf, STUB_CFA);
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
		move_word(buf, return_at, RETURN_AT);
	if (plan->words & 1u << WORD_R11)
		move_word(buf, word_at(WORD_R11), FRAME_SIZE);
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
		asm_lea(buf, X86_RAX, X86_RSP, RETURN_AT + (returns ? 8 : 0));
		asm_store(buf, 8, X86_RSP, word_at(WORD_SP), X86_RAX);
	}
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
			const struct trampoline_call *call)
{
	bool percpu = call->facts & IMAGE_FACT_PERCPU;
	u32 missed = percpu ? emit_percpu_enter(buf, spec) : 0;

	emit_increment(buf, X86_R11, READER_HITS + 8 * (s32)call->slot);
	if (call->facts & IMAGE_FACT_COOKIE)
		store_constant(buf, (s32)offsetof(struct hit, cookie), call->cookie);
	asm_lea(buf, X86_RDI, X86_RSP, REGS_AT);
	emit_call(buf, call->entry);
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
					const struct trampoline_call *call)
{
	struct outside out;

	emit_compare(buf, X86_R11, READER_ACTIVE, 0);
	out.busy = emit_far_if(buf, X86_CC_NE);
	set_only_active(buf, call->slot);
	out.no_slot = emit_program(buf, spec, call);
	asm_store_imm(buf, 8, X86_R11, READER_ACTIVE, 0);
	out.next = codebuf_pc(buf);
	return out;
}

/* Others are active: only our own bit counts and changes. */
static void emit_outside(struct codebuf *buf, const struct trampoline_spec *spec,
			 const struct trampoline_call *call, const struct outside *out)
{
	u32 missed, no_slot;

	land_far(buf, out->busy);
	emit_active_bit(buf, BIT_TEST, call->slot);
	missed = emit_far_if(buf, X86_CC_B);
	emit_active_bit(buf, BIT_SET, call->slot);
	no_slot = emit_program(buf, spec, call);
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

static void emit_hook_return(struct codebuf *buf, const struct trampoline_spec *spec)
{
	asm_mov(buf, 8, X86_RDI, X86_R11);
	asm_lea(buf, X86_RSI, X86_RSP, RETURN_AT);
	asm_mov_imm(buf, X86_RDX, spec->hook_site);
	emit_call(buf, spec->hook_return);
}

int x86_64_trampoline_image(struct codebuf *buf, const struct trampoline_spec *spec)
{
	struct outside outside[TRAMPOLINE_MAX_CALLS];
	struct frame_plan plan = plan_frame(spec);

	if (spec->call_count > TRAMPOLINE_MAX_CALLS)
		return -E2BIG;
	if (spec->when == TRAMPOLINE_RETURN)
		codebuf_note(buf, FRAME_HOOKED, 0, 0);
	note_cfa(buf, STUB_CFA);
	emit_save(buf, &plan);
	if (spec->when == TRAMPOLINE_RETURN)
		emit_return_lookup(buf, spec->return_lookup);
	emit_context(buf, spec, &plan);
	for (u32 i = 0; i < spec->call_count; i++)
		outside[i] = emit_guarded_call(buf, spec, &spec->calls[i]);
	if (spec->hook_return)
		emit_hook_return(buf, spec);
	emit_restore(buf, &plan);
	asm_jump(buf, spec->stub_leave);
	note_cfa(buf, IMAGE_CFA);
	for (u32 i = 0; i < spec->call_count; i++)
		emit_outside(buf, spec, &spec->calls[i], &outside[i]);
	return buf->error;
}
