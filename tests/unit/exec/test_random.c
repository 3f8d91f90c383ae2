/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random programs, interpreter against compiled code: results must agree, and the code must keep every register that it does
 * not say it changes. INLAY_SEED picks the first program, INLAY_PROGRAMS how many.
 */
#include <stdlib.h>

#include "base/text.h"
#include "exec/both_engines.h"
#include "test.h"

#define BODY	 120
#define SLOTS	 8
#define CAPACITY 1024

struct generator {
	u64 state;
	struct bpf_insn insns[CAPACITY];
	u32 count;
	u32 starts[CAPACITY]; /* slots where an instruction begins, in the function at hand */
	u32 start_count;
};

static u64 next(struct generator *g)
{
	g->state ^= g->state << 13;
	g->state ^= g->state >> 7;
	g->state ^= g->state << 17;
	return g->state;
}

static u32 below(struct generator *g, u32 limit)
{
	return (u32)((next(g) >> 20) % limit);
}

/* Values where arithmetic has its corners come more often than chance would bring them. */
static u64 value(struct generator *g)
{
	static const u64 corners[] = {0,	   1,
				      2,	   ~0ull,
				      63,	   64,
				      31,	   32,
				      0x7fffffff,  0x80000000,
				      0xffffffff,  1ull << 63,
				      ~0ull >> 1,  0xffffffff80000000,
				      0x100000000, 0xff,
				      0x8000};

	return below(g, 2) ? corners[below(g, ARRAY_SIZE(corners))] : next(g);
}

static u8 reg(struct generator *g)
{
	return (u8)below(g, 10);
}

static void put(struct generator *g, struct bpf_insn insn)
{
	g->starts[g->start_count++] = g->count;
	g->insns[g->count++] = insn;
}

/* Behind another instruction that it needs: no jump may come between. */
static void put_behind(struct generator *g, struct bpf_insn insn)
{
	g->insns[g->count++] = insn;
}

static void put_constant(struct generator *g, u8 to, u64 number)
{
	struct bpf_insn pair[] = {LD_IMM64(to, number)};

	put(g, pair[0]);
	g->insns[g->count++] = pair[1];
}

static void put_alu(struct generator *g)
{
	static const u8 ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND,	BPF_LSH,
				 BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH, BPF_END};
	u8 op = ops[below(g, ARRAY_SIZE(ops))], class = below(g, 2) ? BPF_ALU64 : BPF_ALU;
	u8 source = below(g, 2) ? BPF_X : BPF_K;
	s16 off = 0;
	s32 imm = source == BPF_K ? (s32)value(g) : 0;

	if (op == BPF_END) {
		if (class == BPF_ALU64)
			source = BPF_K;
		imm = 16 << below(g, 3);
	} else if (op == BPF_NEG) {
		source = BPF_K;
		imm = 0;
	} else if (op == BPF_DIV || op == BPF_MOD) {
		off = (s16)below(g, 2);
	} else if (op == BPF_MOV && source == BPF_X && below(g, 2)) {
		off = (s16)(8 << below(g, class == BPF_ALU64 ? 3 : 2));
	} else if (source == BPF_K && (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)) {
		imm &= class == BPF_ALU64 ? 63 : 31;
	}
	put(g, INSN(class | op | source, reg(g), source == BPF_X && op != BPF_END ? reg(g) : 0, off,
		    imm));
}

/* An offset within the slots for an access of size bytes, aligned to it. */
static s16 place(struct generator *g, u32 size)
{
	return (s16)(-(s32)(below(g, SLOTS * 8 / size) + 1) * (s32)size);
}

