/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions whose meaning is easy to get wrong, with the result written down; and what compiling promises. */
#include <errno.h>
#include <sys/mman.h>

#include "arch/arch.h"
#include "exec/both_engines.h"
#include "exec/fault.h"
#include "sync/reader.h"
#include "test.h"

#define BOTH(insns, r1, want)                                                                      \
	do {                                                                                       \
		for (enum engine engine_ = INTERPRETER; engine_ <= JIT; engine_++) {               \
			u64 r0_ = 0x5a5a;                                                          \
			CHECK_EQ(run_insns(engine_, &env, insns, ARRAY_SIZE(insns), r1, 0, &r0_),  \
				 0);                                                               \
			CHECK_EQ(r0_, want);                                                       \
		}                                                                                  \
	} while (0)

static u64 six_digits(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	return r1 + 10 * r2 + 100 * r3 + 1000 * r4 + 10000 * r5;
}

/* Calls back into the program: a callback is a C function in compiled code. */
static u64 call_back(u64 function, u64 argument, u64 r3, u64 r4, u64 r5)
{
	(void)r3, (void)r4, (void)r5;
	return ((u64(*)(u64, u64))(uintptr_t)function)(argument, 3) + 1;
}

static exec_helper_fn helpers(u32 id)
{
	return id == 1 ? six_digits : id == 2 ? call_back : NULL;
}

static u64 map_memory[4] = {11, 22, 33, 44};

static void *handle_of(void *opaque, u32 index)
{
	return index == 3 ? opaque : NULL;
}

static void *value_of(void *opaque, u32 index, u32 offset)
{
	(void)opaque;
	return index == 3 ? (char *)map_memory + offset : NULL;
}

static const struct exec_env env = {
	.helper = helpers, .map_handle = handle_of, .map_value = value_of, .opaque = map_memory};

#define S64_MIN ((u64)1 << 63)
#define S32_MIN 0x80000000u

static u64 divided(enum engine engine, u8 code, s16 off, u64 left, u64 right)
{
	struct bpf_insn insns[] = {LD_IMM64(2, left), LD_IMM64(3, right),
				   INSN(code | BPF_X, 2, 3, off, 0), MOV_REG(0, 2), EXIT};
	u64 r0 = 0x5a5a;

	CHECK_EQ(run_insns(engine, &env, insns, ARRAY_SIZE(insns), 0, 0, &r0), 0);
	return r0;
}

