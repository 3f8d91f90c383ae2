/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Comparisons. Those of 32 bits are done on a copy in which the low half is the whole value, so that every rule is written
 * once; what it learns is then put back into the low half.
 */
#include "verify/cond.h"

#include <linux/bpf.h>

static void low_as_whole(struct scalar *to, const struct scalar *from)
{
	*to = *from;
	to->bits = tnum_cast(from->bits, 4);
	to->umin = from->umin32;
	to->umax = from->umax32;
	to->smin = from->smin32;
	to->smax = from->smax32;
}

static enum cond_outcome order(bool always, bool never)
{
	return always ? COND_ALWAYS : never ? COND_NEVER : COND_EITHER;
}

static enum cond_outcome equal(const struct scalar *a, const struct scalar *b, bool whole)
{
	u64 known = ~(a->bits.mask | b->bits.mask);

	if (tnum_is_const(a->bits) && tnum_is_const(b->bits) && a->bits.value == b->bits.value)
		return COND_ALWAYS;
	if ((a->bits.value ^ b->bits.value) & known)
		return COND_NEVER;
	if (a->umin > b->umax || a->umax < b->umin || a->smin > b->smax || a->smax < b->smin)
		return COND_NEVER;
	if (whole && (a->umin32 > b->umax32 || a->umax32 < b->umin32 || a->smin32 > b->smax32 ||
		      a->smax32 < b->smin32))
		return COND_NEVER;
	return COND_EITHER;
}

static enum cond_outcome common_bits(const struct scalar *a, const struct scalar *b)
{
	if (!tnum_is_const(b->bits)) {
		const struct scalar *other = a;

		a = b;
		b = other;
	}
	if (!tnum_is_const(b->bits))
		return COND_EITHER;
	return order(a->bits.value & b->bits.value,
		     !((a->bits.value | a->bits.mask) & b->bits.value));
}

static enum cond_outcome negated(enum cond_outcome outcome)
{
	return outcome == COND_EITHER	? COND_EITHER
	       : outcome == COND_ALWAYS ? COND_NEVER
					: COND_ALWAYS;
}

static enum cond_outcome predict(const struct scalar *a, const struct scalar *b, u32 op, bool whole)
{
	switch (op) {
	case BPF_JEQ:
		return equal(a, b, whole);
	case BPF_JNE:
		return negated(equal(a, b, whole));
	case BPF_JSET:
		return common_bits(a, b);
	case BPF_JGT:
		return order(a->umin > b->umax, a->umax <= b->umin);
	case BPF_JGE:
		return order(a->umin >= b->umax, a->umax < b->umin);
	case BPF_JLT:
		return order(a->umax < b->umin, a->umin >= b->umax);
	case BPF_JLE:
		return order(a->umax <= b->umin, a->umin > b->umax);
	case BPF_JSGT:
		return order(a->smin > b->smax, a->smax <= b->smin);
	case BPF_JSGE:
		return order(a->smin >= b->smax, a->smax < b->smin);
	case BPF_JSLT:
		return order(a->smax < b->smin, a->smin >= b->smax);
	case BPF_JSLE:
		return order(a->smax <= b->smin, a->smin > b->smax);
	default:
		return COND_EITHER;
	}
}

enum cond_outcome cond_predict(const struct scalar *a, const struct scalar *b, u32 op, u32 bits)
{
	struct scalar x, y;

	if (bits == 64)
		return predict(a, b, op, true);
	low_as_whole(&x, a);
	low_as_whole(&y, b);
	return predict(&x, &y, op, false);
}

u32 cond_negate(u32 op)
{
	switch (op) {
	case BPF_JEQ:
		return BPF_JNE;
	case BPF_JNE:
		return BPF_JEQ;
	case BPF_JGT:
		return BPF_JLE;
	case BPF_JLE:
		return BPF_JGT;
	case BPF_JGE:
		return BPF_JLT;
	case BPF_JLT:
		return BPF_JGE;
	case BPF_JSGT:
		return BPF_JSLE;
	case BPF_JSLE:
		return BPF_JSGT;
	case BPF_JSGE:
		return BPF_JSLT;
	case BPF_JSLT:
		return BPF_JSGE;
	case BPF_JSET:
		return COND_JCLEAR;
	default:
		return BPF_JSET;
	}
}

