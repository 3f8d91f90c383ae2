/* SPDX-License-Identifier: BSD-2-Clause */
/* Random programs near the border of acceptance: r6 context, r7 a value of the map, numbers and the stack. For one thread. */
#ifndef INLAY_TESTS_UNIT_VERIFY_GENERATE_H
#define INLAY_TESTS_UNIT_VERIFY_GENERATE_H

#include <linux/bpf.h>

#include "base/types.h"

#define MAX_INSNS  160
#define VALUE_SIZE 48

/* The program made last, and what it was made from. */
static struct bpf_insn program[MAX_INSNS];
static u32 length;
static u64 seed = 1;
static int map_fd;

static u32 pick(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 20) % below;
}

static void emit(u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	program[length++] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 15u, .src_reg = src & 15u, .off = off, .imm = imm};
}

static s32 interesting(void)
{
	static const s32 values[] = {0,	 1,   2,  3,  4,  7,	      8,	 15,
				     16, 31,  32, 40, 44, 47,	      48,	 63,
				     64, 255, -1, -2, -8, 0x7fffffff, INT32_MIN, 0x10000};

	return values[pick(sizeof(values) / sizeof(*values))];
}

/* r6: context, r7: map value, r8, r9, r0 ... r5: numbers. */
static u8 number(void)
{
	static const u8 regs[] = {0, 1, 2, 3, 8, 9};

	return regs[pick(6)];
}

static void emit_alu(void)
{
	static const u8 ops[] = {BPF_ADD, BPF_SUB,  BPF_MUL, BPF_AND, BPF_OR,  BPF_XOR, BPF_LSH,
				 BPF_RSH, BPF_ARSH, BPF_MOV, BPF_NEG, BPF_DIV, BPF_MOD};
	u8 op = ops[pick(13)], class = pick(3) ? BPF_ALU64 : BPF_ALU;
	bool shift = op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;

	if (op == BPF_NEG)
		emit(class | op, number(), 0, 0, 0);
	else if (pick(2))
		emit(class | op | BPF_X, number(), number(),
		     (s16)(op == BPF_MOV && !pick(4) ? 8u << pick(2) : 0), 0);
	else
		emit(class | op | BPF_K, number(), 0, 0,
		     shift				? (s32)pick(class == BPF_ALU ? 32 : 64)
		     : (op == BPF_DIV || op == BPF_MOD) ? 7
							: interesting());
}

static void emit_jump(void)
{
	static const u8 ops[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,	 BPF_JLT, BPF_JLE,
				 BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};
	u8 class = pick(3) ? BPF_JMP : BPF_JMP32, op = ops[pick(11)];
	s16 off = (s16)pick(4);

	if (!pick(24) && length > 20)
		off = (s16) - (1 + (s32)pick(5));
	if (pick(3))
		emit(class | op | BPF_K, number(), 0, off, interesting());
	else
		emit(class | op | BPF_X, number(), number(), off, 0);
}

static void emit_stack(void)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	u32 kind = pick(4);
	u8 size = sizes[kind];
	s16 off = (s16)(-8 - 8 * (s32)pick(3) + (pick(3) ? 0 : (s32)(pick(8) >> kind << kind)));

	switch (pick(4)) {
	case 0:
		emit(BPF_ST | BPF_MEM | size, 10, 0, off, interesting());
		break;
	case 1:
		emit(BPF_STX | BPF_MEM | size, 10, pick(5) ? number() : 7, off, 0);
		break;
	default:
		emit(BPF_LDX | BPF_MEM | size, pick(6) ? number() : 7, 10, off, 0);
		break;
	}
}

static void emit_value(void)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	u8 size = sizes[pick(4)];
	s16 off = (s16)(pick(4) ? 0 : pick(50));

	switch (pick(4)) {
	case 0:
		emit(BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
		emit(BPF_ALU64 | (pick(4) ? BPF_ADD : BPF_SUB) | BPF_X, 4, number(), 0, 0);
		emit(BPF_LDX | BPF_MEM | size, number(), 4, off, 0);
		break;
	case 1:
		emit(BPF_STX | BPF_MEM | size, 7, number(), off, 0);
		break;
	case 2:
		emit(BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0);
		emit(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -16);
		emit(BPF_ALU64 | BPF_ADD | BPF_X, 4, number(), 0, 0);
		emit(BPF_ST | BPF_MEM | BPF_B, 4, 0, 0, 1);
		break;
	default:
		emit(BPF_LDX | BPF_MEM | size, number(), 7, off, 0);
		break;
	}
}

static u32 calls[4], call_cnt;

/* r0 = f(number, number, stack); the argument registers are written again. */
static void emit_call(void)
{
	if (call_cnt == 4)
		return;
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 1, pick(2) ? 8 : 9, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 2, number(), 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0);
	calls[call_cnt++] = length;
	emit(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
	for (u8 reg = 1; reg < 4; reg++)
		emit(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, interesting());
}

static void emit_function(void)
{
	u32 start = length, steps = 3 + pick(8);

	for (u32 i = 0; i < call_cnt; i++)
		program[calls[i]].imm = (s32)(start - calls[i] - 1);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 6, 3, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 8, 1, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 9, 2, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, interesting());
	while (steps--) {
		if (!pick(4))
			emit(BPF_LDX | BPF_MEM | BPF_DW, number(), 6, -8, 0);
		else if (!pick(3))
			emit(BPF_STX | BPF_MEM | BPF_DW, 6, number(), pick(2) ? -8 : -16, 0);
		else if (pick(2))
			emit_jump();
		else
			emit_alu();
	}
	for (int i = 0; i < 4; i++)
		emit(BPF_ALU64 | BPF_MOV | BPF_X, 0, number(), 0, 0);
	emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void emit_prologue(void)
{
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	emit(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	emit(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8);
	emit(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map_fd);
	emit(0, 0, 0, 0, 0);
	emit(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	emit(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 1, 0);
	emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 7, 0, 0, 0);
	emit(BPF_LDX | BPF_MEM | BPF_DW, 8, 7, 0, 0);
	emit(BPF_LDX | BPF_MEM | BPF_W, 9, 6, 0, 0);
	for (u8 reg = 0; reg < 4; reg++)
		emit(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, interesting());
}

static void generate(void)
{
	u32 body;

	length = call_cnt = 0;
	emit_prologue();
	body = length + 8 + pick(28);
	while (length < body) {
		switch (pick(9)) {
		case 8:
			emit_call();
			break;
		case 0:
		case 1:
		case 2:
			emit_alu();
			break;
		case 3:
		case 4:
			emit_jump();
			break;
		case 5:
			emit_stack();
			break;
		default:
			emit_value();
			break;
		}
	}
	for (int i = 0; i < 4; i++)
		emit(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (call_cnt)
		emit_function();
}

#endif
