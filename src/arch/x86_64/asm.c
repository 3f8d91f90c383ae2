/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding facts: Intel SDM volume 2. */
#include "arch/x86_64/asm.h"

#include <errno.h>

#define REX   0x40
#define REX_W 0x08
#define REX_R 0x04
#define REX_X 0x02
#define REX_B 0x01

static bool fits_s8(s64 value)
{
	return value == (s8)value;
}

/* Everything up to ModRM. extra: more bits of REX. A byte register 4..7 needs a REX to mean spl..dil and not ah..bh. */
static void emit_opcode_rex(struct codebuf *buf, u32 size, u32 opcode, u8 reg, u8 rm, bool byte_reg,
			    u8 extra)
{
	u8 rex = (u8)((size == 8 ? REX_W : 0) | (reg >= 8 ? REX_R : 0) | (rm >= 8 ? REX_B : 0) |
		      extra);

	if (size == 2)
		asm_byte(buf, 0x66);
	if (rex || (byte_reg && size == 1 && reg >= 4))
		asm_byte(buf, REX | rex);
	if (opcode > 0xffff)
		asm_byte(buf, (u8)(opcode >> 16));
	if (opcode > 0xff)
		asm_byte(buf, (u8)(opcode >> 8));
	asm_byte(buf, (u8)opcode);
}

static void emit_opcode(struct codebuf *buf, u32 size, u32 opcode, u8 reg, u8 rm, bool byte_reg)
{
	emit_opcode_rex(buf, size, opcode, reg, rm, byte_reg, 0);
}

static void emit_modrm(struct codebuf *buf, u8 mod, u8 reg, u8 rm)
{
	asm_byte(buf, (u8)(mod << 6 | (reg & 7) << 3 | (rm & 7)));
}

void asm_reg(struct codebuf *buf, u32 size, u32 opcode, u8 reg, u8 rm)
{
	emit_opcode(buf, size, opcode, reg, rm, true);
	emit_modrm(buf, 3, reg, rm);
}

void asm_mem(struct codebuf *buf, u32 size, u32 opcode, u8 reg, u8 base, s32 disp)
{
	/* rbp and r13 have no form without displacement; rsp and r12 need a SIB byte. */
	u8 mod = disp == 0 && (base & 7) != X86_RBP ? 0 : fits_s8(disp) ? 1 : 2;

	emit_opcode(buf, size, opcode, reg, base, true);
	emit_modrm(buf, mod, reg, base);
	if ((base & 7) == X86_RSP)
		asm_byte(buf, 0x24);
	if (mod)
		codebuf_put(buf, (u32)disp, mod == 1 ? 1 : 4);
}

void asm_mem_index(struct codebuf *buf, u32 size, u32 opcode, u8 reg, const struct asm_index *at)
{
	u8 mod = at->disp == 0 && (at->base & 7) != X86_RBP ? 0 : fits_s8(at->disp) ? 1 : 2;

	emit_opcode_rex(buf, size, opcode, reg, at->base, true, at->index >= 8 ? REX_X : 0);
	emit_modrm(buf, mod, reg, X86_RSP);
	asm_byte(buf, (u8)(at->scale << 6 | (at->index & 7) << 3 | (at->base & 7)));
	if (mod)
		codebuf_put(buf, (u32)at->disp, mod == 1 ? 1 : 4);
}

void asm_mov(struct codebuf *buf, u32 size, u8 to, u8 from)
{
	if (size == 8 && to == from)
		return;
	asm_reg(buf, size, 0x89, from, to);
}

void asm_mov_imm(struct codebuf *buf, u8 to, u64 value)
{
	if (value == 0) {
		asm_alu(buf, 4, ASM_XOR, to, to);
	} else if (value <= UINT32_MAX) {
		emit_opcode(buf, 4, 0xb8 | (to & 7), 0, to, false);
		codebuf_put(buf, value, 4);
	} else if ((s64)value == (s32)value) {
		asm_reg(buf, 8, 0xc7, 0, to);
		codebuf_put(buf, value, 4);
	} else {
		emit_opcode(buf, 8, 0xb8 | (to & 7), 0, to, false);
		codebuf_put(buf, value, 8);
	}
}

