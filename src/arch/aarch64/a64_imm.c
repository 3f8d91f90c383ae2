/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Constants in as few instructions as they take.
 *
 * A logical immediate is one run of ones, rotated, in an element of 2, 4, 8, 16, 32 or 64 bits that repeats; neither all zeros
 * nor all ones is one.
 */
#include "arch/aarch64/a64.h"

#define PART_BITS 16

static u64 low_bits(u32 count)
{
	return count == 64 ? ~0ull : (1ull << count) - 1;
}

static u64 rotate_right(u64 value, u32 count, u32 bits)
{
	count %= bits;
	return count ? (value >> count | value << (bits - count)) & low_bits(bits) : value;
}

/* The element's size in bits, of a value of 64. */
static u32 period_of(u64 value)
{
	u32 bits = 64;

	while (bits > 2 && (value & low_bits(bits / 2)) == (value >> bits / 2 & low_bits(bits / 2)))
		bits /= 2;
	return bits;
}

/* N, immr and imms where the instruction has them. False: the value is no logical immediate. */
static bool logical_field(u32 size, u64 value, u32 *ret_field)
{
	u32 bits, ones, rotation;
	u64 element;

	if (size == 4)
		value = (u32)value | value << 32;
	if (!value || !~value)
		return false;
	bits = period_of(value);
	element = value & low_bits(bits);
	ones = (u32)__builtin_popcountll(element);
	/* How far left the run of ones sits: at its lowest one, unless it wraps around. */
	rotation = (u32)__builtin_ctzll(element);
	if (element & 1 && element >> (bits - 1) & 1)
		rotation = 64 - (u32)__builtin_clzll(~element & low_bits(bits));
	if (rotate_right(element, rotation, bits) != low_bits(ones))
		return false;
	*ret_field = (bits == 64 ? 1u << 22 : 0) | (bits - rotation) % bits << 16 |
		     ((bits == 64 ? 0 : ~(bits * 2 - 1) & 0x3f) | (ones - 1)) << 10;
	return true;
}

bool a64_logical_fits(u32 size, u64 value)
{
	u32 field;

	return logical_field(size, value, &field);
}

void a64_logical_imm(struct codebuf *buf, u32 size, enum a64_op op, u8 to, u8 left, u64 value)
{
	u32 field = 0;

	logical_field(size, value, &field);
	/* The immediate forms' words are this much above those of registers. */
	a64_word(buf,
		 (size == 8 ? 1u << 31 : 0) | ((u32)op + 0x08000000) | field | (u32)left << 5 | to);
}

static u32 part_of(u64 value, u32 part)
{
	return value >> part * PART_BITS & 0xffff;
}

/* Parts that differ from what the others are filled with. */
static u32 parts_unlike(u64 value, u32 parts, u32 fill)
{
	u32 count = 0;

	for (u32 part = 0; part < parts; part++)
		count += part_of(value, part) != fill;
	return count;
}

/* MOVZ (fill 0) or MOVN (fill 0xffff) of the first part that is unlike, MOVK of the others. */
static void mov_parts(struct codebuf *buf, u8 to, u64 value, u32 parts, u32 fill)
{
	u32 wide = parts == 4 ? 1u << 31 : 0;
	u32 word = fill ? 0x12800000 : 0x52800000, flip = fill;
	bool last_resort = !parts_unlike(value, parts, fill);

	for (u32 part = 0; part < parts; part++) {
		if (part_of(value, part) == fill && !last_resort)
			continue;
		a64_word(buf, wide | word | part << 21 | (part_of(value, part) ^ flip) << 5 | to);
		if (last_resort)
			return;
		word = 0x72800000;
		flip = 0;
	}
}

void a64_mov_imm(struct codebuf *buf, u8 to, u64 value)
{
	u32 parts = value >> 32 ? 4 : 2;
	u32 by_zeros = MAX(parts_unlike(value, parts, 0), 1u);
	u32 by_ones = MAX(parts_unlike(value, parts, 0xffff), 1u);

	if (MIN(by_zeros, by_ones) > 1) {
		u32 size = parts == 4 ? 8 : 4;

		if (a64_logical_fits(size, value)) {
			a64_logical_imm(buf, size, A64_ORR, to, A64_ZR, value);
			return;
		}
	}
	mov_parts(buf, to, value, parts, by_ones < by_zeros ? 0xffff : 0);
}
