/* SPDX-License-Identifier: BSD-2-Clause */
/* The encoders of arm64, read back by a decoder that is not ours (llvm-mc): on any host. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch/aarch64/a64.h"
#include "arch/aarch64/aarch64.h"
#include "test.h"

#define BASE	  0x10000000ull
#define MAX_CASES 40000
#define TEXT_SIZE 56

/* Instructions emitted and not yet read back, and what each must be. */
static u8 bytes[MAX_CASES * 4];
static char wants[MAX_CASES][TEXT_SIZE];
static u32 want_cnt;
static struct codebuf buf;

static struct codebuf *fresh(void)
{
	codebuf_init(&buf, bytes, BASE, sizeof(bytes));
	want_cnt = 0;
	return &buf;
}

static void expect(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(wants[want_cnt++], TEXT_SIZE, format, args);
	va_end(args);
	CHECK_EQ(buf.error, 0);
	if (buf.size != want_cnt * 4) {
		printf("# %u bytes for %u instructions, at '%s'\n", buf.size, want_cnt,
		       wants[want_cnt - 1]);
		test_failed_here++;
	}
}

static bool have_decoder(void)
{
	return !system("command -v llvm-mc >/dev/null 2>&1");
}

/* The decoder's lines are "\tmnemonic\toperands"; comments follow behind "//". */
static void clean(char *line)
{
	char *comment = strstr(line, "//");
	size_t length;

	if (comment)
		*comment = 0;
	for (char *at = line; *at; at++)
		*at = *at == '\t' ? ' ' : *at;
	length = strlen(line);
	while (length && (line[length - 1] == '\n' || line[length - 1] == ' '))
		line[--length] = 0;
}

/* Compares everything that was expected. */
static void read_back(void)
{
	char path[] = "/tmp/inlay-a64-XXXXXX", command[128], line[256];
	int fd = mkstemp(path);
	u32 seen = 0, wrong = 0;
	FILE *file = fdopen(fd, "w");

	for (u32 i = 0; i < buf.size; i += 4)
		fprintf(file, "%#x %#x %#x %#x\n", bytes[i], bytes[i + 1], bytes[i + 2],
			bytes[i + 3]);
	fclose(file);
	snprintf(command, sizeof(command),
		 "llvm-mc -disassemble -triple=aarch64 -mattr=+lse <%s 2>&1", path);
	file = popen(command, "r");
	while (fgets(line, sizeof(line), file)) {
		clean(line);
		if (!line[0] || !strcmp(line, " .text"))
			continue;
		if (seen < want_cnt && strcmp(line + 1, wants[seen]) && wrong++ < 10)
			printf("# got '%s', want '%s'\n", line + 1, wants[seen]);
		seen++;
	}
	pclose(file);
	unlink(path);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(seen, want_cnt);
}

#define NEEDS_DECODER()                                                                            \
	do {                                                                                       \
		if (!have_decoder())                                                               \
			SKIP("llvm-mc is not installed");                                          \
	} while (0)

static char letter(u32 size)
{
	return size == 8 ? 'x' : 'w';
}

static void operations_name_three_registers(void)
{
	static const struct {
		enum a64_op op;
		const char *name;
	} rows[] = {{A64_AND, "and"}, {A64_BIC, "bic"}, {A64_ADD, "add"},   {A64_LSL, "lsl"},
		    {A64_LSR, "lsr"}, {A64_ASR, "asr"}, {A64_UDIV, "udiv"}, {A64_SDIV, "sdiv"},
		    {A64_MUL, "mul"}, {A64_ORR, "orr"}, {A64_ORN, "orn"},   {A64_ADDS, "adds"},
		    {A64_EOR, "eor"}, {A64_SUB, "sub"}, {A64_ANDS, "ands"}, {A64_SUBS, "subs"}};

	NEEDS_DECODER();
	fresh();
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		for (u8 reg = 0; reg < 29; reg++) {
			u8 left = (u8)((reg + 5) % 29), right = (u8)((reg + 9) % 29);

			a64_op(&buf, 8, rows[i].op, reg, left, right);
			expect("%s x%u, x%u, x%u", rows[i].name, reg, left, right);
			a64_op(&buf, 4, rows[i].op, reg, left, right);
			expect("%s w%u, w%u, w%u", rows[i].name, reg, left, right);
		}
	}
	a64_op_shifted(&buf, 8, A64_ADD, 1, 2, 3, 3);
	expect("add x1, x2, x3, lsl #3");
	a64_msub(&buf, 8, 1, 2, 3, 4);
	expect("msub x1, x2, x3, x4");
	a64_msub(&buf, 4, 1, 2, 3, 4);
	expect("msub w1, w2, w3, w4");
	a64_mov(&buf, 8, 1, 1);
	a64_mov(&buf, 8, 1, 2);
	expect("mov x1, x2");
	a64_mov(&buf, 4, 1, 1);
	expect("mov w1, w1");
	read_back();
}

