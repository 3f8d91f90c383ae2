/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tail calls: the frame is unwound, and the other program is entered where this one was.
 *
 * x23 counts them. It is set to 0 where C enters a program and put back when that call returns; between, every program,
 * subprogram and helper leaves it alone or puts it back:
 *
 *   entry:       push x29, x30, x23;  x23 = 0;  bl tail_entry;  pop them;  ret
 *   tail_entry:  the prologue of the program proper; a program without tail calls begins here
 *
 * A callback of a program whose subprograms make tail calls is entered by C in the same way, with x23 = 33.
 */
#include <errno.h>

#include "arch/aarch64/aarch64.h"
#include "arch/aarch64/jit.h"
#include "format/tail.h"

#define ENTRY_FRAME 32
#define ENTRY_SIZE  32
#define WORD	    4

static void enter_with(struct codebuf *buf, u32 tail_calls)
{
	a64_pair(buf, A64_PAIR_PUSH, A64_FP, A64_LR, A64_SP, -ENTRY_FRAME);
	a64_arith_imm(buf, 8, A64_ADD, A64_FP, A64_SP, 0);
	a64_access(buf, A64_STORE, 8, JIT_TAIL_COUNT, A64_SP, 16);
	a64_mov_imm(buf, JIT_TAIL_COUNT, tail_calls);
	a64_call(buf, codebuf_pc(buf) + 4 * WORD); /* over what follows */
	a64_access(buf, A64_LOAD, 8, JIT_TAIL_COUNT, A64_SP, 16);
	a64_pair(buf, A64_PAIR_POP, A64_FP, A64_LR, A64_SP, ENTRY_FRAME);
	a64_ret(buf);
}

int aarch64_jit_entry(struct codebuf *buf, const struct jit_unit *unit)
{
	(void)unit;
	enter_with(buf, 0);
	return 0;
}

void aarch64_jit_callback_entry(struct codebuf *buf, const struct jit_sub *sub)
{
	if (sub->callback)
		enter_with(buf, TAIL_CALL_LIMIT);
}

u32 aarch64_jit_callback_entry_size(const struct jit_sub *sub)
{
	return sub->callback ? ENTRY_SIZE : 0;
}

/* Goes on behind the tail call when there were too many. */
static u32 check_count(struct codebuf *buf)
{
	a64_arith_imm(buf, 4, A64_SUBS, A64_ZR, JIT_TAIL_COUNT, TAIL_CALL_LIMIT);
	return a64_skip(buf, a64_branch_if(A64_HS));
}

static void count(struct codebuf *buf)
{
	a64_arith_imm(buf, 4, A64_ADD, JIT_TAIL_COUNT, JIT_TAIL_COUNT, 1);
}

/* Every instruction is inside an aligned word: that makes it patchable. */
static void direct(struct codebuf *buf, const struct jit_sub *sub, struct jit_tail *tail)
{
	u32 exhausted = check_count(buf);

	tail->bypass = buf->size;
	a64_word(buf, A64_NOP);
	count(buf);
	aarch64_jit_unwind(buf, sub);
	tail->target = buf->size;
	a64_word(buf, A64_NOP);
	tail->out = buf->size;
	a64_land(buf, exhausted);
	if (buf->bytes && !buf->error)
		aarch64_patch_encode(buf->bytes + tail->bypass, PATCH_JUMP, tail->bypass,
				     tail->out);
}

/* r1 the context, r2 the map's handle, r3 the key: 32 bits of it. */
static void indirect(struct codebuf *buf, const struct jit_unit *unit, const struct jit_sub *sub)
{
	u32 exhausted = check_count(buf), outside, empty;

	a64_mov_imm(buf, JIT_TEMP, unit->tail_slots);
	a64_access_indexed(buf, A64_LOAD, 8, JIT_TEMP, A64_X1, JIT_TEMP);
	a64_access(buf, A64_LOAD, 4, JIT_TEMP2, JIT_TEMP, offsetof(struct tail_slots, count));
	a64_op(buf, 4, A64_SUBS, A64_ZR, A64_X2, JIT_TEMP2);
	outside = a64_skip(buf, a64_branch_if(A64_HS));
	a64_mov(buf, 4, JIT_TEMP2, A64_X2);
	a64_op_shifted(buf, 8, A64_ADD, JIT_TEMP, JIT_TEMP, JIT_TEMP2, 3);
	a64_access(buf, A64_LOAD, 8, JIT_TEMP, JIT_TEMP, offsetof(struct tail_slots, slots));
	empty = a64_skip(buf, a64_branch_zero(8, JIT_TEMP, false));
	count(buf);
	aarch64_jit_unwind(buf, sub);
	a64_access(buf, A64_LOAD, 8, JIT_TEMP, JIT_TEMP, offsetof(struct tail_target, entry));
	a64_jump_reg(buf, JIT_TEMP);
	a64_land(buf, exhausted);
	a64_land(buf, outside);
	a64_land(buf, empty);
}

int aarch64_jit_tail_call(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct jit_sub *sub = jit_unit_sub(unit, index);

	if (unit->values[index])
		direct(buf, sub, &unit->tails[unit->values[index] - 1]);
	else
		indirect(buf, unit, sub);
	return 0;
}
