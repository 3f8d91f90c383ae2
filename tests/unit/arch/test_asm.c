/* SPDX-License-Identifier: BSD-2-Clause */
/* Every encoder with every register, read back by a decoder that is not ours. */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <inttypes.h>

#include "arch/x86_64/asm.h"
#include "test.h"

#define BASE 0x10000000ull

static const char *const names8[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
				     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const names4[] = {"eax", "ecx", "edx",  "ebx",  "esp",  "ebp",  "esi",  "edi",
				     "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d", "r15d"};
static const char *const names2[] = {"ax",  "cx",  "dx",   "bx",   "sp",   "bp",   "si",   "di",
				     "r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w"};
static const char *const names1[] = {"al",  "cl",  "dl",   "bl",   "spl",  "bpl",  "sil",  "dil",
				     "r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b", "r15b"};
static const char *const *const names[] = {[1] = names1, [2] = names2, [4] = names4, [8] = names8};
static const char *const keywords[] = {[1] = "byte", [2] = "word", [4] = "dword", [8] = "qword"};

static u8 bytes[64];
static struct codebuf buf;

static struct codebuf *fresh(void)
{
	codebuf_init(&buf, bytes, BASE, sizeof(bytes));
	return &buf;
}

/* The instruction in buf as text, which must be all that is there. */
static const char *decoded(void)
{
	static char text[128];
	ZydisDisassembledInstruction instruction;

	snprintf(text, sizeof(text), "(bad)");
	if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, BASE, bytes, buf.size,
						&instruction)))
		return text;
	snprintf(text, sizeof(text), "%s%s", instruction.text,
		 instruction.info.length == buf.size ? "" : " and more");
	return text;
}

