/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries of every shape, written in assembly below, and what is made of each. */
#include "binary/binary.h"

#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#define FUNCTION(name, body)                                                                       \
	__asm__(".pushsection .text\n.p2align 4, 0xcc\n.globl " #name "\n.type " #name             \
		", @function\n" #name ":\n" body "\n.size " #name ", . - " #name                   \
		"\n.p2align 4, 0xcc\n.popsection\n")

FUNCTION(entry_nop, ".byte 0x0f, 0x1f, 0x44, 0, 0\nret");
FUNCTION(entry_endbr_nop, "endbr64\n.byte 0x0f, 0x1f, 0x44, 0, 0\nret");
FUNCTION(entry_single_nops, "nop\nnop\nnop\nnop\nnop\nret");
FUNCTION(entry_long_nop, ".byte 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\nret");
FUNCTION(entry_whole, "movl $7, %eax\nret");
FUNCTION(entry_prologue, "push %rbp\nmov %rsp, %rbp\nsub $16, %rsp\nleave\nret");
FUNCTION(entry_endbr_prologue, "endbr64\npush %rbp\nmov %rsp, %rbp\nsub $16, %rsp\nleave\nret");
FUNCTION(entry_rip_relative, "push %rax\nlea entry_nop(%rip), %rax\npop %rcx\nret");
FUNCTION(entry_rip_immediate, "cmpl $0x12345678, entry_nop(%rip)\nret");
FUNCTION(entry_call, "call entry_nop\nret");
FUNCTION(entry_late_call, "sub $8, %rsp\ncall entry_nop\nadd $8, %rsp\nret");
FUNCTION(entry_jump, ".byte 0xe9\n.long entry_nop - 1f\n1:");
FUNCTION(entry_short_jump, "jmp 1f\n.p2align 4, 0xcc\n.skip 16, 0x90\n1: ret");
FUNCTION(entry_indirect_jump, "jmp *pointer(%rip)");
FUNCTION(entry_return, "xor %eax, %eax\nret");
__asm__(".pushsection .text\n.p2align 4, 0xcc\n.globl entry_tight\n.type entry_tight, @function\nentry_tight:\nret\n"
	".size entry_tight, 1\n.globl entry_after_tight\n.type entry_after_tight, @function\nentry_after_tight:\n"
	"movl $1, %eax\nret\n.size entry_after_tight, . - entry_after_tight\n.p2align 4, 0xcc\n.popsection\n");
FUNCTION(entry_condition, "test %edi, %edi\nje 1f\nmov %edi, %eax\nret\n.skip 140, 0x90\n1: ret");
FUNCTION(entry_far_condition, "test %edi, %edi\n.byte 0x0f, 0x8f\n.long entry_nop - 1f\n1: ret");
FUNCTION(entry_loop, "1: dec %rdi\ntest %rdi, %rdi\njne 1b\nret");
FUNCTION(entry_endbr_loop, "endbr64\n1: dec %rdi\ntest %rdi, %rdi\njne 1b\nret");
FUNCTION(entry_interior, "push %rbp\n1: dec %rdi\ntest %rdi, %rdi\njne 1b\npop %rbp\nret");
FUNCTION(entry_jumped_from_afar,
	 "push %rbp\n.globl interior_label\ninterior_label: dec %rdi\ninc %rsi\npop %rbp\nret");