static void additions_take_twelve_bits_shifted_or_not(void)
{
	NEEDS_DECODER();
	fresh();
	a64_arith_imm(&buf, 8, A64_ADD, 1, 2, 4095);
	expect("add x1, x2, #4095");
	a64_arith_imm(&buf, 4, A64_SUB, 1, 2, 0xfff000);
	expect("sub w1, w2, #4095, lsl #12");
	a64_arith_imm(&buf, 8, A64_ADD, A64_FP, A64_SP, 0);
	expect("mov x29, sp");
	a64_arith_imm(&buf, 8, A64_SUB, A64_SP, A64_SP, 544);
	expect("sub sp, sp, #544");
	a64_arith_imm(&buf, 8, A64_SUBS, A64_ZR, 3, 7);
	expect("cmp x3, #7");
	a64_arith_imm(&buf, 4, A64_ADDS, A64_ZR, 3, 7);
	expect("cmn w3, #7");
	CHECK(a64_arith_fits(0) && a64_arith_fits(0xfff) && a64_arith_fits(0x1000));
	CHECK(a64_arith_fits(0xfff000));
	CHECK(!a64_arith_fits(0x1001) && !a64_arith_fits(0x1000000) && !a64_arith_fits(~0ull));
	read_back();
}

/* Every logical immediate that there is, made from its definition. Returns how many. */
static u32 logical_immediates(u64 *to)
{
	u32 count = 0;

	for (u32 bits = 2; bits <= 64; bits *= 2) {
		for (u32 ones = 1; ones < bits; ones++) {
			for (u32 turn = 0; turn < bits; turn++) {
				u64 value = 0;

				for (u32 i = 0; i < 64; i++)
					value |= (u64)((i + turn) % bits < ones) << i;
				to[count++] = value;
			}
		}
	}
	return count;
}

static int compare_words(const void *a, const void *b)
{
	u64 left = *(const u64 *)a, right = *(const u64 *)b;

	return left < right ? -1 : left > right;
}

static u64 state = 88172645463325252ull;

static u64 next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void logical_immediates_are_all_and_only_those(void)
{
	static u64 all[12000];
	u32 count = logical_immediates(all), missed = 0, invented = 0;

	NEEDS_DECODER();
	CHECK_EQ(count, 5334);
	fresh();
	for (u32 i = 0; i < count; i++) {
		missed += !a64_logical_fits(8, all[i]);
		a64_logical_imm(&buf, 8, A64_EOR, 1, 2, all[i]);
		expect("eor x1, x2, #%#" PRIx64, all[i]);
		if ((u32)all[i] != all[i] >> 32)
			continue;
		missed += !a64_logical_fits(4, (u32)all[i]);
		a64_logical_imm(&buf, 4, A64_AND, 1, 2, (u32)all[i]);
		expect("and w1, w2, #%#x", (u32)all[i]);
	}
	qsort(all, count, sizeof(*all), compare_words);
	for (u32 i = 0; i < 200000; i++) {
		u64 value =
			all[next() % count] ^ (i % 2 ? 1ull << next() % 64 : next() >> next() % 64);

		if (!bsearch(&value, all, count, sizeof(*all), compare_words))
			invented += a64_logical_fits(8, value);
	}
	CHECK(!a64_logical_fits(8, 0) && !a64_logical_fits(8, ~0ull));
	CHECK(!a64_logical_fits(4, 0) && !a64_logical_fits(4, 0xffffffff));
	CHECK_EQ(missed, 0);
	CHECK_EQ(invented, 0);
	read_back();
}