static void expect(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect(const char *format, ...)
{
	char want[128];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	CHECK_EQ(buf.error, 0);
	if (strcmp(decoded(), want)) {
		printf("# got '%s', want '%s'\n", decoded(), want);
		test_failed_here++;
	}
}

static void moves_and_arithmetic_between_registers(void)
{
	static const char *const alu[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
	static const char *const signed_from[] = {[1] = "movsx", [2] = "movsx", [4] = "movsxd"};

	for (u8 to = 0; to < 16; to++) {
		for (u8 from = 0; from < 16; from++) {
			for (u32 size = 4; size <= 8; size += 4) {
				if (size != 8 || to != from) {
					asm_mov(fresh(), size, to, from);
					expect("mov %s, %s", names[size][to], names[size][from]);
				}
				for (u32 op = 0; op < ARRAY_SIZE(alu); op++) {
					asm_alu(fresh(), size, (enum asm_alu)op, to, from);
					expect("%s %s, %s", alu[op], names[size][to],
					       names[size][from]);
				}
				asm_test(fresh(), size, to, from);
				expect("test %s, %s", names[size][to], names[size][from]);
			}
			for (u32 size = 1; size <= 4; size *= 2) {
				asm_extend(fresh(), size, 8, true, to, from);
				expect("%s %s, %s", signed_from[size], names8[to],
				       names[size][from]);
			}
			for (u32 size = 1; size <= 2; size *= 2) {
				asm_extend(fresh(), size, 4, false, to, from);
				expect("movzx %s, %s", names4[to], names[size][from]);
				asm_extend(fresh(), size, 4, true, to, from);
				expect("movsx %s, %s", names4[to], names[size][from]);
			}
		}
	}
}

static void constants(void)
{
	for (u8 reg = 0; reg < 16; reg++) {
		asm_mov_imm(fresh(), reg, 0);
		expect("xor %s, %s", names4[reg], names4[reg]);
		asm_mov_imm(fresh(), reg, 0xfedcba98);
		expect("mov %s, 0xFEDCBA98", names4[reg]);
		asm_mov_imm(fresh(), reg, (u64)-2);
		expect("mov %s, 0xFFFFFFFFFFFFFFFE", names8[reg]);
		asm_mov_imm(fresh(), reg, 0x123456789a);
		expect("mov %s, 0x123456789A", names8[reg]);
		asm_alu_imm(fresh(), 8, ASM_CMP, reg, -1);
		expect("cmp %s, 0xFFFFFFFFFFFFFFFF", names8[reg]);
		asm_alu_imm(fresh(), 4, ASM_SUB, reg, 0x1234567);
		expect("sub %s, 0x1234567", names4[reg]);
		asm_test_imm(fresh(), 4, reg, 0x55);
		expect("test %s, 0x55", names4[reg]);
		asm_lea_rip(fresh(), reg, BASE + 0x1000);
		expect("lea %s, [0x0000000010001000]", names8[reg]);
	}
}

static const char *place(u8 base, s32 disp)
{
	static char text[64];

	if (!disp)
		snprintf(text, sizeof(text), "[%s]", names8[base]);
	else
		snprintf(text, sizeof(text), "[%s%s0x%02X]", names8[base], disp < 0 ? "-" : "+",
			 disp < 0 ? (u32)-disp : (u32)disp);
	return text;
}

/* The size is written where the register does not tell it. */
static void check_memory(u8 reg, u8 base, s32 disp)
{
	const char *at = place(base, disp);

	for (u32 size = 1; size <= 8; size *= 2) {
		asm_load(fresh(), size, reg, base, disp);
		if (size <= 2)
			expect("movzx %s, %s ptr %s", names4[reg], keywords[size], at);
		else
			expect("mov %s, %s", names[size][reg], at);
		asm_load_signed(fresh(), size, reg, base, disp);
		if (size <= 4)
			expect("%s %s, %s ptr %s", size == 4 ? "movsxd" : "movsx", names8[reg],
			       keywords[size], at);
		else
			expect("mov %s, %s", names8[reg], at);
		asm_store(fresh(), size, base, disp, reg);
		expect("mov %s, %s", at, names[size][reg]);
		asm_store_imm(fresh(), size, base, disp, 0x11);
		expect("mov %s ptr %s, 0x11", keywords[size], at);
	}
	asm_lea(fresh(), reg, base, disp);
	expect("lea %s, %s", names8[reg], at);
}

static void loads_and_stores_through_every_base(void)
{
	static const s32 disps[] = {0, 8, -8, 127, -128, 128, -129, 0x12345678};

	for (u8 reg = 0; reg < 16; reg++) {
		for (u8 base = 0; base < 16; base++) {
			for (size_t i = 0; i < ARRAY_SIZE(disps); i++)
				check_memory(reg, base, disps[i]);
		}
	}
}

static void single_register_forms(void)
{
	static const struct {
		u8 op;
		const char *name;
	} shifts[] = {{ASM_ROL, "rol"},
		      {ASM_ROR, "ror"},
		      {ASM_SHL, "shl"},
		      {ASM_SHR, "shr"},
		      {ASM_SAR, "sar"}},
	  unary[] = {{ASM_NOT, "not"},	 {ASM_NEG, "neg"}, {ASM_MUL, "mul"},
		     {ASM_IMUL, "imul"}, {ASM_DIV, "div"}, {ASM_IDIV, "idiv"}};

	for (u8 reg = 0; reg < 16; reg++) {
		for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
			asm_shift_imm(fresh(), 8, (enum asm_shift)shifts[i].op, reg, 5);
			expect("%s %s, 0x05", shifts[i].name, names8[reg]);
			asm_shift_cl(fresh(), 4, (enum asm_shift)shifts[i].op, reg);
			expect("%s %s, cl", shifts[i].name, names4[reg]);
		}
		for (size_t i = 0; i < ARRAY_SIZE(unary); i++) {
			asm_unary(fresh(), 8, (enum asm_unary)unary[i].op, reg);
			expect("%s %s", unary[i].name, names8[reg]);
		}
		asm_push(fresh(), reg);
		expect("push %s", names8[reg]);
		asm_pop(fresh(), reg);
		expect("pop %s", names8[reg]);
		asm_call_reg(fresh(), reg);
		expect("call %s", names8[reg]);
		asm_jump_reg(fresh(), reg);
		expect("jmp %s", names8[reg]);
	}
}

static void branches_reach_their_target_or_say_no(void)
{
	static const u64 targets[] = {BASE, BASE + 100, BASE - 0x7ffffff0, BASE + 0x7ffffff0};

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		asm_call(fresh(), targets[i]);
		expect("call 0x%016" PRIX64, targets[i]);
		asm_jump(fresh(), targets[i]);
		expect("jmp 0x%016" PRIX64, targets[i]);
		asm_jcc(fresh(), X86_CC_LE, targets[i]);
		expect("jle 0x%016" PRIX64, targets[i]);
	}
	CHECK(!asm_reaches(fresh(), 5, BASE + 0x80000005));
	CHECK(asm_reaches(fresh(), 5, BASE + 0x80000004));
	asm_call(fresh(), BASE + 0x80000005);
	CHECK_EQ(buf.error, -ERANGE);
}

static void skips_land_where_they_say(void)
{
	u32 mark = asm_skip_if(fresh(), X86_CC_NE);

	for (int i = 0; i < 5; i++)
		codebuf_put(&buf, 0, 8);
	asm_land(&buf, mark);
	buf.size = 2;
	expect("jnz 0x%016llX", BASE + 42);
	mark = asm_skip(fresh());
	for (int i = 0; i < 20; i++)
		codebuf_put(&buf, 0, 2);
	asm_land(&buf, mark);
	CHECK_EQ(buf.error, 0);
	codebuf_init(&buf, NULL, BASE, 0);
	mark = asm_skip(&buf);
	for (int i = 0; i < 16; i++)
		codebuf_put(&buf, 0, 8);
	asm_land(&buf, mark);
	CHECK_EQ(buf.error, -ERANGE);
}

static void a_full_buffer_is_an_error_and_not_written_over(void)
{
	codebuf_init(&buf, bytes, BASE, 4);
	bytes[4] = 0x99;
	asm_jump(&buf, BASE);
	CHECK_EQ(buf.error, -ENOSPC);
	CHECK_EQ(bytes[4], 0x99);
}

int main(void)
{
	RUN(moves_and_arithmetic_between_registers);
	RUN(constants);
	RUN(loads_and_stores_through_every_base);
	RUN(single_register_forms);
	RUN(branches_reach_their_target_or_say_no);
	RUN(skips_land_where_they_say);
	RUN(a_full_buffer_is_an_error_and_not_written_over);
	return test_done();
}
