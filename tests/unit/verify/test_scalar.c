/* SPDX-License-Identifier: BSD-2-Clause */
/* Scalars against concrete execution: sets of border values, every operation, both widths; deduction loses no value. */
#include "concrete.h"
#include "test.h"

#define SET 3

static const u64 borders[] = {
	0,
	1,
	2,
	7,
	8,
	31,
	63,
	127,
	128,
	255,
	0x7fffffff,
	0x80000000,
	0x80000001,
	0xfffffffe,
	0xffffffff,
	0x100000000,
	0x100000001,
	1ull << 62,
	INT64_MAX,
	1ull << 63,
	(1ull << 63) + 1,
	-1ull,
	-2ull,
	-8ull,
	-0x80000000ull,
	-0x80000001ull,
	0xffffffff00000000ull,
	0x7fffffffffffff00ull,
};
#define BORDERS (sizeof(borders) / sizeof(*borders))

static u64 seed = 88172645463325252ull;

static u64 pick(u64 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

/* The tightest scalar that holds the values, before any deduction. */
static void of_values(struct scalar *s, const u64 *values)
{
	scalar_set_const(s, values[0]);
	for (int i = 1; i < SET; i++) {
		u64 x = values[i];

		s->bits = tnum_union(s->bits, tnum_const(x));
		s->umin = MIN(s->umin, x);
		s->umax = MAX(s->umax, x);
		s->smin = MIN(s->smin, (s64)x);
		s->smax = MAX(s->smax, (s64)x);
		s->umin32 = MIN(s->umin32, (u32)x);
		s->umax32 = MAX(s->umax32, (u32)x);
		s->smin32 = MIN(s->smin32, (s32)x);
		s->smax32 = MAX(s->smax32, (s32)x);
	}
}

/* Some of the views forgotten, so that they must be deduced. */
static void random_scalar(struct scalar *s, u64 *values)
{
	struct scalar known;

	for (int i = 0; i < SET; i++)
		values[i] = pick(2) ? borders[pick(BORDERS)]
			    : i	    ? values[0] + pick(64)
				    : borders[pick(BORDERS)] + pick(9);
	of_values(&known, values);
	*s = known;
	if (!pick(3))
		s->bits = TNUM_UNKNOWN;
	if (!pick(3)) {
		s->umin = 0;
		s->umax = UINT64_MAX;
	}
	if (!pick(3)) {
		s->smin = INT64_MIN;
		s->smax = INT64_MAX;
	}
	if (!pick(2)) {
		s->umin32 = 0;
		s->umax32 = UINT32_MAX;
		s->smin32 = INT32_MIN;
		s->smax32 = INT32_MAX;
	}
	scalar_sync(s);
}

static void deduction_keeps_every_value(void)
{
	u64 values[SET];
	struct scalar s;

	for (int round = 0; round < 300000; round++) {
		random_scalar(&s, values);
		for (int i = 0; i < SET; i++) {
			if (holds(&s, values[i]))
				continue;
			CHECK_EQ(values[i], 0);
			return;
		}
	}
}

static void operations_are_sound(void)
{
	static const u32 ops[] = {BPF_ADD, BPF_SUB, BPF_MUL,  BPF_AND, BPF_OR, BPF_XOR,
				  BPF_LSH, BPF_RSH, BPF_ARSH, BPF_NEG, BPF_DIV};
	u64 x[SET], y[SET];

	for (int round = 0; round < 400000; round++) {
		u32 op = ops[pick(11)], bits = pick(2) ? 64 : 32;
		struct scalar a, b, r;

		random_scalar(&a, x);
		random_scalar(&b, y);
		if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) {
			y[0] = y[1] = y[2] = pick(bits);
			scalar_set_const(&b, y[0]);
		}
		r = a;
		scalar_alu(&r, &b, op, bits);
		for (int i = 0; i < SET; i++)
			for (int k = 0; k < SET; k++) {
				if (holds(&r, execute(x[i], y[k], op, bits)))
					continue;
				printf("# op %#x bits %u: %#llx, %#llx\n", op, bits,
				       (unsigned long long)x[i], (unsigned long long)y[k]);
				CHECK(false);
				return;
			}
	}
}

static void extensions_are_sound(void)
{
	u64 x[SET];

	for (int round = 0; round < 200000; round++) {
		u32 bytes = 1u << pick(3), up = 64 - 8 * bytes, bits = pick(2) ? 64 : 32;
		struct scalar s, z, e;

		random_scalar(&s, x);
		z = s;
		scalar_zext(&z, bytes);
		e = s;
		if (bytes == 4)
			bits = 64;
		scalar_sext(&e, bytes, bits);
		for (int i = 0; i < SET; i++) {
			u64 extended = (u64)((s64)(x[i] << up) >> up);

			CHECK(holds(&z, x[i] << up >> up));
			CHECK(holds(&e, bits == 32 ? (u32)extended : extended));
			if (test_failed_here)
				return;
		}
	}
}

/* A prediction holds for all values; each side keeps the values that go there. */
static void comparisons_are_sound(void)
{
	static const u32 ops[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,	BPF_JGE,  BPF_JLT, BPF_JLE,
				  BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};
	u64 x[SET], y[SET];

	for (int round = 0; round < 400000 && !test_failed_here; round++) {
		u32 op = ops[pick(11)], bits = pick(2) ? 64 : 32;
		struct scalar a, b, ta, tb, fa, fb;
		enum cond_outcome outcome;

		random_scalar(&a, x);
		random_scalar(&b, y);
		if (pick(2)) {
			y[1] = y[2] = y[0];
			scalar_set_const(&b, y[0]);
		}
		outcome = cond_predict(&a, &b, op, bits);
		ta = fa = a;
		tb = fb = b;
		cond_refine(&ta, &tb, op, bits);
		cond_refine(&fa, &fb, cond_negate(op), bits);
		for (int i = 0; i < SET; i++)
			for (int k = 0; k < SET; k++) {
				bool taken = compare(x[i], y[k], op, bits);

				CHECK(outcome == COND_EITHER || taken == (outcome == COND_ALWAYS));
				CHECK(holds(taken ? &ta : &fa, x[i]) &&
				      holds(taken ? &tb : &fb, y[k]));
			}
		if (test_failed_here)
			printf("# op %#x bits %u: %#llx %#llx\n", op, bits,
			       (unsigned long long)x[0], (unsigned long long)y[0]);
	}
}

static void deduction_goes_both_ways(void)
{
	struct scalar s;

	scalar_set_unknown(&s);
	s.umax = 100;
	scalar_sync(&s);
	CHECK_EQ(s.smax, 100);
	CHECK_EQ(s.umax32, 100);
	CHECK_EQ(s.bits.mask, 127);
	scalar_set_unknown(&s);
	s.smin = -5;
	s.smax = -1;
	scalar_sync(&s);
	CHECK_EQ(s.umin, -5);
	CHECK_EQ(s.smin32, -5);
}

int main(void)
{
	RUN(deduction_goes_both_ways);
	RUN(deduction_keeps_every_value);
	RUN(operations_are_sound);
	RUN(extensions_are_sound);
	RUN(comparisons_are_sound);
	return test_done();
}
