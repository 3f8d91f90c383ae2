/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transfer of ALU operations on scalars. A 64-bit operation computes the 64- and the 32-bit views each from its own
 * operands (the low half of a sum depends on the low halves only); a 32-bit one the 32-bit views, zero-extended.
 */
#include "verify/scalar.h"

#include <linux/bpf.h>

static void forget_64(struct scalar *d)
{
	d->umin = 0;
	d->umax = UINT64_MAX;
	d->smin = INT64_MIN;
	d->smax = INT64_MAX;
}

static void forget_32(struct scalar *d)
{
	d->umin32 = 0;
	d->umax32 = UINT32_MAX;
	d->smin32 = INT32_MIN;
	d->smax32 = INT32_MAX;
}

/*
 * Interval sum or difference, one view: when both ends wrap around the arc stays one arc, when one does it is lost.
 * (For unsigned views "both wrap" keeps order; signed views give up at any overflow.)
 */
#define SUM(name, type, op, lowest, highest, both_ok)                                              \
	static void name(type *min, type *max, type lo, type hi)                                   \
	{                                                                                          \
		bool over_min = op(*min, lo, min), over_max = op(*max, hi, max);                   \
                                                                                                   \
		if (over_min == over_max && (!over_min || (both_ok)))                              \
			return;                                                                    \
		*min = (lowest);                                                                   \
		*max = (highest);                                                                  \
	}
#define ADD_ __builtin_add_overflow
#define SUB_ __builtin_sub_overflow
SUM(add_u64, u64, ADD_, 0, UINT64_MAX, true)
SUM(add_s64, s64, ADD_, INT64_MIN, INT64_MAX, false)
SUM(add_u32, u32, ADD_, 0, UINT32_MAX, true)
SUM(add_s32, s32, ADD_, INT32_MIN, INT32_MAX, false)
SUM(sub_u64, u64, SUB_, 0, UINT64_MAX, true)
SUM(sub_s64, s64, SUB_, INT64_MIN, INT64_MAX, false)
SUM(sub_u32, u32, SUB_, 0, UINT32_MAX, true)
SUM(sub_s32, s32, SUB_, INT32_MIN, INT32_MAX, false)

static void add(struct scalar *d, const struct scalar *s)
{
	add_u64(&d->umin, &d->umax, s->umin, s->umax);
	add_s64(&d->smin, &d->smax, s->smin, s->smax);
	add_u32(&d->umin32, &d->umax32, s->umin32, s->umax32);
	add_s32(&d->smin32, &d->smax32, s->smin32, s->smax32);
	d->bits = tnum_add(d->bits, s->bits);
}

static void subtract(struct scalar *d, const struct scalar *s)
{
	sub_u64(&d->umin, &d->umax, s->umax, s->umin);
	sub_s64(&d->smin, &d->smax, s->smax, s->smin);
	sub_u32(&d->umin32, &d->umax32, s->umax32, s->umin32);
	sub_s32(&d->smin32, &d->smax32, s->smax32, s->smin32);
	d->bits = tnum_sub(d->bits, s->bits);
}

static void multiply_64(struct scalar *d, const struct scalar *s)
{
	u64 a, b;
	s64 p[4];

	if (__builtin_mul_overflow(d->umax, s->umax, &b)) {
		d->umin = 0;
		d->umax = UINT64_MAX;
	} else {
		a = d->umin * s->umin;
		d->umin = a;
		d->umax = b;
	}
	if (__builtin_mul_overflow(d->smin, s->smin, &p[0]) ||
	    __builtin_mul_overflow(d->smin, s->smax, &p[1]) ||
	    __builtin_mul_overflow(d->smax, s->smin, &p[2]) ||
	    __builtin_mul_overflow(d->smax, s->smax, &p[3])) {
		d->smin = INT64_MIN;
		d->smax = INT64_MAX;
		return;
	}
	d->smin = MIN(MIN(p[0], p[1]), MIN(p[2], p[3]));
	d->smax = MAX(MAX(p[0], p[1]), MAX(p[2], p[3]));
}

