// SPDX-License-Identifier: BSD-2-Clause
/*
 * Points in the middle of a function, for x86-64: what they have that a function's entry has not.
 *
 * P is the stack pointer at the point. The 128 bytes below it are the function's (the red zone), P is aligned to nothing in
 * particular, and flags may be live. So the stub makes a frame that looks like a function's entry to the rest of it and to
 * images:
 *
 *   P - 136     red zone, a word
 *   P - 144     r11
 *   P - 152     flags
 *   S           P - 152, where an entry has its return address; S + 8 is 16-aligned
 *   S - 8       P - 152 again: what the stub keeps of r11
 *
 * There is no rule by which an unwinder finds P, so this code has no notes; programs walk from their context.
 */
#include "arch/x86_64/trampoline_point.h"
#include "arch/relocate.h"
#include "arch/x86_64/asm.h"
#include "arch/x86_64/x86_64.h"

#define KEPT_AT	 152
#define RED_ZONE 136

int x86_64_point_enter(struct codebuf *buf, const struct stub_spec *spec)
{
	int err = 0;

	if (spec->displaced && spec->before)
		err = x86_64_relocate_part(buf, spec->displaced, 0, spec->before);
	asm_lea(buf, X86_RSP, X86_RSP, -RED_ZONE);
	asm_push(buf, X86_R11);
	asm_byte(buf, 0x9c); /* pushfq */
	asm_byte(buf, 0xfc); /* cld */
	asm_mov(buf, 8, X86_R11, X86_RSP);
	asm_alu_imm(buf, 8, ASM_AND, X86_RSP, -16);
	asm_push(buf, X86_R11);
	return err;
}

void x86_64_point_leave(struct codebuf *buf)
{
	asm_mov(buf, 8, X86_RSP, X86_R11);
	asm_byte(buf, 0x9d); /* popfq */
	asm_pop(buf, X86_R11);
	asm_lea(buf, X86_RSP, X86_RSP, RED_ZONE);
}

int x86_64_point_displaced(struct codebuf *buf, const struct stub_spec *spec, u32 start)
{
	struct displaced *displaced = spec->displaced;
	int err = x86_64_relocate_part(buf, displaced, spec->before, displaced->count);

	/* Those of the first part lie in front: negative when read as signed. */
	for (u32 i = 0; i < spec->before; i++)
		displaced->copy_offsets[i] =
			(u16)(displaced->copy_offsets[i] + start - spec->ret_displaced);
	return err;
}

void x86_64_point_word(struct codebuf *buf, enum point_word word, s32 kept, s32 to)
{
	asm_load(buf, 8, X86_RAX, X86_RSP, kept);
	if (word == POINT_SP)
		asm_lea(buf, X86_RAX, X86_RAX, KEPT_AT);
	else
		asm_load(buf, 8, X86_RAX, X86_RAX, word == POINT_R11 ? 8 : 0);
	asm_store(buf, 8, X86_RSP, to, X86_RAX);
}
