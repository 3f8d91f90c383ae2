/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/aarch64/a64.h"

#include <errno.h>

#define IMM26	       0x3ffffffu
#define IMM19	       0x7ffffu
#define IMM14	       0x3fffu
#define SCALED_OFFSET  0x01000000u
#define INDEXED_OFFSET 0x00206800u

static u32 sf(u32 size)
{
	return size == 8 ? 1u << 31 : 0;
}

/* log2 of an access's size, where loads and stores have it. */
static u32 size_field(u32 size)
{
	return (u32)__builtin_ctz(size) << 30;
}

void a64_op(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u8 right)
{
	a64_op_shifted(buf, size, op, to, left, right, 0);
}

void a64_op_shifted(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u8 right,
		    u32 amount)
{
	a64_word(buf, sf(size) | (u32)op | (u32)right << 16 | amount << 10 | (u32)left << 5 | to);
}

void a64_msub(struct codebuf *buf, u32 size, u8 to, u8 left, u8 right, u8 from)
{
	a64_word(buf,
		 sf(size) | 0x1b008000 | (u32)right << 16 | (u32)from << 10 | (u32)left << 5 | to);
}

void a64_mov(struct codebuf *buf, u32 size, u8 to, u8 from)
{
	if (size == 4 || to != from)
		a64_op(buf, size, A64_ORR, to, A64_ZR, from);
}

bool a64_arith_fits(u64 value)
{
	return !(value & ~0xfffull) || !(value & ~0xfff000ull);
}

void a64_arith_imm(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u32 value)
{
	u32 field = value & ~0xfffu ? 1u << 22 | value >> 2 : value << 10;

	/* The immediate forms' words are this much above those of registers. */
	a64_word(buf, sf(size) | ((u32)op + 0x06000000) | field | (u32)left << 5 | to);
}

void a64_bitfield(struct codebuf *buf, u32 size, bool is_signed, u8 to, u8 from, u32 immr, u32 imms)
{
	u32 word = is_signed ? 0x13000000 : 0x53000000;

	a64_word(buf,
		 sf(size) | sf(size) >> 9 | word | immr << 16 | imms << 10 | (u32)from << 5 | to);
}

void a64_shift_imm(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 from, u32 count)
{
	u32 bits = size * 8;

	if (op == A64_LSL)
		a64_bitfield(buf, size, false, to, from, (bits - count) % bits, bits - 1 - count);
	else
		a64_bitfield(buf, size, op == A64_ASR, to, from, count, bits - 1);
}

void a64_extend(struct codebuf *buf, u32 from_size, u32 size, bool is_signed, u8 to, u8 from)
{
	/* Zero-extension is complete in 4 bytes. */
	a64_bitfield(buf, is_signed ? size : 4, is_signed, to, from, 0, from_size * 8 - 1);
}

void a64_swap_bytes(struct codebuf *buf, u8 to, u8 from, u32 bits)
{
	static const u32 words[] = {[1] = 0x5ac00400, [2] = 0x5ac00800, [4] = 0xdac00c00};

	a64_word(buf, words[bits / 16] | (u32)from << 5 | to);
	if (bits == 16)
		a64_extend(buf, 2, 4, false, to, to);
}

bool a64_offset_fits(u32 size, s64 offset)
{
	return (offset >= -256 && offset < 256) ||
	       (offset >= 0 && offset % size == 0 && offset / size < 4096);
}

void a64_access(struct codebuf *buf, enum a64_access kind, u32 size, u8 reg, u8 base, s32 offset)
{
	u32 word = 0x38000000 | size_field(size) | (u32)kind << 22 | (u32)base << 5 | reg;

	if (offset >= 0 && (u32)offset % size == 0)
		a64_word(buf, word | SCALED_OFFSET | (u32)offset / size << 10);
	else
		a64_word(buf, word | ((u32)offset & 0x1ff) << 12);
}

void a64_access_indexed(struct codebuf *buf, enum a64_access kind, u32 size, u8 reg, u8 base,
			u8 index)
{
	a64_word(buf, 0x38000000 | INDEXED_OFFSET | size_field(size) | (u32)kind << 22 |
			      (u32)index << 16 | (u32)base << 5 | reg);
}

void a64_pair(struct codebuf *buf, enum a64_pair kind, u8 first, u8 second, u8 base, s32 offset)
{
	a64_word(buf, (u32)kind | ((u32)(offset / 8) & 0x7f) << 15 | (u32)second << 10 |
			      (u32)base << 5 | first);
}