void asm_lea(struct codebuf *buf, u8 to, u8 base, s32 disp)
{
	asm_mem(buf, 8, 0x8d, to, base, disp);
}

/* Puts the 32-bit distance from the end of the instruction, which is behind these four bytes. */
static void emit_rel32(struct codebuf *buf, u64 target)
{
	s64 distance = (s64)(target - codebuf_pc(buf) - 4);

	if (buf->bytes && distance != (s32)distance && !buf->error)
		buf->error = -ERANGE;
	codebuf_put(buf, (u32)distance, 4);
}

void asm_lea_rip(struct codebuf *buf, u8 to, u64 target)
{
	emit_opcode(buf, 8, 0x8d, to, 0, false);
	emit_modrm(buf, 0, to, 5);
	emit_rel32(buf, target);
}

void asm_load(struct codebuf *buf, u32 size, u8 to, u8 base, s32 disp)
{
	static const u16 opcodes[] = {[1] = 0x0fb6, [2] = 0x0fb7, [4] = 0x8b, [8] = 0x8b};

	asm_mem(buf, size == 8 ? 8 : 4, opcodes[size], to, base, disp);
}

void asm_load_signed(struct codebuf *buf, u32 size, u8 to, u8 base, s32 disp)
{
	static const u16 opcodes[] = {[1] = 0x0fbe, [2] = 0x0fbf, [4] = 0x63, [8] = 0x8b};

	asm_mem(buf, 8, opcodes[size], to, base, disp);
}

void asm_store(struct codebuf *buf, u32 size, u8 base, s32 disp, u8 from)
{
	asm_mem(buf, size, size == 1 ? 0x88 : 0x89, from, base, disp);
}

void asm_store_imm(struct codebuf *buf, u32 size, u8 base, s32 disp, s32 value)
{
	asm_mem(buf, size, size == 1 ? 0xc6 : 0xc7, 0, base, disp);
	codebuf_put(buf, (u32)value, MIN(size, 4u));
}

void asm_extend(struct codebuf *buf, u32 from_size, u32 size, bool is_signed, u8 to, u8 from)
{
	u32 opcode = from_size == 1 ? 0x0fb6 : 0x0fb7;

	if (from_size == 4) {
		if (is_signed && size == 8)
			asm_reg(buf, 8, 0x63, to, from);
		else
			asm_mov(buf, 4, to, from);
		return;
	}
	/* movzx/movsx take the byte register in rm, where 4..7 needs a REX as well. */
	if (from_size == 1 && size == 4 && from >= 4 && from < 8 && to < 8)
		asm_byte(buf, REX);
	asm_reg(buf, size, opcode + (is_signed ? 8 : 0), to, from);
}

void asm_alu(struct codebuf *buf, u32 size, enum asm_alu op, u8 to, u8 from)
{
	asm_reg(buf, size, (u32)op << 3 | (size == 1 ? 0 : 1), from, to);
}

void asm_alu_imm(struct codebuf *buf, u32 size, enum asm_alu op, u8 to, s32 value)
{
	if (fits_s8(value)) {
		asm_reg(buf, size, 0x83, (u8)op, to);
		codebuf_put(buf, (u32)value, 1);
	} else {
		asm_reg(buf, size, 0x81, (u8)op, to);
		codebuf_put(buf, (u32)value, 4);
	}
}

void asm_test(struct codebuf *buf, u32 size, u8 a, u8 b)
{
	asm_reg(buf, size, 0x85, b, a);
}

void asm_test_imm(struct codebuf *buf, u32 size, u8 reg, s32 value)
{
	asm_reg(buf, size, 0xf7, 0, reg);
	codebuf_put(buf, (u32)value, 4);
}

void asm_shift_imm(struct codebuf *buf, u32 size, enum asm_shift op, u8 to, u8 count)
{
	asm_reg(buf, size, 0xc1, (u8)op, to);
	asm_byte(buf, count);
}