static void division_has_no_traps(void)
{
	const u8 div64 = BPF_ALU64 | BPF_DIV, mod64 = BPF_ALU64 | BPF_MOD,
		 div32 = BPF_ALU | BPF_DIV, mod32 = BPF_ALU | BPF_MOD;
	const struct {
		u8 code;
		s16 off;
		u64 left, right, want;
	} rows[] = {
		{div64, 0, 7, 0, 0},
		{mod64, 0, 7, 0, 7},
		{div64, 1, 7, 0, 0},
		{mod64, 1, ~6ull, 0, ~6ull},
		{div64, 1, S64_MIN, ~0ull, S64_MIN},
		{mod64, 1, S64_MIN, ~0ull, 0},
		{div64, 1, 5, ~0ull, (u64)-5},
		{div32, 1, 5, 0xffffffff, (u32)-5},
		{mod32, 1, 5, 0xffffffff, 0},
		{div64, 1, (u64)-13, 4, (u64)-3},
		{mod64, 1, (u64)-13, 4, (u64)-1},
		{div64, 0, (u64)-13, 4, (u64)-13 / 4},
		{div32, 0, 0x100000007, 0x200000000, 0},
		{mod32, 0, 0x100000007, 0x200000000, 7},
		{div32, 1, 0xffffffff00000000 | S32_MIN, 0xffffffff, S32_MIN},
		{mod32, 1, S32_MIN, 0xffffffff, 0},
		{div32, 1, (u32)-13, 4, (u32)-3},
		{mod32, 1, (u32)-13, 4, (u32)-1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK_EQ(divided(INTERPRETER, rows[i].code, rows[i].off, rows[i].left,
				 rows[i].right),
			 rows[i].want);
		CHECK_EQ(divided(JIT, rows[i].code, rows[i].off, rows[i].left, rows[i].right),
			 rows[i].want);
	}
}

/* Every pair of registers, since rax, rdx and rcx have parts of their own in division and shifts. */
static void division_and_shifts_work_in_every_register(void)
{
	for (u32 to = 0; to <= 9; to++) {
		for (u32 from = 0; from <= 9; from++) {
			struct bpf_insn insns[] = {MOV_IMM(0, 0),
						   MOV_IMM(1, 1),
						   MOV_IMM(2, 2),
						   MOV_IMM(3, 3),
						   MOV_IMM(4, 4),
						   MOV_IMM(5, 5),
						   MOV_IMM(6, 6),
						   MOV_IMM(7, 7),
						   MOV_IMM(8, 8),
						   MOV_IMM(9, 9),
						   MOV_IMM(to, 1000),
						   MOV_IMM(from, 3),
						   ALU64_REG(BPF_LSH, to, from),
						   ALU64_REG(BPF_DIV, to, from),
						   MOV_REG(0, to),
						   EXIT};
			u64 want = to == from ? (3 << 3) / 24 : (1000 << 3) / 3;

			BOTH(insns, 0, want);
		}
	}
}

static void calls_pass_five_arguments(void)
{
	struct bpf_insn insns[] = {MOV_IMM(1, 1), MOV_IMM(2, 2), MOV_IMM(3, 3), MOV_IMM(4, 4),
				   MOV_IMM(5, 5), CALL(1),	 EXIT};
	struct bpf_insn through_register[] = {MOV_IMM(1, 1),
					      MOV_IMM(2, 2),
					      MOV_IMM(3, 3),
					      MOV_IMM(4, 4),
					      MOV_IMM(5, 5),
					      MOV_IMM(6, 1),
					      INSN(BPF_JMP | BPF_CALL | BPF_X, 6, 0, 0, 0),
					      EXIT};

	BOTH(insns, 0, 54321);
	BOTH(through_register, 0, 54321);
}

/* 5 + 4 + 3 + 2 + 1, each frame keeping r6 and a stack slot of its own. */
static void subprograms_have_their_own_frames(void)
{
	struct bpf_insn insns[] = {MOV_IMM(1, 5), CALL_SUB(1), EXIT,
				   /* sub: */
				   MOV_REG(6, 1), INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 6, -8, 0),
				   MOV_IMM(0, 0), INSN(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 4, 0),
				   ALU64_IMM(BPF_ADD, 1, -1), CALL_SUB(-6),
				   INSN(BPF_LDX | BPF_MEM | BPF_DW, 2, 10, -8, 0),
				   ALU64_REG(BPF_ADD, 0, 2), EXIT};

	BOTH(insns, 0, 15);
}

static void subprograms_can_be_called_back(void)
{
	struct bpf_insn insns[] = {INSN(BPF_LD | BPF_IMM | BPF_DW, 1, INSN_PSEUDO_FUNC, 0, 4),
				   INSN(0, 0, 0, 0, 0), MOV_IMM(2, 30), CALL(2), EXIT,
				   /* callback: */
				   MOV_REG(0, 1), ALU64_REG(BPF_MUL, 0, 2), EXIT};
	/* A callback with a frame, registers and a callback of its own. */
	struct bpf_insn nested[] = {
		MOV_IMM(6, 5), INSN(BPF_LD | BPF_IMM | BPF_DW, 1, INSN_PSEUDO_FUNC, 0, 5),
		INSN(0, 0, 0, 0, 0), MOV_IMM(2, 30), CALL(2), ALU64_REG(BPF_ADD, 0, 6), EXIT,
		/* outer: */
		MOV_REG(6, 1), INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 2, -8, 0),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, INSN_PSEUDO_FUNC, 0, 6), INSN(0, 0, 0, 0, 0),
		MOV_IMM(2, 7), CALL(2), ALU64_REG(BPF_ADD, 0, 6),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0), EXIT,
		/* inner: */
		MOV_IMM(6, 100), INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 1), MOV_REG(0, 1),
		ALU64_REG(BPF_ADD, 0, 6), EXIT};

	BOTH(insns, 0, 91);
	/* inner 107, outer 107 + 1 + 30, main that + 1 + 5 */
	BOTH(nested, 0, 144);
}