FUNCTION(entry_jumps_afar, "movl $1, %eax\njmp interior_label");
FUNCTION(entry_syscall, "mov %edi, %eax\nsyscall\nret");
FUNCTION(entry_early_trap, "push %rax\nud2");
FUNCTION(entry_debugger, "int3\npush %rbp\nmov %rsp, %rbp\nleave\nret");
FUNCTION(entry_jrcxz, "mov %rdi, %rcx\njrcxz 1f\nmov %rdi, %rax\n1: ret");
FUNCTION(entry_indirect_call, "push %rbx\ncall *%rdi\npop %rbx\nret");
FUNCTION(entry_own_address, "call 1f\n1: pop %rax\nret");
FUNCTION(entry_locked, "lock incl (%rdi)\nmov %eax, %eax\nret");
FUNCTION(entry_vector, "vpxor %ymm0, %ymm0, %ymm0\nvzeroupper\nret");
FUNCTION(entry_vector_relative, "vmovdqu entry_nop(%rip), %ymm1\nvzeroupper\nret");
FUNCTION(entry_evex, "vpxord %zmm17, %zmm17, %zmm17\nret");
/* A compressed displacement is scaled by the operand's size, and moves as it is. */
FUNCTION(entry_evex_scaled, "vmovdqu64 64(%rdi), %zmm16\nret");
FUNCTION(entry_evex_relative, "vmovdqu64 entry_nop(%rip), %zmm16{%k1}{z}\nret");
FUNCTION(entry_evex_broadcast, "vpaddd entry_nop(%rip){1to16}, %zmm16, %zmm17\nret");
FUNCTION(entry_locked_relative, "lock incl pointer(%rip)\nret");
FUNCTION(entry_locked_immediate, "lock cmpxchgl %edi, pointer(%rip)\nret");
FUNCTION(entry_single_return, "ret");
FUNCTION(entry_rep_return, "rep ret");
FUNCTION(entry_return_pops, "ret $16");
FUNCTION(entry_short_flow, "jmp 1f\n2: ret\n1: jmp 2b");
FUNCTION(
	entry_table,
	"push %rax\nmov %edi, %edi\nlea 2f(%rip), %rax\nmovslq (%rax, %rdi, 4), %rdx\nadd %rax, %rdx\njmp *%rdx\n3: ret\n"
	".pushsection .rodata\n.p2align 2\n2: .long 3b - 2b\n.long entry_table + 1 - 2b\n.popsection");
FUNCTION(
	entry_good_table,
	"push %rax\nmov %edi, %edi\nlea 2f(%rip), %rax\nmovslq (%rax, %rdi, 4), %rdx\nadd %rax, %rdx\njmp *%rdx\n3: ret\n"
	".pushsection .rodata\n.p2align 2\n2: .long 3b - 2b\n.long 3b - 2b\n.popsection");

/* Restartable sequences: the whole function, its second instruction, and what is behind the window. */
#define SEQUENCE(name, start)                                                                                        \
	FUNCTION(                                                                                                    \
		name,                                                                                                \
		"1: push %rbp\n2: mov %rsp, %rbp\nsub $16, %rsp\n3: leave\n4: ret\n.pushsection __rseq_cs, \"aw\"\n" \
		".balign 32\n.long 0, 0\n.quad " start ", 4b - " start ", entry_nop\n.popsection")
SEQUENCE(entry_in_sequence, "1b");
SEQUENCE(entry_before_sequence, "3b");
SEQUENCE(entry_runs_into_sequence, "2b");

/* A computed goto whose label is two bytes into another function's window; the table is relocated data. */
FUNCTION(entry_label,
	 "push %rbp\npush %rbx\n.globl label_inside\nlabel_inside: mov %rsp, %rbp\nleave\nret");
extern const char label_inside[];
extern const void *pointer, *label_table[1];
const void *pointer;
const void *label_table[1] = {label_inside};

static struct binary *binary;
static struct site_spec spec;
static const char *reason;

static const struct binary_function *find(const char *name)
{
	const struct binary_function *function = binary_find(binary, name);

	if (!function)
		printf("# no function %s\n", name);
	CHECK(function != NULL);
	return function;
}

static int plan(const char *name)
{
	const struct binary_function *function = find(name);

	return function ? binary_plan(binary, function, &spec, &reason) : -1;
}

static void accept(const char *name, enum site_kind kind, u8 length, u8 count)
{
	int err = plan(name);

	if (err)
		printf("# %s: %s\n", name, reason);
	CHECK_EQ(err, 0);
	CHECK_EQ(spec.kind, kind);
	CHECK_EQ(spec.displaced.length, length);
	CHECK_EQ(spec.displaced.count, count);
}

static void refuse(const char *name, const char *why)
{
	int err = plan(name);

	CHECK(err != 0);
	if (err && strcmp(reason, why))
		printf("# %s: %s\n", name, reason);
	CHECK(!err || !strcmp(reason, why));
}

static const struct displaced_insn *insn(u8 index, enum displaced_kind kind, const char *target)
{
	const struct displaced_insn *row = &spec.displaced.insns[index];

	CHECK_EQ(row->kind, kind);
	if (target)
		CHECK_EQ(row->target, find(target)->address);
	return row;
}