static void multiply_32(struct scalar *d, const struct scalar *s)
{
	u64 b = (u64)d->umax32 * s->umax32;
	s64 p[4] = {(s64)d->smin32 * s->smin32, (s64)d->smin32 * s->smax32,
		    (s64)d->smax32 * s->smin32, (s64)d->smax32 * s->smax32};
	s64 min = MIN(MIN(p[0], p[1]), MIN(p[2], p[3])),
	    max = MAX(MAX(p[0], p[1]), MAX(p[2], p[3]));

	d->umin32 = b > UINT32_MAX ? 0 : d->umin32 * s->umin32;
	d->umax32 = b > UINT32_MAX ? UINT32_MAX : (u32)b;
	if (min < INT32_MIN || max > INT32_MAX) {
		d->smin32 = INT32_MIN;
		d->smax32 = INT32_MAX;
	} else {
		d->smin32 = (s32)min;
		d->smax32 = (s32)max;
	}
}

static void multiply(struct scalar *d, const struct scalar *s)
{
	multiply_64(d, s);
	multiply_32(d, s);
	d->bits = tnum_mul(d->bits, s->bits);
}

/* x & y is at most either operand, and at least the bits known to be one. */
static void and_(struct scalar *d, const struct scalar *s)
{
	u64 umax = MIN(d->umax, s->umax);
	u32 umax32 = MIN(d->umax32, s->umax32);

	d->bits = tnum_and(d->bits, s->bits);
	forget_64(d);
	forget_32(d);
	d->umin = d->bits.value;
	d->umax = umax;
	d->umin32 = (u32)d->bits.value;
	d->umax32 = umax32;
}

/* x | y is at least either operand. */
static void or_(struct scalar *d, const struct scalar *s)
{
	u64 umin = MAX(d->umin, s->umin);
	u32 umin32 = MAX(d->umin32, s->umin32);

	d->bits = tnum_or(d->bits, s->bits);
	forget_64(d);
	forget_32(d);
	d->umin = umin;
	d->umax = d->bits.value | d->bits.mask;
	d->umin32 = umin32;
	d->umax32 = (u32)(d->bits.value | d->bits.mask);
}

static void xor_(struct scalar *d, const struct scalar *s)
{
	d->bits = tnum_xor(d->bits, s->bits);
	forget_64(d);
	forget_32(d);
}

static void shift_left(struct scalar *d, u32 n)
{
	bool fits = !n || d->umax <= UINT64_MAX >> n;
	bool fits32 = n < 32 && (!n || d->umax32 <= UINT32_MAX >> n);
	u64 umin = d->umin, umax = d->umax;
	u32 umin32 = d->umin32, umax32 = d->umax32;
	s64 smin = d->smin, smax = d->smax;
	/* A shift by 32 of a sign-extended word is how clang extends: keep its signed bounds. */
	bool signed_fits = n < 63 && smin >= INT64_MIN >> n && smax <= INT64_MAX >> n;
	bool low_word = n == 32;
	s64 low_min = (s64)((u64)d->smin32 << 32), low_max = (s64)((u64)d->smax32 << 32);

	d->bits = tnum_lshift(d->bits, n);
	forget_64(d);
	forget_32(d);
	if (fits) {
		d->umin = umin << n;
		d->umax = umax << n;
	}
	if (fits32) {
		d->umin32 = umin32 << n;
		d->umax32 = umax32 << n;
	}
	if (signed_fits) {
		d->smin = (s64)((u64)smin << n);
		d->smax = (s64)((u64)smax << n);
	} else if (low_word) {
		d->smin = low_min;
		d->smax = low_max;
	}
}

static void shift_right(struct scalar *d, u32 n)
{
	d->bits = tnum_rshift(d->bits, n);
	d->umin >>= n;
	d->umax >>= n;
	d->smin = INT64_MIN;
	d->smax = INT64_MAX;
	forget_32(d);
}

static void shift_right_signed(struct scalar *d, u32 n)
{
	d->bits = tnum_arshift(d->bits, n, 64);
	d->smin >>= n;
	d->smax >>= n;
	d->umin = 0;
	d->umax = UINT64_MAX;
	forget_32(d);
}