/* raw_image_create admits no maps, so the reference is made behind its back. */
static u64 run_with_pseudo(enum engine engine, const struct bpf_insn *insns, u32 count, u8 pseudo)
{
	struct image_header *image;
	u64 r0 = 0;

	CHECK_EQ(raw_image_create(insns, count, &image), 0);
	((u8 *)(uintptr_t)image_insns(image))[1] |= (u8)(pseudo << 4);
	CHECK_EQ(run_image(engine, &env, image, 0, 0, &r0), 0);
	raw_image_free(image);
	return r0;
}

static void maps_are_addresses_of_this_process(void)
{
	struct bpf_insn handle[] = {LD_IMM64(0, 3), EXIT};
	struct bpf_insn value[] = {LD_IMM64(1, 3 | 16ull << 32),
				   INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 1, 8, 0), EXIT};

	for (enum engine engine = INTERPRETER; engine <= JIT; engine++) {
		CHECK_EQ(run_with_pseudo(engine, handle, 3, INSN_PSEUDO_MAP_FD),
			 (uintptr_t)map_memory);
		CHECK_EQ(run_with_pseudo(engine, value, 4, INSN_PSEUDO_MAP_VALUE), 44);
	}
}

/* A guarded load keeps every other register, also when it faults, and extends as it says. */
static void guarded_loads_give_zero_for_bad_pointers(void)
{
	static const s16 half = -2;
	const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	struct bpf_insn insns[] = {MOV_REG(7, 1),
				   MOV_IMM(0, 1),
				   MOV_IMM(2, 2),
				   MOV_IMM(3, 3),
				   MOV_IMM(4, 4),
				   MOV_IMM(5, 5),
				   INSN(BPF_LDX | INSN_MODE_PROBE_MEM | BPF_DW, 6, 1, 0, 0),
				   ALU64_REG(BPF_ADD, 0, 2),
				   ALU64_REG(BPF_ADD, 0, 3),
				   ALU64_REG(BPF_ADD, 0, 4),
				   ALU64_REG(BPF_ADD, 0, 5),
				   ALU64_REG(BPF_ADD, 0, 6),
				   ALU64_REG(BPF_SUB, 7, 1),
				   ALU64_REG(BPF_ADD, 0, 7),
				   EXIT};
	struct bpf_insn sign[] = {INSN(BPF_LDX | INSN_MODE_PROBE_MEMSX | BPF_H, 0, 1, 0, 0), EXIT};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		insns[6].code = BPF_LDX | INSN_MODE_PROBE_MEM | sizes[i];
		BOTH(insns, ptr_to_u64(&map_memory[1]), 15 + 22);
		BOTH(insns, 0, 15);
		BOTH(insns, 0x8000000000000000, 15);
	}
	BOTH(sign, ptr_to_u64(&half), -2);
	BOTH(sign, 16, 0);
}

static void acquire_and_release_move_every_size(void)
{
	const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	const u64 wants[] = {0xf8, 0xf5f8, 0xf3f4f5f8, 0xf0f1f2f3f4f5f8};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct bpf_insn insns[] = {
			LD_IMM64(2, 0xf0f1f2f3f4f5f8),
			INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0),
			INSN(BPF_STX | BPF_ATOMIC | sizes[i], 10, 2, -8, INSN_STORE_RELEASE),
			INSN(BPF_STX | BPF_ATOMIC | sizes[i], 0, 10, -8, INSN_LOAD_ACQUIRE), EXIT};

		BOTH(insns, 0, wants[i]);
	}
}

/* Both outcomes of the 32-bit form clear r0's upper half. */
static void compare_and_exchange_zero_extends(void)
{
	for (s32 stored = 5; stored <= 6; stored++) {
		struct bpf_insn insns[] = {
			LD_IMM64(0, 0xffffffff00000005), MOV_IMM(2, 7),
			INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -8, stored),
			INSN(BPF_STX | BPF_ATOMIC | BPF_W, 10, 2, -8, BPF_CMPXCHG), EXIT};

		BOTH(insns, 0, stored);
	}
}