static void nops_are_sites(void)
{
	accept("entry_nop", SITE_NOP, 5, 1);
	CHECK_EQ(spec.address, find("entry_nop")->address);
	accept("entry_endbr_nop", SITE_NOP, 5, 1);
	CHECK_EQ(spec.function, find("entry_endbr_nop")->address);
	CHECK_EQ(spec.address, spec.function + 4);
	accept("entry_long_nop", SITE_WHOLE, 9, 1);
	accept("entry_single_nops", SITE_PROLOGUE, 5, 5);
}

static void plain_instructions_move(void)
{
	accept("entry_whole", SITE_WHOLE, 5, 1);
	accept("entry_prologue", SITE_PROLOGUE, 8, 3);
	CHECK_EQ(spec.displaced.insns[0].offset, 0);
	CHECK_EQ(spec.displaced.insns[1].offset, 1);
	CHECK_EQ(spec.displaced.insns[2].offset, 4);
	accept("entry_endbr_prologue", SITE_PROLOGUE, 8, 3);
	CHECK_EQ(spec.address, spec.function + 4);
	CHECK_EQ(spec.displaced.site, spec.address);
	accept("entry_locked", SITE_PROLOGUE, 5, 2);
	accept("entry_vector", SITE_PROLOGUE, 7, 2);
	accept("entry_evex", SITE_WHOLE, 6, 1);
	accept("entry_evex_scaled", SITE_WHOLE, 7, 1);
	insn(0, DISPLACED_PLAIN, NULL);
}

static void rip_relative_operands_are_spelled_out(void)
{
	accept("entry_rip_relative", SITE_PROLOGUE, 8, 2);
	CHECK_EQ(insn(1, DISPLACED_RIP_REL, "entry_nop")->field_off, 3);
	accept("entry_rip_immediate", SITE_WHOLE, 10, 1);
	CHECK_EQ(insn(0, DISPLACED_RIP_REL, "entry_nop")->field_off, 2);
	accept("entry_indirect_jump", SITE_WHOLE, 6, 1);
	insn(0, DISPLACED_RIP_REL, NULL);
	accept("entry_vector_relative", SITE_WHOLE, 8, 1);
	CHECK_EQ(insn(0, DISPLACED_RIP_REL, "entry_nop")->field_off, 4);
	accept("entry_evex_relative", SITE_WHOLE, 10, 1);
	CHECK_EQ(insn(0, DISPLACED_RIP_REL, "entry_nop")->field_off, 6);
	accept("entry_evex_broadcast", SITE_WHOLE, 10, 1);
	CHECK_EQ(insn(0, DISPLACED_RIP_REL, "entry_nop")->field_off, 6);
	accept("entry_locked_relative", SITE_WHOLE, 7, 1);
	CHECK_EQ(insn(0, DISPLACED_RIP_REL, NULL)->field_off, 3);
	accept("entry_locked_immediate", SITE_WHOLE, 8, 1);
	insn(0, DISPLACED_RIP_REL, NULL);
}

static void branches_are_spelled_out(void)
{
	accept("entry_call", SITE_WHOLE, 5, 1);
	insn(0, DISPLACED_CALL, "entry_nop");
	accept("entry_late_call", SITE_PROLOGUE, 9, 2);
	insn(1, DISPLACED_CALL, "entry_nop");
	accept("entry_jump", SITE_WHOLE, 5, 1);
	insn(0, DISPLACED_JUMP, "entry_nop");
	accept("entry_condition", SITE_PROLOGUE, 8, 2);
	CHECK_EQ(insn(1, DISPLACED_JCC, NULL)->condition, 4);
	CHECK_EQ(spec.displaced.insns[1].target, spec.function + 2 + 6 + 2 + 1 + 140);
	accept("entry_far_condition", SITE_PROLOGUE, 8, 2);
	CHECK_EQ(insn(1, DISPLACED_JCC, "entry_nop")->condition, 15);
	accept("entry_jrcxz", SITE_PROLOGUE, 5, 2);
	CHECK_EQ(insn(1, DISPLACED_LOOP, NULL)->condition, 0xe3);
	CHECK_EQ(spec.displaced.insns[1].target, spec.function + 8);
}

