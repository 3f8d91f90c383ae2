/* SPDX-License-Identifier: BSD-2-Clause */
/* Transfer functions of tristate numbers; the head of tnum.h says what one is. */
#include "verify/tnum.h"

static struct tnum make(u64 value, u64 mask)
{
	return (struct tnum){.value = value & ~mask, .mask = mask};
}

/* Below the highest bit in which min and max differ, every combination occurs: [4, 6] -> 0b1xx. */
struct tnum tnum_range(u64 min, u64 max)
{
	u64 differ = min ^ max;

	if (!differ)
		return tnum_const(min);
	if (differ >> 63)
		return TNUM_UNKNOWN;
	return make(min, (2ull << (63 - __builtin_clzll(differ))) - 1);
}

/* Carries out of unknown bits: the sums of the smallest and the largest operands differ wherever one may arise. */
struct tnum tnum_add(struct tnum a, struct tnum b)
{
	u64 smallest = a.value + b.value;
	u64 largest = smallest + a.mask + b.mask;

	return make(smallest, (smallest ^ largest) | a.mask | b.mask);
}

struct tnum tnum_sub(struct tnum a, struct tnum b)
{
	u64 difference = a.value - b.value;
	u64 up = difference + a.mask;
	u64 down = difference - b.mask;

	return make(difference, (up ^ down) | a.mask | b.mask);
}

struct tnum tnum_neg(struct tnum a)
{
	return tnum_sub(tnum_const(0), a);
}

/* Long multiplication: a certain 1 adds the shifted multiplicand, an uncertain one may or may not. */
struct tnum tnum_mul(struct tnum a, struct tnum b)
{
	struct tnum sum = tnum_const(0);

	for (; a.value | a.mask; a = tnum_rshift(a, 1), b = tnum_lshift(b, 1)) {
		if (a.value & 1)
			sum = tnum_add(sum, b);
		else if (a.mask & 1)
			sum = tnum_union(sum, tnum_add(sum, b));
	}
	return sum;
}

struct tnum tnum_and(struct tnum a, struct tnum b)
{
	u64 ones = a.value & b.value;
	u64 possible = (a.value | a.mask) & (b.value | b.mask);

	return make(ones, possible & ~ones);
}

struct tnum tnum_or(struct tnum a, struct tnum b)
{
	u64 ones = a.value | b.value;

	return make(ones, (a.mask | b.mask) & ~ones);
}

struct tnum tnum_xor(struct tnum a, struct tnum b)
{
	return make(a.value ^ b.value, a.mask | b.mask);
}

struct tnum tnum_lshift(struct tnum a, u32 shift)
{
	return make(a.value << shift, a.mask << shift);
}

struct tnum tnum_rshift(struct tnum a, u32 shift)
{
	return make(a.value >> shift, a.mask >> shift);
}

struct tnum tnum_arshift(struct tnum a, u32 shift, u32 bits)
{
	if (bits == 32)
		return make((u32)((s32)a.value >> shift), (u32)((s32)a.mask >> shift));
	return make((u64)((s64)a.value >> shift), (u64)((s64)a.mask >> shift));
}

struct tnum tnum_intersect(struct tnum a, struct tnum b)
{
	return make(a.value | b.value, a.mask & b.mask);
}

struct tnum tnum_union(struct tnum a, struct tnum b)
{
	return make(a.value & b.value, a.mask | b.mask | (a.value ^ b.value));
}

struct tnum tnum_cast(struct tnum a, u32 bytes)
{
	u64 keep = bytes >= 8 ? ~0ull : (1ull << (8 * bytes)) - 1;

	return make(a.value & keep, a.mask & keep);
}

struct tnum tnum_with_subreg(struct tnum a, struct tnum b)
{
	return tnum_or(tnum_lshift(tnum_rshift(a, 32), 32), tnum_cast(b, 4));
}

bool tnum_contains(struct tnum outer, struct tnum inner)
{
	return !(inner.mask & ~outer.mask) && (inner.value & ~outer.mask) == outer.value;
}

bool tnum_is_aligned(struct tnum a, u64 size)
{
	return !size || !((a.value | a.mask) & (size - 1));
}