static void put_memory(struct generator *g)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	u32 which = below(g, 4), size = 1u << which;
	u8 code = sizes[which];
	u8 mode = below(g, 3) ? BPF_MEM : INSN_MODE_MEMSX;

	if (size == 8)
		mode = BPF_MEM;
	switch (below(g, 3)) {
	case 0:
		put(g, INSN(BPF_LDX | mode | code, reg(g), 10, place(g, size), 0));
		break;
	case 1:
		put(g, INSN(BPF_ST | BPF_MEM | code, 10, 0, place(g, size), (s32)value(g)));
		break;
	default:
		put(g, INSN(BPF_STX | BPF_MEM | code, 10, reg(g), place(g, size), 0));
		break;
	}
}

static void put_atomic(struct generator *g)
{
	static const s32 ops[] = {BPF_ADD,  BPF_ADD | BPF_FETCH, BPF_AND, BPF_AND | BPF_FETCH,
				  BPF_OR,   BPF_OR | BPF_FETCH,	 BPF_XOR, BPF_XOR | BPF_FETCH,
				  BPF_XCHG, BPF_CMPXCHG};
	u32 size = below(g, 2) ? 8 : 4;
	s32 op = ops[below(g, ARRAY_SIZE(ops))];
	u8 code = BPF_STX | BPF_ATOMIC | (size == 8 ? BPF_DW : BPF_W);
	s16 off = place(g, size);
	u8 base = reg(g), operand = reg(g);

	/* Through any register as base, which then must not keep an address: engines have different stacks. */
	if (base == operand || (op == BPF_CMPXCHG && base == 0))
		base = 10;
	if (base == 10) {
		put(g, INSN(code, 10, operand, off, op));
	} else {
		put(g, MOV_REG(base, 10));
		put_behind(g, INSN(code, base, operand, off, op));
		put_behind(g, MOV_IMM(base, (s32)value(g)));
	}
	/* cmpxchg with an operand of r0 and so on is fine; one that matches needs luck, so help it. */
	if (op == BPF_CMPXCHG && below(g, 2)) {
		put(g, INSN(BPF_LDX | BPF_MEM | (size == 8 ? BPF_DW : BPF_W), 0, 10, off, 0));
		put(g, INSN(code, 10, operand, off, op));
	}
}

/* Forward only, so that every program ends; where to is decided when the function is complete. */
/* Sequences that the JIT has one instruction for, and near misses; jumps may go into the middle of those without addresses. */
static void put_sum(struct generator *g)
{
	u8 to = reg(g), from = reg(g);

	if (below(g, 4))
		put(g, MOV_REG(to, from));
	if (below(g, 3))
		put(g, ALU64_IMM(BPF_ADD, to, (s32)value(g)));
	if (below(g, 3))
		put(g, ALU64_REG(BPF_ADD, to, reg(g)));
	if (below(g, 2))
		put(g, ALU64_IMM(BPF_ADD, to, (s32)below(g, 300) - 150));
}

static void put_access(struct generator *g)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	u8 to = reg(g), index = (u8)((to + 1 + below(g, 9)) % 10), other = reg(g);
	u8 code = BPF_MEM | sizes[below(g, 4)];

	put(g, MOV_IMM(index, (s32)below(g, SLOTS / 2) * 8));
	put_behind(g, MOV_REG(to, 10));
	if (below(g, 3)) {
		put_behind(g, ALU64_IMM(BPF_ADD, to, -8 * SLOTS));
		if (below(g, 2))
			put_behind(g, ALU64_REG(BPF_ADD, to, index));
	} else {
		put_behind(g, ALU64_IMM(BPF_ADD, to, -16));
	}
	switch (below(g, 3)) {
	case 0:
		put_behind(g, INSN(BPF_LDX | code, below(g, 2) ? to : other, to, 0, 0));
		break;
	case 1:
		put_behind(g, INSN(BPF_ST | code, to, 0, below(g, 2) ? 8 : 0, (s32)value(g)));
		break;
	default:
		if (other != to)
			put_behind(g, INSN(BPF_STX | code, to, other, 0, 0));
		break;
	}
	put_behind(g, MOV_IMM(to, (s32)value(g)));
}

