/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of a number: its bits (tnum) and its bounds, as a 64-bit and as a 32-bit value, unsigned and signed.
 *
 * The five views describe one value: scalar_sync lets each learn from the others. A scalar stands for the
 * intersection of its views. Every operation is sound: its result holds op(x, y) for all values of its operands.
 * Pure functions without environment; any thread.
 */
#ifndef INLAY_VERIFY_SCALAR_H
#define INLAY_VERIFY_SCALAR_H

#include "base/types.h"
#include "verify/tnum.h"

struct scalar {
	struct tnum bits;
	u64 umin, umax;
	s64 smin, smax;
	u32 umin32, umax32;
	s32 smin32, smax32;
};

void scalar_set_unknown(struct scalar *s);
void scalar_set_const(struct scalar *s, u64 value);
/* Forgets the bounds, keeps the bits. */
void scalar_set_unbounded(struct scalar *s);

/* range.c: bounds */

/* Mutual deduction of the views, to a bounded number of rounds. */
void scalar_sync(struct scalar *s);
/* No value satisfies all the views: the path that led here cannot be taken. */
bool scalar_is_empty(const struct scalar *s);
/* Every value of inner is a value of outer, by bits and by bounds. */
bool scalar_contains(const struct scalar *outer, const struct scalar *inner);

static inline bool scalar_is_const(const struct scalar *s)
{
	return tnum_is_const(s->bits);
}

static inline bool scalar_is_const32(const struct scalar *s)
{
	return !(u32)s->bits.mask;
}

static inline bool scalar_is_zero(const struct scalar *s)
{
	return tnum_equals_const(s->bits, 0);
}

/* scalar.c: transfer */

/*
 * dst = dst op src for op a BPF_* operation (BPF_ADD ... BPF_ARSH, BPF_NEG without src) of 64 or 32 bits. Operations whose
 * result is not tracked (division, shifts by an unknown amount) give the unknown value.
 */
void scalar_alu(struct scalar *dst, const struct scalar *src, u32 op, u32 bits);
/* Keeps the low bytes (1, 2, 4), zero-extended. */
void scalar_zext(struct scalar *s, u32 bytes);
/* Keeps the low bytes (1, 2, 4), sign-extended to bits (64 or 32, the latter zero-extended further). */
void scalar_sext(struct scalar *s, u32 bytes, u32 bits);

#endif
