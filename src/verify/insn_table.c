/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Well-formedness as data: for each opcode, which fields must be zero and what the immediate and the offset may be.
 * (Register numbers are checked where they are used, since only paths that are taken use them.)
 */
#include "verify/insn_table.h"

#include <errno.h>
#include <stddef.h>

#include "verify/verify_priv.h"

enum off_rule { OFF_ZERO, OFF_ANY, OFF_SIGNED, OFF_MOV32, OFF_MOV64 };
enum imm_rule { IMM_ZERO, IMM_ANY, IMM_WIDTH, IMM_ATOMIC };

struct row {
	const char *reserved; /* name in "... uses reserved fields"; NULL: no such instruction */
	bool src_zero, dst_zero;
	enum off_rule off;
	enum imm_rule imm;
};

#define ALU_K(op, off)                                                                             \
	[BPF_ALU | (op) | BPF_K] = {"BPF_ALU", true, false, off, IMM_ANY},                         \
			  [BPF_ALU64 | (op) | BPF_K] = {"BPF_ALU", true, false, off, IMM_ANY}
#define ALU_X(op, off)                                                                             \
	[BPF_ALU | (op) | BPF_X] = {"BPF_ALU", false, false, off, IMM_ZERO},                       \
			  [BPF_ALU64 | (op) | BPF_X] = {"BPF_ALU", false, false, off, IMM_ZERO}
#define ALU(op) ALU_K(op, OFF_ZERO), ALU_X(op, OFF_ZERO)
#define COND(op)                                                                                   \
	[BPF_JMP | (op) |                                                                          \
		BPF_K] = {"BPF_JMP/JMP32", true, false, OFF_ANY, IMM_ANY},                         \
		[BPF_JMP | (op) | BPF_X] = {"BPF_JMP/JMP32", false, false, OFF_ANY, IMM_ZERO},     \
		[BPF_JMP32 | (op) | BPF_K] = {"BPF_JMP/JMP32", true, false, OFF_ANY, IMM_ANY},     \
		[BPF_JMP32 | (op) | BPF_X] = {"BPF_JMP/JMP32", false, false, OFF_ANY, IMM_ZERO}
#define ACCESS(size)                                                                               \
	[BPF_LDX | BPF_MEM |                                                                       \
		(size)] = {"BPF_LDX", false, false, OFF_ANY, IMM_ZERO},                            \
		[BPF_STX | BPF_MEM | (size)] = {"BPF_STX", false, false, OFF_ANY, IMM_ZERO},       \
		[BPF_ST | BPF_MEM | (size)] = {"BPF_ST", true, false, OFF_ANY, IMM_ANY}
#define PACKET(size)                                                                               \
	[BPF_LD | BPF_ABS | (size)] = {"BPF_LD_[ABS|IND]", true, true, OFF_ZERO, IMM_ANY},         \
			    [BPF_LD | BPF_IND | (size)] = {"BPF_LD_[ABS|IND]", false, true,        \
							   OFF_ZERO, IMM_ANY}