/* What a sequence of MOVZ, MOVN, MOVK makes of a register; *ret_known: it is nothing else. */
static u64 moved(bool *ret_known)
{
	u64 value = 0;

	*ret_known = true;
	for (u32 i = 0; i < buf.size; i += 4) {
		u32 word, shift;
		u64 part;

		memcpy(&word, bytes + i, 4);
		shift = (word >> 21 & 3) * 16;
		part = (u64)(word >> 5 & 0xffff) << shift;
		switch (word >> 23 & 0xff) {
		case 0xa5: /* MOVZ */
			value = part;
			break;
		case 0x25: /* MOVN */
			value = ~part;
			break;
		case 0xe5: /* MOVK */
			value = (value & ~(0xffffull << shift)) | part;
			break;
		default:
			*ret_known = false;
		}
		if (!(word >> 31))
			value = (u32)value;
	}
	return value;
}

static void constants_are_as_short_as_they_can_be(void)
{
	static const struct {
		u64 value;
		u32 words;
	} rows[] = {{0, 1},
		    {1, 1},
		    {0xffff, 1},
		    {0x10000, 1},
		    {0xffff0000, 1},
		    {0xffffffff, 1},
		    {0xfffffffe, 1},
		    {~0ull, 1},
		    {~1ull, 1},
		    {(u64)(s64)INT32_MIN, 1},
		    {0x8000000000000000, 1},
		    {0xffff0000ffff0000, 1}, /* logical */
		    {0x5555555555555555, 1},
		    {0x12345678, 2},
		    {0xffffffff12345678, 2},
		    {0xffff1234ffff5678, 2},
		    {0x123456789abc, 3},
		    {0x123456789abcdef0, 4}};
	bool known;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		fresh();
		a64_mov_imm(&buf, 3, rows[i].value);
		if (buf.size != rows[i].words * 4)
			printf("# %#" PRIx64 "\n", rows[i].value);
		CHECK_EQ(buf.size, rows[i].words * 4);
	}
	for (u32 i = 0; i < 300000; i++) {
		u64 value = next() >> next() % 64;
		u64 got;

		if (i % 3 == 0)
			value = ~value;
		if (i % 5 == 0)
			value &= ~(0xffffull << next() % 4 * 16);
		fresh();
		a64_mov_imm(&buf, 3, value);
		got = moved(&known);
		if (known ? got != value : buf.size != 4)
			CHECK_EQ(got, value);
	}
}

static void bit_fields_shift_and_extend(void)
{
	NEEDS_DECODER();
	fresh();
	for (u32 size = 4; size <= 8; size += 4) {
		for (u32 count = 1; count < size * 8; count++) {
			char c = letter(size);

			a64_shift_imm(&buf, size, A64_LSL, 1, 2, count);
			expect("lsl %c1, %c2, #%u", c, c, count);
			a64_shift_imm(&buf, size, A64_LSR, 1, 2, count);
			expect("lsr %c1, %c2, #%u", c, c, count);
			a64_shift_imm(&buf, size, A64_ASR, 1, 2, count);
			expect("asr %c1, %c2, #%u", c, c, count);
		}
	}
	a64_extend(&buf, 1, 8, true, 1, 2);
	expect("sxtb x1, w2");
	a64_extend(&buf, 2, 4, true, 1, 2);
	expect("sxth w1, w2");
	a64_extend(&buf, 4, 8, true, 1, 2);
	expect("sxtw x1, w2");
	a64_extend(&buf, 2, 8, false, 1, 2);
	expect("uxth w1, w2");
	a64_swap_bytes(&buf, 1, 2, 64);
	expect("rev x1, x2");
	a64_swap_bytes(&buf, 1, 2, 32);
	expect("rev w1, w2");
	a64_swap_bytes(&buf, 1, 2, 16);
	snprintf(wants[want_cnt++], TEXT_SIZE, "rev16 w1, w2");
	expect("uxth w1, w1");
	read_back();
}