static void put_rotate(struct generator *g)
{
	u8 a = reg(g), b = reg(g), to = below(g, 2) ? b : reg(g),
	   op = below(g, 2) ? BPF_LSH : BPF_RSH;
	s32 left = 1 + (s32)below(g, 63), right = below(g, 8) ? 64 - left : 1 + (s32)below(g, 63);

	put(g, MOV_REG(a, b));
	put(g, ALU64_IMM(op, a, left));
	if (to != b)
		put(g, MOV_REG(to, b));
	put(g, ALU64_IMM(op == BPF_LSH ? BPF_RSH : BPF_LSH, to, right));
	put(g, ALU64_REG(BPF_OR, to, a));
	if (below(g, 3))
		put(g, MOV_IMM(a, (s32)value(g)));
}

static void put_update(struct generator *g)
{
	static const u8 ops[] = {BPF_ADD, BPF_SUB, BPF_OR, BPF_AND, BPF_XOR, BPF_MUL};
	u32 size = below(g, 2) ? 8 : 4;
	u8 code = BPF_MEM | (size == 8 ? BPF_DW : BPF_W), value_reg = reg(g);
	u8 op = ops[below(g, 6)], class = size == 8 ? BPF_ALU64 : BPF_ALU;
	s16 off = place(g, size);

	put(g, INSN(BPF_LDX | code, value_reg, 10, off, 0));
	if (below(g, 2))
		put(g, INSN(class | op | BPF_K, value_reg, 0, 0, (s32)value(g)));
	else
		put(g, INSN(class | op | BPF_X, value_reg, reg(g), 0, 0));
	put(g, INSN(BPF_STX | code, 10, value_reg, off, 0));
	if (below(g, 3))
		put(g, MOV_IMM(value_reg, (s32)value(g)));
}

static const u64 table[SLOTS] = {0x8796a5b4c3d2e1f0, 0x1122334455667788, 0xfedcba9876543210,
				 0x0f1e2d3c4b5a6978, 0xa0b1c2d3e4f50617, 0x1928374655647382,
				 0x9182736450f0e1d2, 0x7fffffff80000001};

/* An array's element: on the stack, or in a table that is only read. */
static void put_element(struct generator *g)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	u8 to = reg(g), x = (u8)((to + 1 + below(g, 9)) % 10), other = reg(g);
	u8 code = BPF_MEM | sizes[below(g, 4)];
	bool constant = below(g, 2);

	put(g, MOV_IMM(x, (s32)below(g, SLOTS / 2)));
	put_behind(g, ALU64_IMM(BPF_LSH, x, 1 + (s32)below(g, 3)));
	if (constant) {
		struct bpf_insn pair[] = {LD_IMM64(to, (uintptr_t)table)};

		put_behind(g, pair[0]);
		put_behind(g, pair[1]);
	} else {
		put_behind(g, MOV_REG(to, 10));
		put_behind(g, ALU64_IMM(BPF_ADD, to, -8 * SLOTS));
	}
	put_behind(g, ALU64_REG(BPF_ADD, to, x));
	if (constant || below(g, 2))
		put_behind(g, INSN(BPF_LDX | code, below(g, 2) ? x : other, to, 8, 0));
	else if (other != to)
		put_behind(g, INSN(BPF_STX | code, to, other, 8, 0));
	put_behind(g, MOV_IMM(to, (s32)value(g)));
	if (below(g, 2))
		put_behind(g, MOV_IMM(x, (s32)value(g)));
}

/* Division by constants that compilers meet. */
static void put_division(struct generator *g)
{
	static const u8 ops[] = {BPF_DIV, BPF_MOD};
	u8 class = below(g, 3) ? BPF_ALU : BPF_ALU64;
	s32 divisor = below(g, 3) ? 1 + (s32)below(g, 1000) : 1 << below(g, 31);

	put(g, INSN(class | ops[below(g, 2)] | BPF_K, reg(g), 0, (s32)!below(g, 4), divisor));
}

