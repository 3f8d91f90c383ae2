/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random programs near the border of acceptance: r6 context, r7 a value of the map, numbers and the stack; half of them with some of
 * the packet (XDP then), reservations in a ring buffer, atomics and bpf_loop. For one thread.
 */
#ifndef INLAY_TESTS_UNIT_VERIFY_GENERATE_H
#define INLAY_TESTS_UNIT_VERIFY_GENERATE_H

#include <linux/bpf.h>

#include <linux/btf.h>

#include "base/types.h"

#define MAX_INSNS  320
#define VALUE_SIZE 48

/* The program made last, and what it was made from. */
static struct bpf_insn program[MAX_INSNS];
static u32 length;
static u64 seed = 1;
static int map_fd, ring_fd;

enum feature {
	FEATURE_PACKET = 1,
	FEATURE_RESERVE = 2,
	FEATURE_ATOMIC = 4,
	FEATURE_LOOP = 8,
	FEATURE_ALL = 15,
};

/* Of the program made last, and which it may have. */
static u32 features, features_allowed = FEATURE_ALL;
static struct bpf_func_info functions[3];
static u32 function_cnt;

/* `static int f()`: the type of every function. */
#define FUNCTION_TYPE 3
static const struct {
	struct btf_header header;
	struct btf_type number;
	u32 bits;
	struct btf_type prototype, function;
	char strings[8];
} function_types = {
	.header = {.magic = BTF_MAGIC,
		   .version = BTF_VERSION,
		   .hdr_len = sizeof(struct btf_header),
		   .type_len = 3 * sizeof(struct btf_type) + sizeof(u32),
		   .str_off = 3 * sizeof(struct btf_type) + sizeof(u32),
		   .str_len = sizeof(function_types.strings)},
	.number = {.name_off = 1, .info = BTF_KIND_INT << 24, .size = 4},
	.bits = BTF_INT_SIGNED << 24 | 32,
	.prototype = {.info = BTF_KIND_FUNC_PROTO << 24, .type = 1},
	.function = {.name_off = 5, .info = BTF_KIND_FUNC << 24, .type = 2},
	.strings = "\0int\0f",
};

static u32 program_type(void)
{
	return features & FEATURE_PACKET ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SOCKET_FILTER;
}

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

/* Numbers that a program may be given: borders as often as anything. */
static u64 number_in(void)
{
	u64 any = (u64)pick(UINT32_MAX) << 32;

	any |= pick(UINT32_MAX);
	switch (pick(4)) {
	case 0:
		return any;
	case 1:
		return (u64)(s64)interesting();
	case 2:
		return any >> pick(64);
	default:
		return (u64)pick(64);
	}
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

/* What a call of a helper leaves unwritten. */
static void emit_numbers(void)
{
	for (u8 reg = 0; reg < 4; reg++)
		emit(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, interesting());
}

static u8 bounded(void)
{
	u8 reg = pick(2) ? 8 : 9;

	emit(BPF_ALU64 | BPF_AND | BPF_K, reg, 0, 0, (s32)pick(4) * 8 + 7);
	return reg;
}

/* Through r4, a pointer to about this many bytes. */
static void emit_access(u32 bytes)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	u8 size = sizes[pick(4)];
	s16 off = (s16)(pick(8) ? pick(bytes) : pick(bytes + 12));

	if (pick(2))
		emit(BPF_LDX | BPF_MEM | size, pick(2) ? 8 : 9, 4, off, 0);
	else
		emit(BPF_STX | BPF_MEM | size, 4, pick(2) ? 8 : 9, off, 0);
}

/* r4 into the packet, r3 behind what is looked at, r5 its end. */
static void emit_packet(void)
{
	static const u8 ops[] = {BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE};
	u32 bytes = 1 + pick(40), at;
	bool swapped = pick(3) == 0;

	emit(BPF_LDX | BPF_MEM | BPF_W, 4, 6, 0, 0);
	emit(BPF_LDX | BPF_MEM | BPF_W, 5, 6, 4, 0);
	if (!pick(3))
		emit(BPF_ALU64 | BPF_ADD | BPF_X, 4, pick(4) ? bounded() : number(), 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 3, 4, 0, 0);
	emit(BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, (s32)bytes);
	at = length;
	emit((u8)(BPF_JMP | ops[pick(4)] | BPF_X), swapped ? 5 : 3, swapped ? 3 : 5, 0, 0);
	for (u32 i = 0; i <= pick(3); i++)
		emit_access(bytes);
	program[at].off = (s16)(pick(8) ? length - at - 1 : pick(4));
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, interesting());
}

