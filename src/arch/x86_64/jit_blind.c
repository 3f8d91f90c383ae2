/* SPDX-License-Identifier: BSD-2-Clause */
/* Constants as the exclusive or of two: a mask, another for each instruction of each compilation, and what it hides. */
#include "arch/x86_64/jit.h"
#include "format/insn.h"

/* splitmix64, by the index. */
static u64 mask_of(const struct jit_unit *unit, u32 index)
{
	u64 x = unit->blind_key + (index + 1) * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

void jit_blind_load(struct codebuf *buf, const struct jit_unit *unit, u32 index, u8 to)
{
	u64 value = unit->values[index], mask = mask_of(unit, index);

	if ((s64)value == (s32)value) {
		asm_mov_imm(buf, to, (u32)(value ^ mask));
		asm_alu_imm(buf, 4, ASM_XOR, to, (s32)mask);
		if ((s64)value < 0)
			asm_extend(buf, 4, 8, true, to, to);
		return;
	}
	asm_mov_imm(buf, to, value ^ mask);
	asm_mov_imm(buf, JIT_TEMP, mask);
	asm_alu(buf, 8, ASM_XOR, to, JIT_TEMP);
}

u32 jit_blind_size(const struct jit_unit *unit, u32 index)
{
	struct codebuf sizing;

	if (!(unit->targets[index] & JIT_BLINDED))
		return 0;
	codebuf_init(&sizing, NULL, 0, 0);
	jit_blind_load(&sizing, unit, index, jit_reg[JIT_BLIND_REG]);
	return sizing.size;
}