static void padding_may_be_covered(void)
{
	/* 31 c0 c3, then two int3: one instruction is on the way, and the second cannot be waited at. */
	accept("entry_return", SITE_PROLOGUE, 5, 4);
	accept("entry_short_jump", SITE_WHOLE, 5, 4);
	insn(0, DISPLACED_JUMP, NULL);
	/* One ret, in three spellings: nobody can be parked inside. */
	accept("entry_single_return", SITE_WHOLE, 5, 5);
	accept("entry_rep_return", SITE_WHOLE, 5, 4);
	accept("entry_return_pops", SITE_WHOLE, 5, 3);
	refuse("entry_tight", "shorter than 5 bytes and no padding");
	refuse("entry_short_flow", "other code follows a jump or return at +2");
	accept("entry_after_tight", SITE_WHOLE, 5, 1);
}

static void branches_into_the_window_are_found(void)
{
	refuse("entry_interior", "branch into the window at +1");
	refuse("entry_jumped_from_afar", "branch into the window at +1");
	refuse("entry_loop", "loop head at entry");
	refuse("entry_endbr_loop", "loop head at entry");
	refuse("entry_table", "jump table entry into the window at +1");
	refuse("entry_label", "branch into the window at +2");
	accept("entry_good_table", SITE_PROLOGUE, 10, 3);
}

static void what_cannot_move_is_refused(void)
{
	refuse("entry_syscall", "system call in the window at +2");
	refuse("entry_early_trap", "trap instruction in the window at +1");
	refuse("entry_debugger", "trap instruction in the window at +0");
	refuse("entry_indirect_call", "indirect call in the window at +1");
	refuse("entry_own_address", "call that reads its own address at +0");
	refuse("entry_in_sequence", "restartable sequence in the window");
	refuse("entry_runs_into_sequence", "restartable sequence in the window");
	accept("entry_before_sequence", SITE_PROLOGUE, 8, 3);
}

static void rebasing_moves_addresses_only(void)
{
	struct site_spec before;

	accept("entry_rip_relative", SITE_PROLOGUE, 8, 2);
	before = spec;
	binary_rebase(&spec, 0x10000);
	CHECK_EQ(spec.function, before.function + 0x10000);
	CHECK_EQ(spec.address, before.address + 0x10000);
	CHECK_EQ(spec.displaced.site, before.displaced.site + 0x10000);
	CHECK_EQ(spec.displaced.insns[1].target, before.displaced.insns[1].target + 0x10000);
	CHECK_EQ(spec.displaced.insns[0].target, 0);
	CHECK(!memcmp(spec.displaced.bytes, before.displaced.bytes,
		      sizeof(before.displaced.bytes)));
}

/* Every accepted recipe covers its window without a gap, with the file's own bytes. */
static void recipes_are_whole(void)
{
	size_t count, accepted = 0;
	const struct binary_function *functions = binary_functions(binary, &count);

	for (size_t i = 0; i < count; i++) {
		u8 bytes[DISPLACED_MAX_BYTES];
		u32 offset = 0;

		if (binary_plan(binary, &functions[i], &spec, &reason))
			continue;
		accepted++;
		for (u32 k = 0; k < spec.displaced.count; k++) {
			CHECK_EQ(spec.displaced.insns[k].offset, offset);
			offset += spec.displaced.insns[k].length;
		}
		CHECK_EQ(offset, spec.displaced.length);
		CHECK(offset >= 5);
		CHECK_EQ(binary_read(binary, spec.address, bytes, offset), 0);
		CHECK(!memcmp(bytes, spec.displaced.bytes, offset));
	}
	CHECK(accepted > 20);
}

int main(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (binary_open(fd, "/proc/self/exe", &binary)) {
		printf("Bail out! %s\n", binary_problem());
		return 1;
	}
	close(fd);
	RUN(nops_are_sites);
	RUN(plain_instructions_move);
	RUN(rip_relative_operands_are_spelled_out);
	RUN(branches_are_spelled_out);
	RUN(padding_may_be_covered);
	RUN(branches_into_the_window_are_found);
	RUN(what_cannot_move_is_refused);
	RUN(rebasing_moves_addresses_only);
	RUN(recipes_are_whole);
	binary_close(binary);
	return test_done();
}
