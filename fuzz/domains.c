/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The value domains of the verifier, exhaustively for narrow numbers.
 *
 * usage: domains 4|8
 *
 * An element is a set of numbers that differ only in a window of 4 or 8 bits: every tristate number of the window, every unsigned and
 * every signed interval of it. The window lies at the bottom of the number, below its 32-bit sign and below its 64-bit sign, so that each kind
 * of overflow is met. Of every operation and comparison on every pair of elements:
 *   sound: the result holds what each pair of values gives; a comparison that is predicted is so for each of them, and
 *     refining by it loses none for which it holds;
 *   monotone: a smaller element gives a result that is no larger (4 bits only).
 * At 8 bits: every pair of tristate numbers, and every interval with every constant. Exit status 1: a violation, printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/unit/verify/concrete.h"

#define MAX_VALUES 256
#define SHOWN	   10

struct element {
	struct scalar s;
	u64 values[MAX_VALUES];
	u32 count;
};

static u64 checked, violations;

static void violation(const char *what, u32 op, u32 bits, const struct element *a,
		      const struct element *b)
{
	if (violations++ < SHOWN)
		printf("not %s: op %#x of %u bits, tnum %#llx/%#llx [%#llx, %#llx] and %#llx/%#llx [%#llx, %#llx]\n",
		       what, op, bits, (unsigned long long)a->s.bits.value,
		       (unsigned long long)a->s.bits.mask, (unsigned long long)a->s.umin,
		       (unsigned long long)a->s.umax, (unsigned long long)b->s.bits.value,
		       (unsigned long long)b->s.bits.mask, (unsigned long long)b->s.umin,
		       (unsigned long long)b->s.umax);
}

/* -- Elements -- */

static void of_tnum(struct element *e, struct tnum t)
{
	u64 subset = 0;

	scalar_set_unknown(&e->s);
	e->s.bits = t;
	scalar_sync(&e->s);
	e->count = 0;
	do {
		e->values[e->count++] = t.value | subset;
		subset = (subset - t.mask) & t.mask;
	} while (subset);
}

static void of_interval(struct element *e, s64 low, s64 high, u32 shift, bool is_signed)
{
	scalar_set_unknown(&e->s);
	if (is_signed) {
		e->s.smin = (s64)((u64)low << shift);
		e->s.smax = (s64)((u64)high << shift);
	} else {
		e->s.umin = (u64)low << shift;
		e->s.umax = (u64)high << shift;
	}
	/* Only the window's bits vary. */
	if (shift)
		e->s.bits = (struct tnum){.value = 0, .mask = ~0ull << shift};
	scalar_sync(&e->s);
	e->count = 0;
	for (s64 x = low; x <= high; x++)
		e->values[e->count++] = (u64)x << shift;
}

static u32 all_tnums(struct element *out, u32 width, u32 shift)
{
	u32 count = 0;

	for (u64 mask = 0; mask < 1u << width; mask++)
		for (u64 value = 0; value < 1u << width; value++)
			if (!(mask & value))
				of_tnum(&out[count++],
					(struct tnum){value << shift, mask << shift});
	return count;
}

static u32 all_intervals(struct element *out, u32 width, u32 shift, bool is_signed)
{
	s64 first = is_signed ? -(1ll << (width - 1)) : 0, end = first + (1ll << width);
	u32 count = 0;

	for (s64 low = first; low < end; low++)
		for (s64 high = low; high < end; high++)
			of_interval(&out[count++], low, high, shift, is_signed);
	return count;
}

/* -- Operations -- */

static bool is_shift(u32 op)
{
	return op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
}

/* The transfer function is asked for shifts within the width only: others are refused or not tracked. */
static bool admitted(const struct element *b, u32 op, u32 bits)
{
	return !is_shift(op) || (b->count == 1 && b->values[0] < bits);
}

static void check_alu(const struct element *a, const struct element *b, u32 op, u32 bits,
		      struct scalar *ret_result)
{
	*ret_result = a->s;
	scalar_alu(ret_result, &b->s, op, bits);
	checked++;
	for (u32 i = 0; i < a->count; i++)
		for (u32 k = 0; k < b->count; k++)
			if (!holds(ret_result, execute(a->values[i], b->values[k], op, bits))) {
				violation("sound", op, bits, a, b);
				return;
			}
}

static const u32 alu_ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_AND, BPF_OR,  BPF_XOR,
			      BPF_NEG, BPF_DIV, BPF_MOD, BPF_LSH, BPF_RSH, BPF_ARSH};

/* What each operation gave, for every pair of elements: results[i * count + k]. */
static void check_monotone(const struct element *elements, u32 count, const struct scalar *results,
			   u32 op, u32 bits)
{
	for (u32 large = 0; large < count; large++)
		for (u32 small = 0; small < count; small++) {
			if (small == large ||
			    !scalar_contains(&elements[large].s, &elements[small].s))
				continue;
			for (u32 k = 0; k < count; k++) {
				if (!admitted(&elements[k], op, bits))
					continue;
				checked += 2;
				if (!scalar_contains(&results[large * count + k],
						     &results[small * count + k]))
					violation("monotone", op, bits, &elements[large],
						  &elements[k]);
				if (!is_shift(op) && !scalar_contains(&results[k * count + large],
								      &results[k * count + small]))
					violation("monotone (right)", op, bits, &elements[k],
						  &elements[large]);
			}
		}
}

/* -- Comparisons -- */