void a64_exclusive(struct codebuf *buf, enum a64_exclusive kind, u32 size, u8 reg, u8 base)
{
	a64_word(buf, size_field(size) | (u32)kind | (u32)base << 5 | reg);
}

void a64_stlxr(struct codebuf *buf, u32 size, u8 status, u8 reg, u8 base)
{
	a64_word(buf, size_field(size) | 0x0800fc00 | (u32)status << 16 | (u32)base << 5 | reg);
}

void a64_dmb(struct codebuf *buf)
{
	a64_word(buf, 0xd5033bbf);
}

void a64_lse(struct codebuf *buf, enum a64_lse op, u32 size, bool ordered, u8 operand, u8 old,
	     u8 base)
{
	a64_word(buf, size_field(size) | (u32)op | (ordered ? 3u << 22 : 0) | (u32)operand << 16 |
			      (u32)base << 5 | old);
}

void a64_casal(struct codebuf *buf, u32 size, u8 compare, u8 desired, u8 base)
{
	a64_word(buf,
		 size_field(size) | 0x08e0fc00 | (u32)compare << 16 | (u32)base << 5 | desired);
}

static bool is_conditional(u32 word)
{
	return word >> 24 == 0x54;
}

static bool is_bit_test(u32 word)
{
	return (word & 0x7e000000) == 0x36000000;
}

u32 a64_branch_inverted(u32 word)
{
	return word ^ (is_conditional(word) ? 1u : 1u << 24);
}

s64 a64_branch_reach(u32 word)
{
	return is_bit_test(word) ? (32 << 10) - 4 : (1 << 20) - 4;
}

void a64_branch(struct codebuf *buf, u32 word, s64 distance)
{
	u32 mask = is_bit_test(word) ? IMM14 : IMM19;

	if (distance > a64_branch_reach(word) || distance < -a64_branch_reach(word) - 4)
		buf->error = buf->error ? buf->error : -ERANGE;
	a64_word(buf, word | ((u32)(distance / 4) & mask) << 5);
}

bool a64_reaches(const struct codebuf *buf, u64 target)
{
	s64 distance = (s64)(target - codebuf_pc(buf));

	return distance < A64_JUMP_REACH && distance >= -A64_JUMP_REACH;
}

static void jump(struct codebuf *buf, u32 word, u64 target)
{
	if (buf->bytes && !a64_reaches(buf, target))
		buf->error = buf->error ? buf->error : -ERANGE;
	a64_word(buf, word | ((u32)((s64)(target - codebuf_pc(buf)) / 4) & IMM26));
}

void a64_jump(struct codebuf *buf, u64 target)
{
	jump(buf, 0x14000000, target);
}

void a64_call(struct codebuf *buf, u64 target)
{
	jump(buf, 0x94000000, target);
}

void a64_jump_reg(struct codebuf *buf, u8 reg)
{
	a64_word(buf, 0xd61f0000 | (u32)reg << 5);
}

void a64_call_reg(struct codebuf *buf, u8 reg)
{
	a64_word(buf, 0xd63f0000 | (u32)reg << 5);
}

void a64_ret(struct codebuf *buf)
{
	a64_word(buf, 0xd65f0000 | A64_LR << 5);
}

void a64_address(struct codebuf *buf, u8 to, u64 target, bool near)
{
	u64 pc = codebuf_pc(buf);
	u32 distance = near ? (u32)(target - pc) : (u32)((s64)((target >> 12) - (pc >> 12)));

	a64_word(buf, (near ? 0x10000000u : 0x90000000u) | (distance & 3) << 29 |
			      (distance >> 2 & IMM19) << 5 | to);
	if (!near)
		a64_arith_imm(buf, 8, A64_ADD, to, to, target & 0xfff);
}

u32 a64_skip(struct codebuf *buf, u32 word)
{
	a64_word(buf, word);
	return buf->size - 4;
}

void a64_land(struct codebuf *buf, u32 mark)
{
	u32 word;

	if (!buf->bytes || buf->error)
		return;
	__builtin_memcpy(&word, buf->bytes + mark, 4);
	word |= ((buf->size - mark) / 4 & (is_bit_test(word) ? IMM14 : IMM19)) << 5;
	__builtin_memcpy(buf->bytes + mark, &word, 4);
}