static const struct row rows[256] = {
	ALU(BPF_ADD),
	ALU(BPF_SUB),
	ALU(BPF_MUL),
	ALU(BPF_OR),
	ALU(BPF_AND),
	ALU(BPF_XOR),
	ALU(BPF_LSH),
	ALU(BPF_RSH),
	ALU(BPF_ARSH),
	ALU_K(BPF_DIV, OFF_SIGNED),
	ALU_X(BPF_DIV, OFF_SIGNED),
	ALU_K(BPF_MOD, OFF_SIGNED),
	ALU_X(BPF_MOD, OFF_SIGNED),
	[BPF_ALU | BPF_MOV | BPF_K] = {"BPF_MOV", true, false, OFF_ZERO, IMM_ANY},
	[BPF_ALU64 | BPF_MOV | BPF_K] = {"BPF_MOV", true, false, OFF_ZERO, IMM_ANY},
	[BPF_ALU | BPF_MOV | BPF_X] = {"BPF_MOV", false, false, OFF_MOV32, IMM_ZERO},
	[BPF_ALU64 | BPF_MOV | BPF_X] = {"BPF_MOV", false, false, OFF_MOV64, IMM_ZERO},
	[BPF_ALU | BPF_NEG] = {"BPF_NEG", true, false, OFF_ZERO, IMM_ZERO},
	[BPF_ALU64 | BPF_NEG] = {"BPF_NEG", true, false, OFF_ZERO, IMM_ZERO},
	[BPF_ALU | BPF_END | BPF_TO_LE] = {"BPF_END", true, false, OFF_ZERO, IMM_WIDTH},
	[BPF_ALU | BPF_END | BPF_TO_BE] = {"BPF_END", true, false, OFF_ZERO, IMM_WIDTH},
	[BPF_ALU64 | BPF_END] = {"BPF_END", true, false, OFF_ZERO, IMM_WIDTH},
	COND(BPF_JEQ),
	COND(BPF_JNE),
	COND(BPF_JGT),
	COND(BPF_JGE),
	COND(BPF_JLT),
	COND(BPF_JLE),
	COND(BPF_JSGT),
	COND(BPF_JSGE),
	COND(BPF_JSLT),
	COND(BPF_JSLE),
	COND(BPF_JSET),
	[BPF_JMP | BPF_JA] = {"BPF_JA", true, true, OFF_ANY, IMM_ZERO},
	[BPF_JMP32 | BPF_JA] = {"BPF_JA", true, true, OFF_ZERO, IMM_ANY},
	[BPF_JMP | BPF_CALL] = {"BPF_CALL", false, true, OFF_ZERO, IMM_ANY},
	[BPF_JMP | BPF_EXIT] = {"BPF_EXIT", true, true, OFF_ZERO, IMM_ZERO},
	ACCESS(BPF_B),
	ACCESS(BPF_H),
	ACCESS(BPF_W),
	ACCESS(BPF_DW),
	[BPF_LDX | INSN_MODE_MEMSX | BPF_B] = {"BPF_LDX", false, false, OFF_ANY, IMM_ZERO},
	[BPF_LDX | INSN_MODE_MEMSX | BPF_H] = {"BPF_LDX", false, false, OFF_ANY, IMM_ZERO},
	[BPF_LDX | INSN_MODE_MEMSX | BPF_W] = {"BPF_LDX", false, false, OFF_ANY, IMM_ZERO},
	[BPF_STX | BPF_ATOMIC | BPF_W] = {"BPF_ATOMIC", false, false, OFF_ANY, IMM_ATOMIC},
	[BPF_STX | BPF_ATOMIC | BPF_DW] = {"BPF_ATOMIC", false, false, OFF_ANY, IMM_ATOMIC},
	PACKET(BPF_B),
	PACKET(BPF_H),
	PACKET(BPF_W),
	[BPF_LD | BPF_IMM | BPF_DW] = {"BPF_LD_IMM64", false, false, OFF_ZERO, IMM_ANY},
};

bool insn_table_knows(u8 code)
{
	return rows[code].reserved != NULL;
}

static bool off_fits(enum off_rule rule, s16 off)
{
	switch (rule) {
	case OFF_ZERO:
		return off == 0;
	case OFF_ANY:
		return true;
	case OFF_SIGNED:
		return off == 0 || off == 1;
	case OFF_MOV32:
		return off == 0 || off == 8 || off == 16;
	case OFF_MOV64:
		return off == 0 || off == 8 || off == 16 || off == 32;
	}
	return false;
}

static bool is_atomic(s32 imm)
{
	switch (imm) {
	case BPF_ADD:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
	case BPF_ADD | BPF_FETCH:
	case BPF_AND | BPF_FETCH:
	case BPF_OR | BPF_FETCH:
	case BPF_XOR | BPF_FETCH:
	case BPF_XCHG:
	case BPF_CMPXCHG:
		return true;
	default:
		return false;
	}
}

static bool imm_fits(enum imm_rule rule, s32 imm)
{
	switch (rule) {
	case IMM_ZERO:
		return imm == 0;
	case IMM_WIDTH:
		return imm == 16 || imm == 32 || imm == 64;
	case IMM_ANY:
	case IMM_ATOMIC:
		return true;
	}
	return false;
}

/* src_reg of a call says what kind it is, and a call of a kernel function may carry an index in off. */
static bool call_fits(const struct bpf_insn *insn)
{
	if (insn->src_reg > INSN_CALL_KFUNC || insn->dst_reg)
		return false;
	return insn->src_reg == INSN_CALL_KFUNC || !insn->off;
}

int insn_table_check(struct verifier *env, const struct bpf_insn *insn)
{
	const struct row *row = &rows[insn->code];
	bool fits;

	if (!row->reserved)
		return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL, "unknown opcode %02x",
				     insn->code);
	if (row->imm == IMM_ATOMIC && !is_atomic(insn->imm))
		return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL,
				     "BPF_ATOMIC uses invalid atomic opcode %02x", (u32)insn->imm);
	if (insn->code == (BPF_JMP | BPF_CALL))
		fits = call_fits(insn);
	else
		fits = (!row->src_zero || !insn->src_reg) && (!row->dst_zero || !insn->dst_reg) &&
		       off_fits(row->off, insn->off) && imm_fits(row->imm, insn->imm);
	if (fits)
		return 0;
	return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL, "%s uses reserved fields",
			     row->reserved);
}