/* Branches that need both forms, in both directions: 200 instructions of body between. */
static void long_and_short_branches(void)
{
	struct bpf_insn insns[420];
	u32 count = 0;

	insns[count++] = MOV_IMM(0, 0);
	insns[count++] = MOV_IMM(6, 3);
	for (u32 i = 0; i < 400; i++)
		insns[count++] = ALU64_IMM(BPF_ADD, 0, 1);
	insns[count++] = ALU64_IMM(BPF_ADD, 6, -1);
	insns[count++] = INSN(BPF_JMP | BPF_JNE | BPF_K, 6, 0, -402, 0);
	insns[count++] = INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0);
	insns[count++] = INSN(BPF_JMP32 | BPF_JA, 0, 0, 0, 1);
	insns[count++] = MOV_IMM(0, 0);
	insns[count++] = EXIT;
	for (enum engine engine = INTERPRETER; engine <= JIT; engine++) {
		u64 r0 = 0;

		CHECK_EQ(run_insns(engine, &env, insns, count, 0, 0, &r0), 0);
		CHECK_EQ(r0, 1200);
	}
}

/* All may_gotos of a frame share one budget; each frame has its own, callbacks too. */
static void may_goto_jumps_when_the_budget_is_used(void)
{
	const u8 may_goto = BPF_JMP | INSN_JCOND;
	struct bpf_insn loop[] = {MOV_IMM(0, 0),
				  INSN(may_goto, 0, 0, 2, 0),
				  ALU64_IMM(BPF_ADD, 0, 1),
				  INSN(BPF_JMP | BPF_JA, 0, 0, -3, 0),
				  INSN(may_goto, 0, 0, 1, 0),
				  ALU64_IMM(BPF_ADD, 0, 1000),
				  EXIT};
	struct bpf_insn frames[] = {INSN(may_goto, 0, 0, -1, 0),
				    INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 7),
				    CALL_SUB(5),
				    INSN(may_goto, 0, 0, 1, 0),
				    ALU64_IMM(BPF_ADD, 0, 1),
				    INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0),
				    ALU64_REG(BPF_ADD, 0, 1),
				    EXIT,
				    MOV_IMM(0, 0),
				    INSN(may_goto, 0, 0, 2, 0),
				    ALU64_IMM(BPF_ADD, 0, 1),
				    INSN(BPF_JMP | BPF_JA, 0, 0, -3, 0),
				    EXIT};

	BOTH(loop, 0, INSN_MAY_GOTO_LIMIT);
	BOTH(frames, 0, INSN_MAY_GOTO_LIMIT + 1 + 7);
}

/* A jump over a move: the move's 64 or 32 bits, of a register or a constant, only where it is not jumped over. */
static void a_jump_over_a_move_chooses(void)
{
	const u64 old = 0x1111222233334444, new = 0xaaaabbbbccccdddd;
	const struct {
		struct bpf_insn move;
		u64 moved;
	} rows[] = {
		{MOV_REG(0, 3), new},	   {INSN(BPF_ALU | BPF_MOV | BPF_X, 0, 3, 0, 0), (u32) new},
		{MOV_IMM(0, -5), (u64)-5}, {INSN(BPF_ALU | BPF_MOV | BPF_K, 0, 0, 0, -5), (u32)-5},
		{MOV_IMM(0, 0), 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bpf_insn insns[] = {LD_IMM64(0, old), LD_IMM64(3, new),
					   INSN(BPF_JMP | BPF_JSGT | BPF_K, 1, 0, 1, 0),
					   rows[i].move, EXIT};

		BOTH(insns, 1, old);
		BOTH(insns, 0, rows[i].moved);
		BOTH(insns, (u64)-1, rows[i].moved);
	}
}

/* Addresses that a loop loads again and again, near each other and not; beside calls and divisions, and in subprograms. */
static void loops_load_their_constants(void)
{
	static u64 words[2][4] = {{1, 2, 3, 4}, {10, 20, 30, 40}};
	struct bpf_insn sum[] = {
		MOV_IMM(0, 0),
		MOV_IMM(6, 3),
		LD_IMM64(2, ptr_to_u64(words[0])),
		MOV_REG(3, 6),
		ALU64_IMM(BPF_LSH, 3, 3),
		ALU64_REG(BPF_ADD, 2, 3),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 2, 2, 0, 0),
		ALU64_REG(BPF_ADD, 0, 2),
		LD_IMM64(4, ptr_to_u64(words[1])),
		ALU64_IMM(BPF_ADD, 4, 8),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 5, 4, -8, 0),
		ALU64_REG(BPF_ADD, 0, 5),
		LD_IMM64(5, 0x1000000000000),
		ALU64_REG(BPF_ADD, 0, 5),
		MOV_IMM(7, 1), /* or something of the rows below */
		ALU64_IMM(BPF_SUB, 6, 1),
		INSN(BPF_JMP | BPF_JSGE | BPF_K, 6, 0, -18, 0),
		ALU64_REG(BPF_SUB, 4, 1),
		ALU64_REG(BPF_ADD, 0, 4),
		EXIT,
	};
	const struct bpf_insn others[] = {MOV_IMM(7, 1), ALU64_IMM(BPF_DIV, 0, 1), CALL_SUB(5)};
	struct bpf_insn with_sub[ARRAY_SIZE(sum) + 1];

	for (size_t i = 0; i < 2; i++) {
		sum[17] = others[i];
		BOTH(sum, ptr_to_u64(words[1]), 8 + 10 + 40 + 0x4000000000000);
	}
	sum[17] = others[2];
	memcpy(with_sub, sum, sizeof(sum));
	with_sub[ARRAY_SIZE(sum)] = EXIT;
	BOTH(with_sub, ptr_to_u64(words[1]), 8 + 10 + 40 + 0x4000000000000);
}

