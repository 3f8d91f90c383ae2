/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tail calls: the frame is unwound, and the other program is entered where this one was.
 *
 * r12 counts them. It is set to 0 where C enters a program and put back when that call returns; between, every program,
 * subprogram and helper leaves it alone or puts it back, so that all frames of a run share one counter without a word
 * of memory:
 *
 *   entry:       push r12;  r12 = 0;  call tail_entry;  pop r12;  ret
 *   tail_entry:  the prologue of the program proper; a program without tail calls begins here
 *
 * A callback of a program whose subprograms make tail calls is entered by C in the same way, with r12 = 33.
 */
#include <errno.h>

#include "arch/x86_64/jit.h"
#include "arch/x86_64/x86_64.h"
#include "format/tail.h"

#define PATCH_SIZE 5
#define WORD	   8

static void enter_with(struct codebuf *buf, u32 count)
{
	codebuf_note(buf, FRAME_CFA, X86_RSP, 8);
	asm_push(buf, JIT_TAIL_COUNT);
	codebuf_note(buf, FRAME_CFA, X86_RSP, 16);
	codebuf_note(buf, FRAME_SAVED, JIT_TAIL_COUNT, -16);
	asm_mov_imm(buf, JIT_TAIL_COUNT, count);
	asm_byte(buf, 0xe8);
	codebuf_put(buf, 3, 4); /* over the pop, two bytes, and the return */
	asm_pop(buf, JIT_TAIL_COUNT);
	codebuf_note(buf, FRAME_RESTORED, JIT_TAIL_COUNT, 0);
	codebuf_note(buf, FRAME_CFA, X86_RSP, 8);
	asm_ret(buf);
}

int x86_64_jit_entry(struct codebuf *buf, const struct jit_unit *unit)
{
	(void)unit;
	enter_with(buf, 0);
	return 0;
}

void jit_callback_entry(struct codebuf *buf, const struct jit_sub *sub)
{
	if (sub->callback)
		enter_with(buf, TAIL_CALL_LIMIT);
}

u32 jit_callback_entry_size(const struct jit_sub *sub)
{
	struct codebuf sizing;

	codebuf_init(&sizing, NULL, 0, 0);
	jit_callback_entry(&sizing, sub);
	return sizing.size;
}

/*
 * An instruction of five bytes inside an aligned word, so that one store changes it. What goes before and after it sums up to
 * the same everywhere, or passes would never agree. Returns the instruction's offset; with jump to, in this pass's
 * coordinates.
 */
static u32 emit_patchable(struct codebuf *buf)
{
	u32 before = buf->size % WORD <= WORD - PATCH_SIZE ? 0 : WORD - buf->size % WORD;
	u32 at;

	asm_nops(buf, before);
	at = buf->size;
	for (u32 i = 0; i < PATCH_SIZE; i++)
		asm_byte(buf, 0x90);
	asm_nops(buf, WORD - PATCH_SIZE + 1 - before);
	return at;
}

static void set_patchable(struct codebuf *buf, u32 at, enum patch_kind kind, u32 to)
{
	if (buf->bytes && !buf->error)
		x86_64_patch_encode(buf->bytes + at, kind, at, to);
}

static void skip_to(struct codebuf *buf, u32 mark)
{
	s32 distance = (s32)(buf->size - mark);

	if (buf->bytes && !buf->error)
		__builtin_memcpy(buf->bytes + mark - 4, &distance, 4);
}

/* A long forward branch; skip_to lands it. */
static u32 skip_if(struct codebuf *buf, enum x86_cond cond)
{
	asm_byte(buf, 0x0f);
	asm_byte(buf, (u8)(0x80 | cond));
	codebuf_put(buf, 0, 4);
	return buf->size;
}

static u32 check_count(struct codebuf *buf)
{
	asm_alu_imm(buf, 4, ASM_CMP, JIT_TAIL_COUNT, TAIL_CALL_LIMIT);
	return skip_if(buf, X86_CC_AE);
}

static void direct(struct codebuf *buf, const struct jit_sub *sub, struct jit_tail *tail)
{
	u32 exhausted = check_count(buf);

	tail->bypass = emit_patchable(buf);
	asm_alu_imm(buf, 4, ASM_ADD, JIT_TAIL_COUNT, 1);
	jit_unwind(buf, sub);
	tail->target = emit_patchable(buf);
	jit_note_frame(buf, sub);
	tail->out = buf->size;
	skip_to(buf, exhausted);
	set_patchable(buf, tail->bypass, PATCH_JUMP, tail->out);
	set_patchable(buf, tail->target, PATCH_NOP, 0);
}

/*
 * Goes to [JIT_TEMP]. A retpoline returns there: what is predicted for the return is the call before it, a loop.
 *
 *   call 1f;  0: pause; lfence; jmp 0b;  1: mov [rsp], r11;  ret
 */
static void go_indirect(struct codebuf *buf, const struct jit_unit *unit)
{
	static const u8 trap[] = {0xe8, 7, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9};

	if (!unit->retpolines) {
		asm_mem(buf, 4, 0xff, 4, JIT_TEMP, offsetof(struct tail_target, entry));
		return;
	}
	asm_mem(buf, 8, 0x8b, JIT_TEMP, JIT_TEMP, offsetof(struct tail_target, entry));
	for (u32 i = 0; i < sizeof(trap); i++)
		asm_byte(buf, trap[i]);
	asm_mem(buf, 8, 0x89, JIT_TEMP, X86_RSP, 0);
	asm_ret(buf);
}

/* r1 the context, r2 the map's handle, r3 the key: 32 bits of it. */
static void indirect(struct codebuf *buf, const struct jit_unit *unit, const struct jit_sub *sub)
{
	u32 exhausted = check_count(buf), outside, empty;

	asm_mem(buf, 8, 0x8b, JIT_TEMP, X86_RSI, (s32)unit->tail_slots);
	asm_mov(buf, 4, X86_RDX, X86_RDX);
	asm_mem(buf, 4, 0x3b, X86_RDX, JIT_TEMP, offsetof(struct tail_slots, count));
	outside = skip_if(buf, X86_CC_AE);
	/* mov r11, [r11 + rdx * 8 + slots] */
	asm_byte(buf, 0x4d);
	asm_byte(buf, 0x8b);
	asm_byte(buf, 0x5c);
	asm_byte(buf, 0xd3);
	asm_byte(buf, offsetof(struct tail_slots, slots));
	asm_test(buf, 8, JIT_TEMP, JIT_TEMP);
	empty = skip_if(buf, X86_CC_E);
	asm_alu_imm(buf, 4, ASM_ADD, JIT_TAIL_COUNT, 1);
	jit_unwind(buf, sub);
	go_indirect(buf, unit);
	jit_note_frame(buf, sub);
	skip_to(buf, exhausted);
	skip_to(buf, outside);
	skip_to(buf, empty);
}

int jit_tail_call(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct jit_sub *sub = jit_unit_sub(unit, index);

	if (unit->values[index])
		direct(buf, sub, &unit->tails[unit->values[index] - 1]);
	else
		indirect(buf, unit, sub);
	return 0;
}