void asm_shift_cl(struct codebuf *buf, u32 size, enum asm_shift op, u8 to)
{
	asm_reg(buf, size, 0xd3, (u8)op, to);
}

/* VEX.128.pp.0F38 F7 /r with the count in vvvv; fields that extend registers are inverted. */
void asm_shift_bmi2(struct codebuf *buf, u32 size, enum asm_shift op, u8 to, u8 from, u8 count)
{
	u8 pp = op == ASM_SHL ? 1 : op == ASM_SAR ? 2 : 3;

	asm_byte(buf, 0xc4);
	asm_byte(buf, (u8)((to < 8) << 7 | 1 << 6 | (from < 8) << 5 | 2));
	asm_byte(buf, (u8)((size == 8) << 7 | (~count & 15) << 3 | pp));
	asm_byte(buf, 0xf7);
	emit_modrm(buf, 3, to, from);
}

void asm_unary(struct codebuf *buf, u32 size, enum asm_unary op, u8 reg)
{
	asm_reg(buf, size, 0xf7, (u8)op, reg);
}

/* The manual's recommended forms: 90 with 66 in front, and 0F 1F /0 with growing addresses. */
void asm_nops(struct codebuf *buf, u32 size)
{
	static const u8 forms[10][9] = {
		{0},
		{0x90},
		{0x66, 0x90},
		{0x0f, 0x1f, 0x00},
		{0x0f, 0x1f, 0x40, 0x00},
		{0x0f, 0x1f, 0x44, 0x00, 0x00},
		{0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
		{0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
		{0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
		{0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
	};

	while (size) {
		u32 length = MIN(size, 9u);

		for (u32 i = 0; i < length; i++)
			asm_byte(buf, forms[length][i]);
		size -= length;
	}
}

void asm_push(struct codebuf *buf, u8 reg)
{
	emit_opcode(buf, 4, 0x50 | (reg & 7), 0, reg, false);
}

void asm_pop(struct codebuf *buf, u8 reg)
{
	emit_opcode(buf, 4, 0x58 | (reg & 7), 0, reg, false);
}

void asm_ret(struct codebuf *buf)
{
	asm_byte(buf, 0xc3);
}

void asm_call(struct codebuf *buf, u64 target)
{
	asm_byte(buf, 0xe8);
	emit_rel32(buf, target);
}

void asm_jump(struct codebuf *buf, u64 target)
{
	asm_byte(buf, 0xe9);
	emit_rel32(buf, target);
}

void asm_jcc(struct codebuf *buf, enum x86_cond cond, u64 target)
{
	asm_byte(buf, 0x0f);
	asm_byte(buf, (u8)(0x80 | cond));
	emit_rel32(buf, target);
}

void asm_call_reg(struct codebuf *buf, u8 reg)
{
	asm_reg(buf, 4, 0xff, 2, reg);
}

void asm_jump_reg(struct codebuf *buf, u8 reg)
{
	asm_reg(buf, 4, 0xff, 4, reg);
}

bool asm_reaches(const struct codebuf *buf, u32 length, u64 target)
{
	s64 distance = (s64)(target - codebuf_pc(buf) - length);

	return distance == (s32)distance;
}

static u32 begin_skip(struct codebuf *buf, u8 opcode)
{
	asm_byte(buf, opcode);
	asm_byte(buf, 0);
	return buf->size;
}

u32 asm_skip_if(struct codebuf *buf, enum x86_cond cond)
{
	return begin_skip(buf, (u8)(0x70 | cond));
}

u32 asm_skip(struct codebuf *buf)
{
	return begin_skip(buf, 0xeb);
}

void asm_land(struct codebuf *buf, u32 mark)
{
	u32 distance = buf->size - mark;

	if (distance > 127 && !buf->error)
		buf->error = -ERANGE;
	if (buf->bytes && !buf->error)
		buf->bytes[mark - 1] = (u8)distance;
}