static void accesses_have_every_size_and_offset(void)
{
	static const struct {
		enum a64_access kind;
		const char *name;
		u32 size;
		char reg;
	} rows[] = {{A64_STORE, "strb", 1, 'w'},	{A64_STORE, "strh", 2, 'w'},
		    {A64_STORE, "str", 4, 'w'},		{A64_STORE, "str", 8, 'x'},
		    {A64_LOAD, "ldrb", 1, 'w'},		{A64_LOAD, "ldrh", 2, 'w'},
		    {A64_LOAD, "ldr", 4, 'w'},		{A64_LOAD, "ldr", 8, 'x'},
		    {A64_LOAD_SIGNED, "ldrsb", 1, 'x'}, {A64_LOAD_SIGNED, "ldrsh", 2, 'x'},
		    {A64_LOAD_SIGNED, "ldrsw", 4, 'x'}};

	NEEDS_DECODER();
	fresh();
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *name = rows[i].name;
		u32 size = rows[i].size;

		a64_access(&buf, rows[i].kind, size, 1, 2, 0);
		expect("%s %c1, [x2]", name, rows[i].reg);
		a64_access(&buf, rows[i].kind, size, 1, A64_SP, (s32)size * 4095);
		expect("%s %c1, [sp, #%u]", name, rows[i].reg, size * 4095);
		a64_access(&buf, rows[i].kind, size, 30, 29, -256);
		expect("%.2sur%s %c30, [x29, #-256]", name, name + 3, rows[i].reg);
		a64_access_indexed(&buf, rows[i].kind, size, 1, 2, 3);
		expect("%s %c1, [x2, x3]", name, rows[i].reg);
		CHECK(a64_offset_fits(size, -256) && a64_offset_fits(size, 255));
		CHECK(a64_offset_fits(size, (s64)size * 4095) && !a64_offset_fits(size, -257));
		CHECK(!a64_offset_fits(size, (s64)size * 4096));
		CHECK(size == 1 || !a64_offset_fits(size, 257));
	}
	a64_access(&buf, A64_LOAD, 8, 1, 2, 255);
	expect("ldur x1, [x2, #255]");
	a64_pair(&buf, A64_PAIR_PUSH, 29, 30, A64_SP, -16);
	expect("stp x29, x30, [sp, #-16]!");
	a64_pair(&buf, A64_PAIR_POP, 29, 30, A64_SP, 504);
	expect("ldp x29, x30, [sp], #504");
	a64_pair(&buf, A64_PAIR_STORE, 19, A64_ZR, A64_SP, 16);
	expect("stp x19, xzr, [sp, #16]");
	a64_pair(&buf, A64_PAIR_LOAD, 19, 20, 3, -512);
	expect("ldp x19, x20, [x3, #-512]");
	read_back();
}

static void atomics_come_in_both_kinds(void)
{
	NEEDS_DECODER();
	fresh();
	a64_exclusive(&buf, A64_LDXR, 8, 1, 2);
	expect("ldxr x1, [x2]");
	a64_exclusive(&buf, A64_LDXR, 4, 1, 2);
	expect("ldxr w1, [x2]");
	a64_stlxr(&buf, 8, 3, 1, 2);
	expect("stlxr w3, x1, [x2]");
	a64_stlxr(&buf, 4, 3, 1, 2);
	expect("stlxr w3, w1, [x2]");
	a64_exclusive(&buf, A64_LDAR, 1, 1, 2);
	expect("ldarb w1, [x2]");
	a64_exclusive(&buf, A64_LDAR, 2, 1, 2);
	expect("ldarh w1, [x2]");
	a64_exclusive(&buf, A64_STLR, 8, 1, 2);
	expect("stlr x1, [x2]");
	a64_dmb(&buf);
	expect("dmb ish");
	a64_lse(&buf, A64_LDADD, 8, true, 1, 2, 3);
	expect("ldaddal x1, x2, [x3]");
	a64_lse(&buf, A64_LDADD, 8, false, 1, A64_ZR, 3);
	expect("stadd x1, [x3]");
	a64_lse(&buf, A64_LDCLR, 4, true, 1, 2, 3);
	expect("ldclral w1, w2, [x3]");
	a64_lse(&buf, A64_LDEOR, 4, false, 1, A64_ZR, 3);
	expect("steor w1, [x3]");
	a64_lse(&buf, A64_LDSET, 8, true, 1, 2, 3);
	expect("ldsetal x1, x2, [x3]");
	a64_lse(&buf, A64_SWP, 4, true, 1, 2, 3);
	expect("swpal w1, w2, [x3]");
	a64_casal(&buf, 8, 1, 2, 3);
	expect("casal x1, x2, [x3]");
	a64_casal(&buf, 4, 1, 2, 3);
	expect("casal w1, w2, [x3]");
	read_back();
}