/* A jump over a jump: where both go is found later, so they go to the next instructions. */
static void put_over(struct generator *g)
{
	put(g, INSN(BPF_JMP | BPF_JSGT | BPF_K, reg(g), 0, 0, (s32)value(g)));
	put_behind(g, MOV_IMM(reg(g), (s32)value(g)));
	put(g, INSN((below(g, 2) ? BPF_JMP : BPF_JMP32) | BPF_JSET | BPF_X, reg(g), reg(g), 0, 0));
	put(g, INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0));
}

static void put_pattern(struct generator *g)
{
	switch (below(g, 7)) {
	case 4:
		put_element(g);
		break;
	case 5:
		put_division(g);
		break;
	case 6:
		put_over(g);
		break;
	case 0:
		put_sum(g);
		break;
	case 1:
		put_access(g);
		break;
	case 2:
		put_rotate(g);
		break;
	default:
		put_update(g);
		break;
	}
}

static void put_jump(struct generator *g)
{
	static const u8 ops[] = {BPF_JA,  BPF_JEQ, BPF_JGT,  BPF_JGE,  BPF_JSET, BPF_JNE,
				 BPF_JLT, BPF_JLE, BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE};
	u8 op = ops[below(g, ARRAY_SIZE(ops))], class = below(g, 2) ? BPF_JMP : BPF_JMP32;
	u8 source = below(g, 2) && op != BPF_JA ? BPF_X : BPF_K;

	put(g, INSN(class | op | source, op == BPF_JA ? 0 : reg(g), source == BPF_X ? reg(g) : 0, 0,
		    source == BPF_X || op == BPF_JA ? 0 : (s32)value(g)));
}

static void put_call(struct generator *g, bool may_call_sub)
{
	if (may_call_sub && below(g, 2)) {
		put(g, CALL_SUB(0));
		return;
	}
	put(g, CALL(1));
	for (u8 r = 1; r <= 5; r++)
		put(g, MOV_IMM(r, (s32)value(g)));
}

static void put_body(struct generator *g, u32 length, bool main)
{
	for (u32 i = 0; i < SLOTS; i++)
		put(g, INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, (s16)(-8 * (s32)(i + 1)),
			    (s32)value(g)));
	while (g->start_count < length) {
		switch (below(g, 20)) {
		case 16 ... 19:
			put_pattern(g);
			break;
		case 0:
			put_constant(g, reg(g), value(g));
			break;
		case 1 ... 3:
			put_memory(g);
			break;
		case 4:
			put_atomic(g);
			break;
		case 5 ... 6:
			put_jump(g);
			break;
		case 7:
			if (!below(g, 3))
				put_call(g, main);
			break;
		default:
			put_alu(g);
			break;
		}
	}
}

/* r0 becomes a sum over everything the function computed. */
static void put_end(struct generator *g)
{
	for (u8 r = 1; r <= 9; r++) {
		put(g, ALU64_IMM(BPF_MUL, 0, 31));
		put(g, ALU64_REG(BPF_XOR, 0, r));
	}
	for (s16 i = 1; i <= SLOTS; i++) {
		put(g, INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, (s16)(-8 * i), 0));
		put(g, ALU64_IMM(BPF_MUL, 0, 33));
		put(g, ALU64_REG(BPF_ADD, 0, 1));
	}
	put(g, EXIT);
}

/* Aims jumps of the function that ended and calls of the one behind it. */
static void aim(struct generator *g, u32 sub)
{
	for (u32 i = 0; i < g->start_count; i++) {
		struct bpf_insn *insn = &g->insns[g->starts[i]];
		u8 class = insn_class(insn);
		u32 to, reach;

		if (insn_is_call_subprog(insn))
			insn->imm = (s32)(sub - g->starts[i] - 1);
		if ((class != BPF_JMP && class != BPF_JMP32) || insn_op(insn) == BPF_CALL ||
		    insn_op(insn) == BPF_EXIT)
			continue;
		reach = below(g, 2) ? 4 : 60;
		to = i + 1 + below(g, MIN(g->start_count - i - 1, reach));
		to = g->starts[to] - g->starts[i] - 1;
		if (insn->code == (BPF_JMP32 | BPF_JA))
			insn->imm = (s32)to;
		else
			insn->off = (s16)to;
	}
}