/* A reservation in the ring buffer, written, and released on most paths. */
static void emit_reserve(void)
{
	u32 bytes = 8 * (1 + pick(6)), at;

	emit(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, ring_fd);
	emit(0, 0, 0, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, (s32)bytes);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0);
	emit(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_reserve);
	at = length;
	if (pick(12))
		emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 4, 0, 0, 0);
	if (!pick(4))
		emit(BPF_ALU64 | BPF_ADD | BPF_X, 4, bounded(), 0, 0);
	for (u32 i = 0; i <= pick(2); i++)
		emit_access(bytes);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 1, pick(16) ? 0 : 4, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0);
	if (pick(16))
		emit(BPF_JMP | BPF_CALL, 0, 0, 0,
		     pick(2) ? BPF_FUNC_ringbuf_submit : BPF_FUNC_ringbuf_discard);
	if ((program[at].code == (BPF_JMP | BPF_JEQ | BPF_K)))
		program[at].off = (s16)(length - at - 1);
	emit_numbers();
}

static void emit_atomic(void)
{
	static const s32 ops[] = {
		BPF_ADD,  BPF_AND,    BPF_OR, BPF_XOR, BPF_ADD | BPF_FETCH, BPF_XOR | BPF_FETCH,
		BPF_XCHG, BPF_CMPXCHG};
	bool stack = pick(2), word = pick(2);
	s16 off = (s16)(stack ? -8 - 8 * (s32)pick(3) : 4 * (s32)pick(13));

	emit(BPF_STX | BPF_ATOMIC | (word ? BPF_W : BPF_DW), stack ? 10 : 7, number(), off,
	     ops[pick(8)]);
}

static u32 loops[2], loop_cnt;

/* bpf_loop over a callback that gets a pointer to the stack. */
static void emit_loop(void)
{
	if (loop_cnt == 2)
		return;
	if (pick(2))
		emit(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, (s32)pick(20));
	else
		emit(BPF_ALU64 | BPF_MOV | BPF_X, 1, pick(2) ? 8 : 9, 0, 0);
	loops[loop_cnt++] = length;
	emit(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 0);
	emit(0, 0, 0, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 3, pick(8) ? 10 : 8, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0);
	emit(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_loop);
	emit_numbers();
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

static void begin_function(void)
{
	functions[function_cnt++] =
		(struct bpf_func_info){.insn_off = length, .type_id = FUNCTION_TYPE};
}

/* f(number, number, pointer) or, as a callback, f(number, pointer), which gives 0 or 1. */
static void emit_function(bool callback)
{
	u32 steps = 3 + pick(8);

	begin_function();
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 6, callback ? 2 : 3, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 8, 1, 0, 0);
	emit(BPF_ALU64 | BPF_MOV | BPF_X, 9, callback ? 1 : 2, 0, 0);
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
	if (callback && pick(16))
		emit(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 1);
	emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void emit_functions(void)
{
	for (u32 i = 0; i < call_cnt; i++)
		program[calls[i]].imm = (s32)(length - calls[i] - 1);
	if (call_cnt)
		emit_function(false);
	for (u32 i = 0; i < loop_cnt; i++)
		program[loops[i]].imm = (s32)(length - loops[i] - 1);
	if (loop_cnt)
		emit_function(true);
}

static void emit_prologue(void)
{
	begin_function();
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
	/* skb->len, xdp->ingress_ifindex */
	emit(BPF_LDX | BPF_MEM | BPF_W, 9, 6, features & FEATURE_PACKET ? 12 : 0, 0);
	emit_numbers();
}

/* One of the program's features; what it has not, plain arithmetic stands for. */
static void emit_feature(void)
{
	u32 feature = 1u << pick(4);

	switch (features & feature) {
	case FEATURE_PACKET:
		emit_packet();
		break;
	case FEATURE_RESERVE:
		emit_reserve();
		break;
	case FEATURE_ATOMIC:
		emit_atomic();
		break;
	case FEATURE_LOOP:
		emit_loop();
		break;
	default:
		emit_alu();
		break;
	}
}

static void generate(void)
{
	u32 body;

	length = call_cnt = loop_cnt = function_cnt = 0;
	features = pick(2) ? 0 : pick(FEATURE_ALL + 1) & features_allowed;
	emit_prologue();
	body = length + 8 + pick(28);
	while (length < body) {
		switch (pick(features ? 12 : 9)) {
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
		case 9:
		case 10:
		case 11:
			emit_feature();
			break;
		default:
			emit_value();
			break;
		}
	}
	for (int i = 0; i < 4; i++)
		emit(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	emit_functions();
}

#endif