static void branches_reach_as_far_as_they_say(void)
{
	static const char *const conds[] = {"eq", "ne", "hs", "lo", "mi", "pl", "vs",
					    "vc", "hi", "ls", "ge", "lt", "gt", "le"};

	NEEDS_DECODER();
	fresh();
	for (u32 i = 0; i < ARRAY_SIZE(conds); i++) {
		a64_branch(&buf, a64_branch_if((enum a64_cond)i), -4);
		expect("b.%s #-4", conds[i]);
		a64_branch(&buf, a64_branch_inverted(a64_branch_if((enum a64_cond)i)), 1048572);
		expect("b.%s #1048572", conds[i ^ 1]);
	}
	a64_branch(&buf, a64_branch_zero(8, 5, false), -1048576);
	expect("cbz x5, #-1048576");
	a64_branch(&buf, a64_branch_inverted(a64_branch_zero(4, 5, false)), 8);
	expect("cbnz w5, #8");
	a64_branch(&buf, a64_branch_bit(5, 63, true), 32764);
	expect("tbnz x5, #63, #32764");
	a64_branch(&buf, a64_branch_inverted(a64_branch_bit(5, 31, true)), -32768);
	expect("tbz w5, #31, #-32768");
	a64_jump(&buf, codebuf_pc(&buf) + A64_JUMP_REACH - 4);
	expect("b #134217724");
	a64_call(&buf, codebuf_pc(&buf) - A64_JUMP_REACH);
	expect("bl #-134217728");
	a64_jump_reg(&buf, 9);
	expect("br x9");
	a64_call_reg(&buf, 9);
	expect("blr x9");
	a64_ret(&buf);
	expect("ret");
	a64_address(&buf, 3, codebuf_pc(&buf) - 1048576, true);
	expect("adr x3, #-1048576");
	a64_word(&buf, A64_NOP);
	expect("nop");
	read_back();
}

static void what_is_out_of_reach_is_an_error(void)
{
	codebuf_init(&buf, bytes, BASE, sizeof(bytes));
	a64_jump(&buf, BASE + A64_JUMP_REACH);
	CHECK_EQ(buf.error, -ERANGE);
	codebuf_init(&buf, bytes, BASE, sizeof(bytes));
	a64_branch(&buf, a64_branch_if(A64_EQ), 1 << 20);
	CHECK_EQ(buf.error, -ERANGE);
	codebuf_init(&buf, bytes, BASE, sizeof(bytes));
	a64_branch(&buf, a64_branch_bit(1, 1, true), -32772);
	CHECK_EQ(buf.error, -ERANGE);
}

static void patched_words_are_branches_or_nop(void)
{
	u8 word[4] = {1, 2, 3, 4};

	CHECK_EQ(arch_aarch64.patch.encode(word, PATCH_JUMP, BASE, BASE + A64_JUMP_REACH), -ERANGE);
	CHECK_EQ(arch_aarch64.patch.encode(word, PATCH_RAW, BASE, BASE), -EINVAL);
	CHECK(!memcmp(word, "\1\2\3\4", 4));
	NEEDS_DECODER();
	fresh();
	CHECK_EQ(arch_aarch64.patch.encode(bytes, PATCH_NOP, BASE, 0), 0);
	CHECK_EQ(arch_aarch64.patch.encode(bytes + 4, PATCH_CALL, BASE + 4, BASE), 0);
	CHECK_EQ(arch_aarch64.patch.encode(bytes + 8, PATCH_JUMP, BASE + 8, BASE + 0x1008), 0);
	buf.size = 4;
	expect("nop");
	buf.size = 8;
	expect("bl #-4");
	buf.size = 12;
	expect("b #4096");
	read_back();
}

int main(void)
{
	RUN(operations_name_three_registers);
	RUN(additions_take_twelve_bits_shifted_or_not);
	RUN(logical_immediates_are_all_and_only_those);
	RUN(constants_are_as_short_as_they_can_be);
	RUN(bit_fields_shift_and_extend);
	RUN(accesses_have_every_size_and_offset);
	RUN(atomics_come_in_both_kinds);
	RUN(branches_reach_as_far_as_they_say);
	RUN(what_is_out_of_reach_is_an_error);
	RUN(patched_words_are_branches_or_nop);
	return test_done();
}