static void generate(struct generator *g, u64 seed)
{
	g->state = seed * 0x9e3779b97f4a7c15ull + 1;
	for (int i = 0; i < 8; i++)
		next(g);
	g->count = 0;
	g->start_count = 0;
	for (u8 r = 0; r < 10; r++)
		put_constant(g, r, value(g));
	put_body(g, 10 + below(g, BODY), true);
	put_end(g);
	aim(g, g->count);
	g->start_count = 0;
	put_body(g, 20 + below(g, BODY / 4), false);
	put_end(g);
	aim(g, 0);
}

static u64 mix(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	/* Checks on the way that the stack is aligned as the ABI says. */
	u64 misaligned = (u64)(uintptr_t)__builtin_frame_address(0) & 15;

	return r1 * 3 ^ r2 * 5 ^ r3 * 7 ^ r4 * 11 ^ r5 * 13 ^ misaligned;
}

static exec_helper_fn only_mix(u32 id)
{
	return id == 1 ? mix : NULL;
}

#if defined(__x86_64__)
/* Calls entry with a pattern in every register; writes what they hold afterwards, by register number. */
static u64 call_watching(u64 (*entry)(u64, u64), u64 *regs)
{
	u64 result;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t" /* past the red zone */
			 "push %%rbp\n\tpush %%rbx\n\tpush %%rsi\n\t"
			 "mov %%rsp, %%rbp\n\tand $-16, %%rsp\n\tpush %%rbp\n\tpush %%rbp\n\t"
			 "mov %%rdi, %%rax\n\t"
			 "mov $1, %%ecx\n\tmov $2, %%edx\n\tmov $3, %%ebx\n\tmov $5, %%ebp\n\t"
			 "mov $6, %%esi\n\tmov $7, %%edi\n\tmov $8, %%r8d\n\tmov $9, %%r9d\n\t"
			 "mov $10, %%r10d\n\tmov $11, %%r11d\n\tmov $12, %%r12d\n\t"
			 "mov $13, %%r13d\n\tmov $14, %%r14d\n\tmov $15, %%r15d\n\t"
			 "call *%%rax\n\t"
			 "pop %%rsp\n\txchg %%rax, (%%rsp)\n\t"
			 "mov %%rcx, 8(%%rax)\n\tmov %%rdx, 16(%%rax)\n\tmov %%rbx, 24(%%rax)\n\t"
			 "mov %%rbp, 40(%%rax)\n\tmov %%rsi, 48(%%rax)\n\tmov %%rdi, 56(%%rax)\n\t"
			 "mov %%r8, 64(%%rax)\n\tmov %%r9, 72(%%rax)\n\tmov %%r10, 80(%%rax)\n\t"
			 "mov %%r11, 88(%%rax)\n\tmov %%r12, 96(%%rax)\n\tmov %%r13, 104(%%rax)\n\t"
			 "mov %%r14, 112(%%rax)\n\tmov %%r15, 120(%%rax)\n\t"
			 "pop %%rax\n\tpop %%rbx\n\tpop %%rbp\n\t"
			 "lea 128(%%rsp), %%rsp"
			 : "=&a"(result), "+D"(entry), "+S"(regs)
			 :
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
			   "memory", "cc");
	return result;
}
#else
static u64 call_watching(u64 (*entry)(u64, u64), u64 *regs)
{
	for (u64 i = 0; i < 16; i++)
		regs[i] = i;
	return entry(7, 6);
}
#endif

