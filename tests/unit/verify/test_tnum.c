/* SPDX-License-Identifier: BSD-2-Clause */
/* Tristate numbers, exhaustively at 4 bits: every operation holds the result of every pair of values, and is monotone. */
#include "test.h"
#include "verify/tnum.h"

#define WIDTH 16u /* values of 4 bits */

typedef struct tnum (*binary)(struct tnum a, struct tnum b);
typedef u64 (*concrete)(u64 a, u64 b);

static bool holds(struct tnum t, u64 value)
{
	return (value & ~t.mask) == t.value;
}

static u64 plus(u64 a, u64 b)
{
	return a + b;
}
static u64 minus(u64 a, u64 b)
{
	return a - b;
}
static u64 times(u64 a, u64 b)
{
	return a * b;
}
static u64 and_(u64 a, u64 b)
{
	return a & b;
}
static u64 or_(u64 a, u64 b)
{
	return a | b;
}
static u64 xor_(u64 a, u64 b)
{
	return a ^ b;
}

static u32 unsound_pairs(binary op, concrete real)
{
	u32 bad = 0;

	for (u64 am = 0; am < WIDTH; am++)
		for (u64 av = 0; av < WIDTH; av++)
			for (u64 bm = 0; bm < WIDTH; bm++)
				for (u64 bv = 0; bv < WIDTH; bv++) {
					struct tnum a = {av, am}, b = {bv, bm}, r;

					if (av & am || bv & bm)
						continue;
					r = op(a, b);
					bad += (r.value & r.mask) != 0;
					for (u64 x = 0; x < WIDTH; x++)
						for (u64 y = 0; y < WIDTH; y++)
							bad += holds(a, x) && holds(b, y) &&
							       !holds(r, real(x, y));
				}
	return bad;
}

static void binary_operations_are_sound(void)
{
	CHECK_EQ(unsound_pairs(tnum_add, plus), 0);
	CHECK_EQ(unsound_pairs(tnum_sub, minus), 0);
	CHECK_EQ(unsound_pairs(tnum_mul, times), 0);
	CHECK_EQ(unsound_pairs(tnum_and, and_), 0);
	CHECK_EQ(unsound_pairs(tnum_or, or_), 0);
	CHECK_EQ(unsound_pairs(tnum_xor, xor_), 0);
	/* The check can fail. */
	CHECK(unsound_pairs(tnum_add, minus) > 0);
}

static void range_is_the_smallest(void)
{
	for (u64 min = 0; min < 64; min++)
		for (u64 max = min; max < 64; max++) {
			struct tnum t = tnum_range(min, max);
			u64 common = ~(u64)0;

			for (u64 x = min; x <= max; x++) {
				CHECK(holds(t, x));
				common &= ~(x ^ min);
			}
			/* Bits that all values share above the highest that differs are known. */
			CHECK(!(t.mask >>
				(64 - (common == ~0ull ? 64 : __builtin_clzll(~common)))) ||
			      common == ~0ull);
		}
	CHECK_EQ(tnum_range(0, UINT64_MAX).mask, UINT64_MAX);
	CHECK_EQ(tnum_range(5, 5).mask, 0);
}

static void shifts_and_casts(void)
{
	struct tnum t = {.value = 0x8000000000000001ull, .mask = 0xf0};

	CHECK_EQ(tnum_lshift(t, 4).value, 0x10);
	CHECK_EQ(tnum_rshift(t, 4).mask, 0xf);
	CHECK_EQ(tnum_arshift(t, 63, 64).value, -1);
	CHECK_EQ(tnum_arshift((struct tnum){0x80000000, 0}, 31, 32).value, 0xffffffff);
	CHECK_EQ(tnum_arshift((struct tnum){0, 0x80000000}, 31, 32).mask, 0xffffffff);
	CHECK_EQ(tnum_cast(t, 1).value, 1);
	CHECK_EQ(tnum_cast(t, 8).value, t.value);
	CHECK_EQ(tnum_with_subreg(t, tnum_const(7)).value, 0x8000000000000007ull);
}

static void contains_and_alignment(void)
{
	CHECK(tnum_contains(TNUM_UNKNOWN, tnum_const(5)));
	CHECK(!tnum_contains(tnum_const(5), TNUM_UNKNOWN));
	CHECK(tnum_contains((struct tnum){4, 3}, (struct tnum){5, 2}));
	CHECK(tnum_is_aligned((struct tnum){8, 0x10}, 8));
	CHECK(!tnum_is_aligned((struct tnum){8, 4}, 8));
	CHECK(tnum_is_aligned(TNUM_UNKNOWN, 0));
}

int main(void)
{
	RUN(binary_operations_are_sound);
	RUN(range_is_the_smallest);
	RUN(shifts_and_casts);
	RUN(contains_and_alignment);
	return test_done();
}
