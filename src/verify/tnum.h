/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tristate numbers: what is known of each bit of a 64-bit value.
 *
 * A bit set in mask is unknown; a bit clear in mask has the value of the same bit in value. Invariant:
 * value & mask == 0. The set that a tnum stands for is { x : (x & ~mask) == value }. Every operation is sound:
 * its result holds op(x, y) for all x and y of its operands' sets. Pure functions, any thread.
 *
 * Example: { value 0b100, mask 0b011 } is {4, 5, 6, 7}.
 */
#ifndef INLAY_VERIFY_TNUM_H
#define INLAY_VERIFY_TNUM_H

#include "base/types.h"

struct tnum {
	u64 value;
	u64 mask;
};

#define TNUM_UNKNOWN ((struct tnum){.value = 0, .mask = ~0ull})

static inline struct tnum tnum_const(u64 value)
{
	return (struct tnum){.value = value, .mask = 0};
}

static inline bool tnum_is_const(struct tnum a)
{
	return a.mask == 0;
}

static inline bool tnum_equals_const(struct tnum a, u64 value)
{
	return a.mask == 0 && a.value == value;
}

/* The smallest tnum that holds every value of [min, max]. */
struct tnum tnum_range(u64 min, u64 max);
struct tnum tnum_add(struct tnum a, struct tnum b);
struct tnum tnum_sub(struct tnum a, struct tnum b);
struct tnum tnum_neg(struct tnum a);
struct tnum tnum_mul(struct tnum a, struct tnum b);
struct tnum tnum_and(struct tnum a, struct tnum b);
struct tnum tnum_or(struct tnum a, struct tnum b);
struct tnum tnum_xor(struct tnum a, struct tnum b);
struct tnum tnum_lshift(struct tnum a, u32 shift);
struct tnum tnum_rshift(struct tnum a, u32 shift);
/* Arithmetic shift of the low bits (32 or 64) of a; the result of 32 is zero-extended. */
struct tnum tnum_arshift(struct tnum a, u32 shift, u32 bits);
/* Values of both a and b; callers know that there is one. */
struct tnum tnum_intersect(struct tnum a, struct tnum b);
/* Values of a or b. */
struct tnum tnum_union(struct tnum a, struct tnum b);
/* The low bytes (1, 2, 4, 8) of a, zero-extended. */
struct tnum tnum_cast(struct tnum a, u32 bytes);
/* High half of a, low half of b. */
struct tnum tnum_with_subreg(struct tnum a, struct tnum b);
/* Is every value of inner a value of outer? */
bool tnum_contains(struct tnum outer, struct tnum inner);
/* Is every value of a a multiple of size (a power of two, or 0: anything)? */
bool tnum_is_aligned(struct tnum a, u64 size);

#endif
