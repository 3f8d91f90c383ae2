/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Helpers' calls done in place (struct jit_in_place): rax = base + key * stride + slot * slot_stride. The key goes through r11,
 * the reader pointer and the slot through r10.
 *
 * A run that uses per-CPU maps holds a slot, and its number is in the thread's record. Where it does not, percpu_slot() is asked,
 * with every register saved, so that the program is known to change few.
 */
#include "arch/x86_64/jit.h"
#include "sync/reader.h"

#define KEY  JIT_TEMP
#define SLOT JIT_TEMP2

u32 jit_in_place_clobbers(const struct jit_unit *unit, u32 index)
{
	const struct jit_in_place *how = &unit->in_place[unit->values[index]];

	if (how->slots) /* percpu_slot() may change what it does not save */
		return X86_BIT(X86_R9) | X86_BIT(X86_R10) | X86_BIT(X86_R11);
	return how->count ? X86_BIT(KEY) : 0;
}

static int log2_of(u32 value)
{
	return value && !(value & (value - 1)) ? __builtin_ctz(value) : -1;
}

/* rax += reg * stride; reg is lost. */
static void add_scaled(struct codebuf *buf, u8 reg, u32 stride)
{
	struct asm_index at = {.base = X86_RAX, .index = reg};
	int log2 = log2_of(stride);

	if (log2 >= 0 && log2 <= 3) {
		at.scale = (u8)log2;
	} else if (log2 >= 0) {
		asm_shift_imm(buf, 8, ASM_SHL, reg, (u8)log2);
	} else {
		asm_reg(buf, 8, 0x69, reg, reg);
		codebuf_put(buf, stride, 4);
	}
	asm_mem_index(buf, 8, 0x8d, X86_RAX, &at);
}

static u32 add_key(struct codebuf *buf, const struct jit_in_place *how)
{
	u32 outside;

	asm_load(buf, 4, KEY, X86_RSI, 0);
	asm_mov_imm(buf, X86_RAX, 0);
	asm_alu_imm(buf, 4, ASM_CMP, KEY, (s32)how->count);
	outside = asm_skip_if(buf, X86_CC_AE);
	asm_mov_imm(buf, X86_RAX, how->base);
	add_scaled(buf, KEY, how->stride);
	return outside;
}

/* mov reg, fs:[offset] */
static void load_thread_word(struct codebuf *buf, u8 reg, s64 offset)
{
	asm_byte(buf, 0x64);
	asm_byte(buf, reg >= 8 ? 0x4c : 0x48);
	asm_byte(buf, 0x8b);
	asm_byte(buf, (u8)(0x04 | (reg & 7) << 3));
	asm_byte(buf, 0x25);
	codebuf_put(buf, (u32)offset, 4);
}

/* SLOT = percpu_slot(), all else but scratch as it was. The stack is aligned here: six words leave it so. */
static void ask_for_slot(struct codebuf *buf, const struct jit_unit *unit,
			 const struct jit_sub *sub)
{
	static const u8 kept[] = {X86_RAX, X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8};

	for (u32 i = 0; i < ARRAY_SIZE(kept); i++) {
		asm_push(buf, kept[i]);
		jit_note_pushed(buf, sub, i + 1);
	}
	jit_call_address(buf, unit->percpu_slot);
	asm_mov(buf, 4, SLOT, X86_RAX);
	for (u32 i = ARRAY_SIZE(kept); i > 0; i--) {
		asm_pop(buf, kept[i - 1]);
		jit_note_pushed(buf, sub, i - 1);
	}
}

static void load_slot(struct codebuf *buf, const struct jit_unit *unit, const struct jit_sub *sub)
{
	u32 no_record, held;

	load_thread_word(buf, SLOT, unit->reader_tls);
	asm_test(buf, 8, SLOT, SLOT);
	no_record = asm_skip_if(buf, X86_CC_E);
	asm_load(buf, 4, SLOT, SLOT, offsetof(struct reader, percpu_slot));
	/* btr r10d, 31: clears READER_PERCPU_HELD, and the carry says whether it was set */
	asm_reg(buf, 4, 0x0fba, 6, SLOT);
	asm_byte(buf, 31);
	held = asm_skip_if(buf, X86_CC_B);
	asm_land(buf, no_record);
	ask_for_slot(buf, unit, sub);
	asm_land(buf, held);
}

static void add_slot(struct codebuf *buf, const struct jit_unit *unit, const struct jit_sub *sub,
		     const struct jit_in_place *how)
{
	u32 inside, end;

	load_slot(buf, unit, sub);
	if (how->slots == UINT32_MAX) {
		add_scaled(buf, SLOT, how->slot_stride);
		return;
	}
	asm_alu_imm(buf, 4, ASM_CMP, SLOT, (s32)how->slots);
	inside = asm_skip_if(buf, X86_CC_B);
	asm_mov_imm(buf, X86_RAX, 0);
	end = asm_skip(buf);
	asm_land(buf, inside);
	add_scaled(buf, SLOT, how->slot_stride);
	asm_land(buf, end);
}

void jit_in_place(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct jit_in_place *how = &unit->in_place[unit->values[index]];
	u32 outside = 0;

	if (how->count)
		outside = add_key(buf, how);
	else
		asm_mov_imm(buf, X86_RAX, how->base);
	if (how->slots)
		add_slot(buf, unit, jit_unit_sub(unit, index), how);
	if (how->count)
		asm_land(buf, outside);
}