static int changed_without_saying(const struct exec_code *code)
{
	u64 regs[16] = {0};
	int changed = 0;

	call_watching(code->entry, regs);
	for (u32 i = 1; i < 16; i++) {
		if (i != 4 && !(code->clobbers & 1u << i))
			changed += regs[i] != i;
	}
	return changed;
}

static void dump(const struct generator *g)
{
	for (u32 i = 0; i < g->count; i++)
		printf("#   %u: code %02x dst %u src %u off %d imm %d\n", i, g->insns[i].code,
		       g->insns[i].dst_reg, g->insns[i].src_reg, g->insns[i].off, g->insns[i].imm);
}

/* Returns how many ways the program failed in. */
static int try_one(struct generator *g, u64 seed)
{
	static const struct exec_env env = {.helper = only_mix};
	u64 near = seed % 3 ? (u64)(uintptr_t)mix : 0, expected;
	struct image_header *image;
	struct exec_code *code;
	int failures;

	generate(g, seed);
	if (raw_image_create(g->insns, g->count, &image)) {
		printf("# seed %llu: the generator made a malformed program\n",
		       (unsigned long long)seed);
		return 1;
	}
	expected = exec_interpret(image, &env, 0, 0);
	if (exec_compile(image, &env, near, false, &code)) {
		printf("# seed %llu: does not compile\n", (unsigned long long)seed);
		raw_image_free(image);
		return 1;
	}
	failures = code->entry(0, 0) != expected;
	if (seed % 8 == 0)
		failures += changed_without_saying(code);
	exec_free(code);
	raw_image_free(image);
	return failures;
}

static u64 number_from(const char *name, u64 otherwise)
{
	return getenv(name) ? strtoull(getenv(name), NULL, 0) : otherwise;
}

static void engines_agree_on_random_programs(void)
{
	static struct generator g;
	u64 first = number_from("INLAY_SEED", 1), count = number_from("INLAY_PROGRAMS", 20000);
	struct text_block keep[2] = {0};
	int failed = 0;

	/* Regions that stay, so that mapping them is not most of the test. */
	CHECK_EQ(text_alloc(0, 16, &keep[0]), 0);
	CHECK_EQ(text_alloc((u64)(uintptr_t)mix, 16, &keep[1]), 0);
	for (u64 seed = first; seed < first + count && failed < 3; seed++) {
		if (!try_one(&g, seed))
			continue;
		failed++;
		printf("# program with INLAY_SEED=%llu\n", (unsigned long long)seed);
		dump(&g);
	}
	CHECK_EQ(failed, 0);
	text_free(&keep[0]);
	text_free(&keep[1]);
}

/* Leaf programs, whose clobbers are a few registers and not everything a helper may change. */
static void leaf_code_changes_only_what_it_says(void)
{
	static struct generator g;
	static const struct exec_env env;
	int wrong = 0, narrow = 0;

	for (u64 seed = 1; seed < 2000; seed++) {
		struct image_header *image;
		struct exec_code *code;

		g.state = seed * 77777;
		g.count = g.start_count = 0;
		put(&g, MOV_IMM(0, 1));
		for (u32 i = 0; i < 1 + seed % 7; i++) {
			u8 to = reg(&g);

			put(&g, MOV_IMM(to, (s32)value(&g)));
			put_alu(&g);
			/* Initialised registers are not the point here: whatever is in them may be used. */
		}
		put(&g, EXIT);
		CHECK_EQ(raw_image_create(g.insns, g.count, &image), 0);
		CHECK_EQ(exec_compile(image, &env, 0, false, &code), 0);
		wrong += changed_without_saying(code);
		narrow += __builtin_popcount(code->clobbers) < 4;
		exec_free(code);
		raw_image_free(image);
	}
	CHECK_EQ(wrong, 0);
	CHECK(narrow > 100);
}

int main(void)
{
	RUN(engines_agree_on_random_programs);
	RUN(leaf_code_changes_only_what_it_says);
	return test_done();
}