#define SECRET 0x13572468

/* What a program says is not in its code, and means the same: in every kind of instruction that has a constant. */
static void blinded_constants_are_not_in_the_code(void)
{
	struct bpf_insn insns[] = {MOV_IMM(0, SECRET),
				   LD_IMM64(1, 0x1122334455667788),
				   ALU64_IMM(BPF_XOR, 0, ~SECRET),
				   ALU64_IMM(BPF_ADD, 0, 1),
				   INSN(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 7, 0),
				   INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, SECRET),
				   INSN(BPF_LDX | BPF_MEM | BPF_DW, 2, 10, -8, 0),
				   INSN(BPF_JMP32 | BPF_JEQ | BPF_K, 2, 0, 1, SECRET),
				   EXIT,
				   ALU64_IMM(BPF_DIV, 2, SECRET),
				   ALU64_REG(BPF_ADD, 0, 1),
				   ALU64_REG(BPF_ADD, 0, 2),
				   EXIT};
	struct image_header *image;
	u64 wide = 0x1122334455667788;

	BOTH(insns, 0, wide + 1);
	if (!arch_host()->jit.blinds)
		SKIP("this processor's JIT blinds nothing");
	for (int blinded = 0; blinded < 2; blinded++) {
		const s32 secret = SECRET;
		struct exec_code *code;

		CHECK_EQ(raw_image_create(insns, ARRAY_SIZE(insns), &image), 0);
		if (blinded)
			image->facts |= IMAGE_FACT_BLIND;
		CHECK_EQ(exec_compile(image, &env, 0, false, &code), 0);
		CHECK_EQ(code->entry(0, 0), wide + 1);
		CHECK_EQ(!memmem(code->text, code->size, &secret, sizeof(secret)), blinded);
		CHECK_EQ(!memmem(code->text, code->size, &wide, sizeof(wide)), blinded);
		exec_free(code);
		raw_image_free(image);
	}
}