static void refine_equal(struct scalar *a, struct scalar *b, bool whole)
{
	a->umin = b->umin = MAX(a->umin, b->umin);
	a->umax = b->umax = MIN(a->umax, b->umax);
	a->smin = b->smin = MAX(a->smin, b->smin);
	a->smax = b->smax = MIN(a->smax, b->smax);
	a->bits = b->bits = tnum_intersect(a->bits, b->bits);
	if (!whole)
		return;
	a->umin32 = b->umin32 = MAX(a->umin32, b->umin32);
	a->umax32 = b->umax32 = MIN(a->umax32, b->umax32);
	a->smin32 = b->smin32 = MAX(a->smin32, b->smin32);
	a->smax32 = b->smax32 = MIN(a->smax32, b->smax32);
}

/* A constant at the end of a range is cut off. */
static void refine_unequal(struct scalar *a, const struct scalar *b, u32 bits)
{
	u64 value = b->bits.value;
	s64 signed_value = bits == 64 ? (s64)value : (s32)value;

	if (!tnum_is_const(b->bits))
		return;
	if (a->umin == value)
		a->umin++;
	if (a->umax == value)
		a->umax--;
	if (a->smin == signed_value)
		a->smin++;
	if (a->smax == signed_value)
		a->smax--;
}

static void refine_bits(struct scalar *a, const struct scalar *b, bool common)
{
	u64 value = b->bits.value;

	if (!tnum_is_const(b->bits))
		return;
	if (!common)
		a->bits = tnum_and(a->bits, tnum_const(~value));
	else if (value && !(value & (value - 1)))
		a->bits = tnum_or(a->bits, tnum_const(value));
}

/* less < greater (strict) or less <= greater */
static void refine_less(struct scalar *less, struct scalar *greater, bool strict)
{
	if (strict && (!greater->umax || less->umin == UINT64_MAX))
		return;
	less->umax = MIN(less->umax, greater->umax - strict);
	greater->umin = MAX(greater->umin, less->umin + strict);
}

static void refine_signed_less(struct scalar *less, struct scalar *greater, bool strict)
{
	if (strict && (greater->smax == INT64_MIN || less->smin == INT64_MAX))
		return;
	less->smax = MIN(less->smax, greater->smax - strict);
	greater->smin = MAX(greater->smin, less->smin + strict);
}

static void refine(struct scalar *a, struct scalar *b, u32 op, u32 bits)
{
	struct scalar before = *a;

	switch (op) {
	case BPF_JEQ:
		refine_equal(a, b, bits == 64);
		break;
	case BPF_JNE:
		refine_unequal(a, b, bits);
		refine_unequal(b, &before, bits);
		break;
	case BPF_JSET:
	case COND_JCLEAR:
		refine_bits(a, b, op == BPF_JSET);
		refine_bits(b, &before, op == BPF_JSET);
		break;
	case BPF_JGT:
	case BPF_JGE:
		refine_less(b, a, op == BPF_JGT);
		break;
	case BPF_JLT:
	case BPF_JLE:
		refine_less(a, b, op == BPF_JLT);
		break;
	case BPF_JSGT:
	case BPF_JSGE:
		refine_signed_less(b, a, op == BPF_JSGT);
		break;
	case BPF_JSLT:
	case BPF_JSLE:
		refine_signed_less(a, b, op == BPF_JSLT);
		break;
	default:
		break;
	}
}

static u32 clip_u32(u64 value)
{
	return (u32)MIN(value, (u64)UINT32_MAX);
}

static void put_low(struct scalar *to, const struct scalar *low)
{
	bool empty = low->umin > low->umax || low->smin > low->smax;

	to->bits = tnum_with_subreg(to->bits, low->bits);
	to->umin32 = empty ? 1 : clip_u32(low->umin);
	to->umax32 = empty ? 0 : clip_u32(low->umax);
	to->smin32 = empty ? to->smin32 : (s32)low->smin;
	to->smax32 = empty ? to->smax32 : (s32)low->smax;
}

void cond_refine(struct scalar *a, struct scalar *b, u32 op, u32 bits)
{
	struct scalar x, y;

	if (bits == 64) {
		refine(a, b, op, 64);
	} else {
		low_as_whole(&x, a);
		low_as_whole(&y, b);
		refine(&x, &y, op, 32);
		put_low(a, &x);
		put_low(b, &y);
	}
	if (!scalar_is_empty(a))
		scalar_sync(a);
	if (!scalar_is_empty(b))
		scalar_sync(b);
}