/* The low half alone, as a 64-bit value below 2^32. */
static void keep_low(struct scalar *s)
{
	s->bits = tnum_cast(s->bits, 4);
	s->umin = s->umin32;
	s->umax = s->umax32;
	s->smin = s->umin32;
	s->smax = s->umax32;
}

static void shift_32(struct scalar *d, u32 op, u32 n)
{
	struct scalar low = *d;

	keep_low(&low);
	if (op == BPF_LSH) {
		shift_left(&low, n);
	} else if (op == BPF_RSH) {
		shift_right(&low, n);
		low.umin32 = (u32)low.umin;
		low.umax32 = (u32)low.umax;
	} else {
		low.bits = tnum_arshift(low.bits, n, 32);
		low.smin32 = d->smin32 >> n;
		low.smax32 = d->smax32 >> n;
		low.umin32 = 0;
		low.umax32 = UINT32_MAX;
	}
	*d = low;
}

/* Shifts are tracked for a known amount below the width only (as a whole register: the kernel does so too). */
static bool shift(struct scalar *d, const struct scalar *s, u32 op, u32 bits)
{
	u64 n = bits == 32 ? (u32)s->bits.value : s->bits.value;

	if (!(bits == 32 ? scalar_is_const32(s) : scalar_is_const(s)) || s->umax >= bits)
		return false;
	if (bits == 32)
		shift_32(d, op, (u32)n);
	else if (op == BPF_LSH)
		shift_left(d, (u32)n);
	else if (op == BPF_RSH)
		shift_right(d, (u32)n);
	else
		shift_right_signed(d, (u32)n);
	return true;
}

static bool transfer(struct scalar *d, const struct scalar *s, u32 op, u32 bits)
{
	struct scalar zero;

	switch (op) {
	case BPF_ADD:
		add(d, s);
		return true;
	case BPF_SUB:
		subtract(d, s);
		return true;
	case BPF_MUL:
		multiply(d, s);
		return true;
	case BPF_AND:
		and_(d, s);
		return true;
	case BPF_OR:
		or_(d, s);
		return true;
	case BPF_XOR:
		xor_(d, s);
		return true;
	case BPF_NEG:
		scalar_set_const(&zero, 0);
		subtract(&zero, d);
		*d = zero;
		return true;
	case BPF_LSH:
	case BPF_RSH:
	case BPF_ARSH:
		return shift(d, s, op, bits);
	default:
		return false;
	}
}

void scalar_alu(struct scalar *dst, const struct scalar *src, u32 op, u32 bits)
{
	/* As the kernel does, of 32-bit operations too, though their upper half would be known to be zero. */
	if (!transfer(dst, src, op, bits)) {
		scalar_set_unknown(dst);
		return;
	}
	if (bits == 32)
		keep_low(dst);
	scalar_sync(dst);
}

void scalar_zext(struct scalar *s, u32 bytes)
{
	u64 max;

	if (bytes == 4) {
		keep_low(s);
		scalar_sync(s);
		return;
	}
	max = (1ull << (8 * bytes)) - 1;
	s->bits = tnum_cast(s->bits, bytes);
	if ((s->umin & ~max) == (s->umax & ~max)) {
		s->umin &= max;
		s->umax &= max;
	} else {
		s->umin = 0;
		s->umax = max;
	}
	s->smin = (s64)s->umin;
	s->smax = (s64)s->umax;
	forget_32(s);
	scalar_sync(s);
}

void scalar_sext(struct scalar *s, u32 bytes, u32 bits)
{
	u32 up = 64 - 8 * bytes;
	s64 min = -(1ll << (8 * bytes - 1)), max = (1ll << (8 * bytes - 1)) - 1;
	bool fits = s->smin >= min && s->smax <= max;
	s64 smin = fits ? s->smin : min, smax = fits ? s->smax : max;

	if (!fits && bytes == 4) {
		smin = s->smin32;
		smax = s->smax32;
	}
	s->bits = tnum_arshift(tnum_lshift(s->bits, up), up, 64);
	scalar_set_unbounded(s);
	s->smin = smin;
	s->smax = smax;
	scalar_sync(s);
	if (bits == 32) {
		keep_low(s);
		scalar_sync(s);
	}
}
