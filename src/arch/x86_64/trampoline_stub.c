// SPDX-License-Identifier: BSD-2-Clause
/*
 * Stubs for x86-64: permanent code a site, that marks the thread inside and outside.
 *
 * The fast path makes no read-modify-write of `nest`: a compare (predicted), then a store of a constant. Two
 * read-modify-writes in a row on one word cost a dozen cycles of store forwarding a hit. A signal handler that hits a probe between
 * the two leaves the word as it found it, so what was compared still holds.
 */
#include <errno.h>

#include "arch/x86_64/trampoline_parts.h"
#include "arch/x86_64/trampoline_point.h"
#include "arch/x86_64/x86_64.h"

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
static void emit_leave(struct codebuf *buf, struct mark_paths *paths, s32 cfa)
{
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

/* The way through a mark: its branches, and the first hit's way round it (emit_slow_path, which comes back to marked). */
struct hit_paths {
	struct mark_paths mark;
	u32 slow;
	u64 marked;
};

/* Saves r11, marks the thread's record, branches to the image or past it, takes the mark back and restores r11. */
static void emit_hit(struct codebuf *buf, struct stub_spec *spec, u32 start, s32 cfa,
		     struct hit_paths *ret_paths)
{
	note_cfa(buf, cfa - 8);
	asm_push(buf, X86_R11);
	note_cfa(buf, cfa);
	emit_load_reader(buf, spec->tls_offset);
	asm_test(buf, 8, X86_R11, X86_R11);
	ret_paths->slow = emit_far_if(buf, X86_CC_E);
	ret_paths->marked = codebuf_pc(buf);
	emit_enter(buf, &ret_paths->mark);
	spec->ret_branch = emit_swappable_jump(buf, start);
	spec->ret_leave = spec->ret_idle = (u16)(buf->size - start);
	emit_leave(buf, &ret_paths->mark, cfa);
}

/* Behind it the thread has no record, and can have none: r11 is restored. */
static void emit_first_hit(struct codebuf *buf, const struct stub_spec *spec, s32 cfa,
			   const struct hit_paths *paths)
{
	land_far(buf, paths->slow);
	emit_slow_path(buf, spec->slow_path, cfa);
	asm_jcc(buf, X86_CC_NE, paths->marked);
	asm_pop(buf, X86_R11);
	note_cfa(buf, cfa - 8);
}

static int emit_entry_stub(struct codebuf *buf, struct stub_spec *spec)
{
	u32 start = buf->size;
	struct hit_paths paths;
	int err = spec->inside ? x86_64_point_enter(buf, spec) : 0;

	note_cfa(buf, STUB_CFA - 8);
	spec->ret_shortcut = 0;
	if (!spec->inside)
		asm_nops(buf, 5);
	emit_hit(buf, spec, start, STUB_CFA, &paths);
	if (spec->inside)
		x86_64_point_leave(buf);
	spec->ret_displaced = (u16)(buf->size - start);
	if (spec->displaced && !err)
		err = spec->inside ? x86_64_point_displaced(buf, spec, start)
				   : x86_64_relocate_copy(buf, spec->displaced);
	asm_jump(buf, spec->resume);
	emit_first_hit(buf, spec, STUB_CFA, &paths); /* else the function runs unprobed */
	if (spec->inside)
		x86_64_point_leave(buf);
	asm_jump(buf, buf->exec + start + spec->ret_displaced);
	emit_nested(buf, spec, &paths.mark);
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
	emit_leave(buf, &paths, STUB_CFA);
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
	spec->ret_direct = (u16)(buf->size - start);
	trampoline_hook_directly(buf, spec, buf->exec + start + spec->ret_entry);
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
	struct mark_paths call, skip;
	struct hit_paths paths;
	u32 start = buf->size;
	u64 returned;

	spec->ret_call = 0;
	note_cfa(buf, STUB_CFA);
	emit_leave(buf, &call, STUB_CFA);
	spec->ret_direct = (u16)(buf->size - start);
	emit_call_frame(buf, spec->signature);
	asm_call(buf, spec->function);
	returned = codebuf_pc(buf);
	asm_lea(buf, X86_RSP, X86_RSP, -8);
	emit_hit(buf, spec, start, cfa, &paths);
	emit_call_return(buf, spec->signature);
	spec->ret_skip = (u16)(buf->size - start);
	note_cfa(buf, STUB_CFA);
	emit_leave(buf, &skip, STUB_CFA);
	emit_call_frame(buf, spec->signature);
	asm_jump(buf, returned);
	emit_first_hit(buf, spec, cfa, &paths); /* else: a coroutine, come to such a thread */
	emit_call_return(buf, spec->signature);
	emit_nested_enter(buf, spec, &paths.mark, cfa);
	emit_nested_leave(buf, &paths.mark, cfa);
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
