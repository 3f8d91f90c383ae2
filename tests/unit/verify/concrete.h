/* SPDX-License-Identifier: BSD-2-Clause */
/* What operations and comparisons do to numbers: the truth that the verifier's value domains are held against. */
#ifndef INLAY_TESTS_UNIT_VERIFY_CONCRETE_H
#define INLAY_TESTS_UNIT_VERIFY_CONCRETE_H

#include <linux/bpf.h>

#include "verify/cond.h"
#include "verify/scalar.h"

/* Is x among the values that s stands for? */
static bool holds(const struct scalar *s, u64 x)
{
	return (x & ~s->bits.mask) == s->bits.value && x >= s->umin && x <= s->umax &&
	       (s64)x >= s->smin && (s64)x <= s->smax && (u32)x >= s->umin32 &&
	       (u32)x <= s->umax32 && (s32)x >= s->smin32 && (s32)x <= s->smax32;
}

static u64 shifted(u64 a, u64 b, u32 op, u32 bits)
{
	u32 by = (u32)(b & (bits - 1));

	switch (op) {
	case BPF_LSH:
		return a << by;
	case BPF_RSH:
		return a >> by;
	default:
		return bits == 32 ? (u64)((s32)a >> by) : (u64)((s64)a >> by);
	}
}

static u64 execute(u64 a, u64 b, u32 op, u32 bits)
{
	u64 r;

	if (bits == 32) {
		a = (u32)a;
		b = (u32)b;
	}
	switch (op) {
	case BPF_ADD:
		r = a + b;
		break;
	case BPF_SUB:
		r = a - b;
		break;
	case BPF_MUL:
		r = a * b;
		break;
	case BPF_AND:
		r = a & b;
		break;
	case BPF_OR:
		r = a | b;
		break;
	case BPF_XOR:
		r = a ^ b;
		break;
	case BPF_NEG:
		r = -a;
		break;
	case BPF_DIV:
		r = b ? a / b : 0;
		break;
	case BPF_MOD:
		r = b ? a % b : a;
		break;
	default:
		r = shifted(a, b, op, bits);
		break;
	}
	return bits == 32 ? (u32)r : r;
}

static bool compare(u64 a, u64 b, u32 op, u32 bits)
{
	s64 sa = bits == 32 ? (s32)a : (s64)a, sb = bits == 32 ? (s32)b : (s64)b;

	if (bits == 32) {
		a = (u32)a;
		b = (u32)b;
	}
	switch (op) {
	case BPF_JEQ:
		return a == b;
	case BPF_JNE:
		return a != b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSGT:
		return sa > sb;
	case BPF_JSGE:
		return sa >= sb;
	case BPF_JSLT:
		return sa < sb;
	case BPF_JSLE:
		return sa <= sb;
	case BPF_JSET:
		return a & b;
	default:
		return !(a & b); /* COND_JCLEAR */
	}
}

#endif
