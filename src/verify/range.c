/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bounds, and what one view of a value says about the others.
 *
 * A signed and an unsigned interval are arcs of one circle, cut at different points (0 and the sign change). An arc that
 * does not cross the other's cut means the same in both; one that does is two pieces, of which the other view may exclude one.
 */
#include "verify/scalar.h"

#define ROUNDS 3

void scalar_set_unbounded(struct scalar *s)
{
	s->umin = 0;
	s->umax = UINT64_MAX;
	s->smin = INT64_MIN;
	s->smax = INT64_MAX;
	s->umin32 = 0;
	s->umax32 = UINT32_MAX;
	s->smin32 = INT32_MIN;
	s->smax32 = INT32_MAX;
}

void scalar_set_unknown(struct scalar *s)
{
	s->bits = TNUM_UNKNOWN;
	scalar_set_unbounded(s);
}

void scalar_set_const(struct scalar *s, u64 value)
{
	s->bits = tnum_const(value);
	s->umin = s->umax = value;
	s->smin = s->smax = (s64)value;
	s->umin32 = s->umax32 = (u32)value;
	s->smin32 = s->smax32 = (s32)value;
}

static void raise_u(struct scalar *s, u64 min, u64 max)
{
	s->umin = MAX(s->umin, min);
	s->umax = MIN(s->umax, max);
}

static void raise_s(struct scalar *s, s64 min, s64 max)
{
	s->smin = MAX(s->smin, min);
	s->smax = MIN(s->smax, max);
}

static void raise_u32(struct scalar *s, u32 min, u32 max)
{
	s->umin32 = MAX(s->umin32, min);
	s->umax32 = MIN(s->umax32, max);
}

static void raise_s32(struct scalar *s, s32 min, s32 max)
{
	s->smin32 = MAX(s->smin32, min);
	s->smax32 = MIN(s->smax32, max);
}

static void bounds_from_bits(struct scalar *s)
{
	u64 min = s->bits.value, max = s->bits.value | s->bits.mask;
	u64 sign = s->bits.mask & (1ull << 63), sign32 = s->bits.mask & (1u << 31);

	raise_u(s, min, max);
	raise_s(s, (s64)(min | sign), (s64)(max & ~sign));
	raise_u32(s, (u32)min, (u32)max);
	raise_s32(s, (s32)(u32)(min | sign32), (s32)(u32)(max & ~sign32));
}

static void signs_64(struct scalar *s)
{
	if ((s64)s->umin <= (s64)s->umax) {
		raise_s(s, (s64)s->umin, (s64)s->umax);
	} else if (s->smax < (s64)s->umin) { /* only the negative piece remains */
		raise_s(s, INT64_MIN, (s64)s->umax);
		raise_u(s, 1ull << 63, UINT64_MAX);
	} else if (s->smin > (s64)s->umax) { /* only the positive piece remains */
		raise_s(s, (s64)s->umin, INT64_MAX);
		raise_u(s, 0, INT64_MAX);
	}
	if ((u64)s->smin <= (u64)s->smax)
		raise_u(s, (u64)s->smin, (u64)s->smax);
}

static void signs_32(struct scalar *s)
{
	if ((s32)s->umin32 <= (s32)s->umax32) {
		raise_s32(s, (s32)s->umin32, (s32)s->umax32);
	} else if (s->smax32 < (s32)s->umin32) {
		raise_s32(s, INT32_MIN, (s32)s->umax32);
		raise_u32(s, 1u << 31, UINT32_MAX);
	} else if (s->smin32 > (s32)s->umax32) {
		raise_s32(s, (s32)s->umin32, INT32_MAX);
		raise_u32(s, 0, INT32_MAX);
	}
	if ((u32)s->smin32 <= (u32)s->smax32)
		raise_u32(s, (u32)s->smin32, (u32)s->smax32);
}

/* An interval whose ends share their upper half (or straddle one wrap of the lower half) bounds the lower half. */
static void low_half(struct scalar *s, u64 min, u64 max)
{
	if (min >> 32 == max >> 32)
		raise_u32(s, (u32)min, (u32)max);
	else if ((u32)(min >> 32) + 1 == (u32)(max >> 32) && (s32)min < 0 && (s32)max >= 0)
		raise_s32(s, (s32)min, (s32)max);
	if (min >> 32 == max >> 32 && (s32)min <= (s32)max)
		raise_s32(s, (s32)min, (s32)max);
}

/* With the upper half fixed at its least (greatest), the lower half still obeys its own bounds. */
static void widen_half(struct scalar *s)
{
	u64 upper = ~0xffffffffull;

	raise_u(s, (s->umin & upper) | s->umin32, (s->umax & upper) | s->umax32);
	raise_s(s, (s64)(((u64)s->smin & upper) | s->umin32),
		(s64)(((u64)s->smax & upper) | s->umax32));
	if (s->smin >= INT32_MIN && s->smax <= INT32_MAX)
		raise_s(s, s->smin32, s->smax32);
}

static void bits_from_bounds(struct scalar *s)
{
	struct tnum bits = tnum_intersect(s->bits, tnum_range(s->umin, s->umax));
	struct tnum low = tnum_intersect(tnum_cast(bits, 4), tnum_range(s->umin32, s->umax32));

	s->bits = tnum_with_subreg(bits, low);
}

void scalar_sync(struct scalar *s)
{
	bounds_from_bits(s);
	for (int round = 0; round < ROUNDS && !scalar_is_empty(s); round++) {
		low_half(s, s->umin, s->umax);
		low_half(s, (u64)s->smin, (u64)s->smax);
		signs_32(s);
		signs_64(s);
		widen_half(s);
		signs_64(s);
	}
	bits_from_bounds(s);
	bounds_from_bits(s);
}

bool scalar_is_empty(const struct scalar *s)
{
	return s->umin > s->umax || s->smin > s->smax || s->umin32 > s->umax32 ||
	       s->smin32 > s->smax32;
}

bool scalar_contains(const struct scalar *outer, const struct scalar *inner)
{
	return outer->umin <= inner->umin && outer->umax >= inner->umax &&
	       outer->smin <= inner->smin && outer->smax >= inner->smax &&
	       outer->umin32 <= inner->umin32 && outer->umax32 >= inner->umax32 &&
	       outer->smin32 <= inner->smin32 && outer->smax32 >= inner->smax32 &&
	       tnum_contains(outer->bits, inner->bits);
}