static void malformed_programs_are_refused(void)
{
	struct bpf_insn falls_off[] = {MOV_IMM(0, 0)};
	struct bpf_insn jumps_out[] = {INSN(BPF_JMP | BPF_JA, 0, 0, 5, 0), EXIT};
	struct bpf_insn into_constant[] = {INSN(BPF_JMP | BPF_JA, 0, 0, 1, 0), LD_IMM64(0, 1),
					   EXIT};
	struct bpf_insn no_helper[] = {CALL(99), EXIT};
	struct bpf_insn no_opcode[] = {INSN(BPF_ALU64 | 0xe0, 0, 0, 0, 0), EXIT};
	struct bpf_insn no_atomic[] = {INSN(BPF_STX | BPF_ATOMIC | BPF_H, 10, 0, -8, BPF_ADD),
				       EXIT};
	u64 r0;

	CHECK_EQ(run_insns(JIT, &env, falls_off, 1, 0, 0, &r0), -EINVAL);
	CHECK_EQ(run_insns(JIT, &env, jumps_out, 2, 0, 0, &r0), -EINVAL);
	CHECK_EQ(run_insns(JIT, &env, into_constant, 4, 0, 0, &r0), -EINVAL);
	CHECK_EQ(run_insns(JIT, &env, no_helper, 2, 0, 0, &r0), -EOPNOTSUPP);
	CHECK_EQ(run_insns(JIT, &env, no_opcode, 2, 0, 0, &r0), -EOPNOTSUPP);
	CHECK_EQ(run_insns(JIT, &env, no_atomic, 2, 0, 0, &r0), -EOPNOTSUPP);
	CHECK_EQ(run_insns(JIT, &env, no_helper, 0, 0, 0, &r0), -EINVAL);
}

#if defined(__aarch64__)
#define EMPTY_SIZE     12 /* mov w7, #0; mov x0, x7; ret */
#define EMPTY_EXIT     4
#define EMPTY_CLOBBERS (1 << 7 | 1 << 0)
#else
#define EMPTY_SIZE     3 /* xor eax, eax; ret */
#define EMPTY_EXIT     2
#define EMPTY_CLOBBERS 1
#endif

static void an_empty_program_is_as_short_as_can_be(void)
{
	struct bpf_insn insns[] = {MOV_IMM(0, 0), EXIT};
	struct image_header *image;
	struct exec_code *code;
	u64 near = (u64)(uintptr_t)six_digits;

	CHECK_EQ(raw_image_create(insns, 2, &image), 0);
	CHECK_EQ(exec_compile(image, &env, near, true, &code), 0);
	CHECK_EQ(code->size, EMPTY_SIZE);
	CHECK_EQ(code->clobbers, EMPTY_CLOBBERS);
	CHECK(code->insn_offsets && code->insn_offsets[0] == 0);
	CHECK_EQ(code->insn_offsets[1], EMPTY_EXIT);
	CHECK((s64)(ptr_to_u64(code->text) - near) == (s32)(ptr_to_u64(code->text) - near));
	exec_free(code);
	CHECK_EQ(exec_compile(image, &env, 0xffffffff81000000, false, &code), -ERANGE);
	raw_image_free(image);
}

static void no_mapping_is_writable_and_executable(void)
{
	struct bpf_insn insns[] = {MOV_IMM(1, 1), CALL(1), EXIT};
	struct image_header *image;
	struct exec_code *code;
	char line[512];
	int bad = 0, executable = 0;
	FILE *maps;

	CHECK_EQ(raw_image_create(insns, ARRAY_SIZE(insns), &image), 0);
	CHECK_EQ(exec_compile(image, &env, 0, false, &code), 0);
	maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps)) {
		const char *perms = strchr(line, ' ') + 1;

		bad += perms[1] == 'w' && perms[2] == 'x';
		executable += strstr(line, "inlay-text") && perms[2] == 'x';
	}
	fclose(maps);
	CHECK_EQ(bad, 0);
	CHECK_EQ(executable, 1);
	exec_free(code);
	raw_image_free(image);
}

int main(void)
{
	CHECK_EQ(reader_init(), 0);
	CHECK_EQ(fault_init(), 0);
	RUN(division_has_no_traps);
	RUN(division_and_shifts_work_in_every_register);
	RUN(calls_pass_five_arguments);
	RUN(subprograms_have_their_own_frames);
	RUN(subprograms_can_be_called_back);
	RUN(maps_are_addresses_of_this_process);
	RUN(guarded_loads_give_zero_for_bad_pointers);
	RUN(acquire_and_release_move_every_size);
	RUN(compare_and_exchange_zero_extends);
	RUN(long_and_short_branches);
	RUN(may_goto_jumps_when_the_budget_is_used);
	RUN(a_jump_over_a_move_chooses);
	RUN(loops_load_their_constants);
	RUN(blinded_constants_are_not_in_the_code);
	RUN(malformed_programs_are_refused);
	RUN(an_empty_program_is_as_short_as_can_be);
	RUN(no_mapping_is_writable_and_executable);
	return test_done();
}