static const u32 conditions[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,	 BPF_JLT,  BPF_JLE,
				 BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET, COND_JCLEAR};

static void check_condition(const struct element *a, const struct element *b, u32 op, u32 bits)
{
	struct scalar left = a->s, right = b->s;
	enum cond_outcome outcome =
		op == COND_JCLEAR ? COND_EITHER : cond_predict(&a->s, &b->s, op, bits);

	cond_refine(&left, &right, op, bits);
	checked++;
	for (u32 i = 0; i < a->count; i++)
		for (u32 k = 0; k < b->count; k++) {
			bool is = compare(a->values[i], b->values[k], op, bits);

			if (outcome == (is ? COND_NEVER : COND_ALWAYS)) {
				violation("predicted right", op, bits, a, b);
				return;
			}
			if (is && (!holds(&left, a->values[i]) || !holds(&right, b->values[k]))) {
				violation("refined soundly", op, bits, a, b);
				return;
			}
		}
}

/* -- The two sizes -- */

static void check_pairs(const struct element *left, u32 left_count, const struct element *right,
			u32 right_count, u32 bits)
{
	struct scalar result;

	for (u32 i = 0; i < left_count; i++)
		for (u32 k = 0; k < right_count; k++) {
			for (u32 o = 0; o < ARRAY_SIZE(alu_ops); o++)
				if (admitted(&right[k], alu_ops[o], bits))
					check_alu(&left[i], &right[k], alu_ops[o], bits, &result);
			for (u32 c = 0; c < ARRAY_SIZE(conditions); c++)
				check_condition(&left[i], &right[k], conditions[c], bits);
		}
}

static void check_four_bits(u32 shift, struct element *elements, struct scalar *results)
{
	u32 count = all_tnums(elements, 4, shift);

	count += all_intervals(elements + count, 4, shift, false);
	count += all_intervals(elements + count, 4, shift, true);
	for (u32 bits = 32; bits <= 64; bits += 32) {
		check_pairs(elements, count, elements, count, bits);
		for (u32 o = 0; o < ARRAY_SIZE(alu_ops); o++) {
			for (u32 i = 0; i < count * count; i++) {
				results[i] = elements[i / count].s;
				if (admitted(&elements[i % count], alu_ops[o], bits))
					scalar_alu(&results[i], &elements[i % count].s, alu_ops[o],
						   bits);
			}
			check_monotone(elements, count, results, alu_ops[o], bits);
		}
	}
}

static u64 plain(u64 a, u64 b, u32 op)
{
	return execute(a, b, op, 64);
}

/* Every pair of tristate numbers of 8 bits: the bits that all results share must include those the operation calls known. */
static void check_eight_bit_tnums(const struct element *elements, u32 count)
{
	static const struct {
		u32 op;
		struct tnum (*transfer)(struct tnum, struct tnum);
	} ops[] = {{BPF_ADD, tnum_add}, {BPF_SUB, tnum_sub}, {BPF_MUL, tnum_mul},
		   {BPF_AND, tnum_and}, {BPF_OR, tnum_or},   {BPF_XOR, tnum_xor}};

	for (u32 o = 0; o < ARRAY_SIZE(ops); o++) {
		for (u32 i = 0; i < count; i++)
			for (u32 k = 0; k < count; k++) {
				const struct element *a = &elements[i], *b = &elements[k];
				struct tnum r = ops[o].transfer(a->s.bits, b->s.bits);
				u64 wrong = 0;

				checked++;
				for (u32 x = 0; x < a->count; x++)
					for (u32 y = 0; y < b->count; y++)
						wrong |= (plain(a->values[x], b->values[y],
								ops[o].op) ^
							  r.value) &
							 ~r.mask;
				if (wrong)
					violation("sound", ops[o].op, 64, a, b);
			}
		printf("8 bits: tnum operation %#x done\n", ops[o].op);
		fflush(stdout);
	}
}

static void check_eight_bits(u32 shift, struct element *elements, struct element *constants)
{
	for (u64 x = 0; x < 256; x++)
		of_tnum(&constants[x], tnum_const(x << shift));
	for (u32 bits = 32; bits <= 64; bits += 32) {
		check_pairs(elements, all_tnums(elements, 8, shift), constants, 256, bits);
		check_pairs(elements, all_intervals(elements, 8, shift, false), constants, 256,
			    bits);
		check_pairs(elements, all_intervals(elements, 8, shift, true), constants, 256,
			    bits);
	}
}

int main(int argc, char **argv)
{
	struct element *elements = calloc(40000, sizeof(*elements)),
		       *constants = calloc(256, sizeof(*constants));
	struct scalar *results = calloc(400 * 400, sizeof(*results));
	u32 width = argc == 2 ? (u32)atoi(argv[1]) : 0;

	if ((width != 4 && width != 8) || !elements || !constants || !results) {
		fprintf(stderr, "usage: domains 4|8\n");
		return 2;
	}
	if (width == 8)
		check_eight_bit_tnums(elements, all_tnums(elements, 8, 0));
	for (u32 place = 0; place < 3; place++) {
		u32 shift = place ? 32 * place - width : 0;

		if (width == 4)
			check_four_bits(shift, elements, results);
		else
			check_eight_bits(shift, elements, constants);
		printf("%u bits at bit %u: %llu checks so far, %llu violations\n", width, shift,
		       (unsigned long long)checked, (unsigned long long)violations);
		fflush(stdout);
	}
	free(elements);
	free(constants);
	free(results);
	return violations ? 1 : 0;
}
