/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Atomics: one instruction where the processor has FEAT_LSE, else a loop of exclusive accesses.
 *
 * Those that fetch are fully ordered, others not at all: what the kernel's memory model says of them.
 */
#include <errno.h>

#include "arch/aarch64/jit.h"
#include "format/insn.h"

struct atomic {
	u32 size;
	s32 operation;
	u8 at;	    /* holds the address */
	u8 operand; /* and gets the old value */
};

#define OLD    JIT_TEMP2
#define NEW    JIT_TEMP3
#define STATUS JIT_TEMP4

/* Writes it back, and again while somebody else wrote in between. */
static void store_or_retry(struct codebuf *buf, const struct atomic *a, u8 value, u32 start)
{
	a64_stlxr(buf, a->size, STATUS, value, a->at);
	a64_branch(buf, a64_branch_zero(4, STATUS, true), (s64)start - buf->size);
}

static void exclusive_update(struct codebuf *buf, const struct atomic *a, enum a64_op op)
{
	u32 start = buf->size;

	a64_exclusive(buf, A64_LDXR, a->size, OLD, a->at);
	a64_op(buf, a->size, op, NEW, OLD, a->operand);
	store_or_retry(buf, a, NEW, start);
	if (a->operation & BPF_FETCH) {
		a64_dmb(buf);
		a64_mov(buf, 8, a->operand, OLD);
	}
}

static void exclusive_exchange(struct codebuf *buf, const struct atomic *a)
{
	u32 start = buf->size;

	a64_exclusive(buf, A64_LDXR, a->size, OLD, a->at);
	store_or_retry(buf, a, a->operand, start);
	a64_dmb(buf);
	a64_mov(buf, 8, a->operand, OLD);
}

static void exclusive_compare(struct codebuf *buf, const struct atomic *a)
{
	u32 start = buf->size, differs;

	a64_exclusive(buf, A64_LDXR, a->size, OLD, a->at);
	a64_op(buf, a->size, A64_SUBS, A64_ZR, OLD, JIT_R0);
	differs = a64_skip(buf, a64_branch_if(A64_NE));
	store_or_retry(buf, a, a->operand, start);
	a64_land(buf, differs);
	a64_dmb(buf);
	a64_mov(buf, 8, JIT_R0, OLD);
}

static int by_loop(struct codebuf *buf, const struct atomic *a)
{
	switch (a->operation & ~BPF_FETCH) {
	case BPF_ADD:
		exclusive_update(buf, a, A64_ADD);
		return 0;
	case BPF_AND:
		exclusive_update(buf, a, A64_AND);
		return 0;
	case BPF_OR:
		exclusive_update(buf, a, A64_ORR);
		return 0;
	case BPF_XOR:
		exclusive_update(buf, a, A64_EOR);
		return 0;
	case BPF_XCHG & ~BPF_FETCH:
		exclusive_exchange(buf, a);
		return 0;
	default:
		exclusive_compare(buf, a);
		return 0;
	}
}

static void one_update(struct codebuf *buf, const struct atomic *a, enum a64_lse op)
{
	bool fetch = a->operation & BPF_FETCH;
	u8 operand = a->operand;

	if (op == A64_LDCLR) {
		a64_op(buf, a->size, A64_ORN, NEW, A64_ZR, operand);
		operand = NEW;
	}
	a64_lse(buf, op, a->size, fetch, operand, fetch ? a->operand : A64_ZR, a->at);
}

static int by_one(struct codebuf *buf, const struct atomic *a)
{
	switch (a->operation & ~BPF_FETCH) {
	case BPF_ADD:
		one_update(buf, a, A64_LDADD);
		return 0;
	case BPF_AND:
		one_update(buf, a, A64_LDCLR);
		return 0;
	case BPF_OR:
		one_update(buf, a, A64_LDSET);
		return 0;
	case BPF_XOR:
		one_update(buf, a, A64_LDEOR);
		return 0;
	case BPF_XCHG & ~BPF_FETCH:
		one_update(buf, a, A64_SWP);
		return 0;
	default:
		a64_casal(buf, a->size, JIT_R0, a->operand, a->at);
		return 0;
	}
}

static bool is_known(s32 operation)
{
	switch (operation & ~BPF_FETCH) {
	case BPF_ADD:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
		return true;
	}
	return operation == BPF_XCHG || operation == BPF_CMPXCHG;
}

/* base + off in a register. */
static u8 address(struct codebuf *buf, u8 base, s16 off)
{
	if (!off)
		return base;
	aarch64_jit_add(buf, 8, JIT_TEMP, base, off);
	return JIT_TEMP;
}

int aarch64_jit_atomic(struct codebuf *buf, const struct jit_unit *unit,
		       const struct bpf_insn *insn)
{
	u8 to = aarch64_reg[insn->dst_reg], from = aarch64_reg[insn->src_reg];
	struct atomic a = {.size = insn_access_size(insn), .operation = insn->imm, .operand = from};

	if (insn->imm == INSN_LOAD_ACQUIRE) {
		a64_exclusive(buf, A64_LDAR, a.size, to, address(buf, from, insn->off));
		return 0;
	}
	if (insn->imm != INSN_STORE_RELEASE && (a.size < 4 || !is_known(insn->imm)))
		return -EOPNOTSUPP;
	a.at = address(buf, to, insn->off);
	if (insn->imm == INSN_STORE_RELEASE) {
		a64_exclusive(buf, A64_STLR, a.size, from, a.at);
		return 0;
	}
	return unit->features & JIT_FEATURE_LSE ? by_one(buf, &a) : by_loop(buf, &a);
}
