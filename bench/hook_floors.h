/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-written trampolines that bench/hook measures ours beside: what each way costs at least, when the program is one
 * ret. All save the six argument registers or, at a return, the two of results; those with a guard find a per-thread record,
 * mark the thread inside and outside, and keep the program from running inside itself.
 *
 * floor_exit_guard keeps returns on a stack per thread and checks that the entry is the slot's; it survives no longjmp.
 *
 * Three ways to reach a program from many functions: a trampoline each; one common entry that loads a pointer in front of the
 * function (per-site ops); one that looks the function's address up.
 */
#ifndef INLAY_BENCH_HOOK_FLOORS_H
#define INLAY_BENCH_HOOK_FLOORS_H

#include "base/types.h"

#define MANY 256

/* nest, active program bits, top of the stack of returns. */
struct floor_record {
	u64 nest, active;
	u64 *top;
	u64 returns[64];
};

extern __thread struct floor_record *floor_reader;
__thread struct floor_record *floor_reader;

/* address, program; filled by main. A power of two, twice as many as functions. */
u64 floor_table[2 * MANY][2];

__asm__(".text\n"
	".macro victim name\n"
	".balign 64\n\\name:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nret\n"
	".endm\n"
	".macro save\npush %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\n.endm\n"
	".macro restore\npop %r9\npop %r8\npop %rcx\npop %rdx\npop %rsi\npop %rdi\n.endm\n"
	".macro mark\nmov floor_reader@gottpoff(%rip), %r11\nmov %fs:(%r11), %r11\nincq (%r11)\n"
	".endm\n"
	/* rsp is 8 off 16 here; the record is in r11 before and after. */
	".macro guarded\ntestb $1, 8(%r11)\njnz 1f\norb $1, 8(%r11)\npush %r11\ncall empty\n"
	"pop %r11\nandb $0xfe, 8(%r11)\n1:\n.endm\n"
	".balign 64\nempty:\nret\n"
	".balign 64\nfloor_entry:\ncall floor_tramp\nret\n"
	".balign 64\nfloor_tramp:\nsave\ncall empty\nrestore\nret\n"
	".balign 64\nfloor_jump:\njmp floor_jump_tramp\nfloor_jump_back:\nret\n"
	".balign 64\nfloor_jump_tramp:\nsub $8, %rsp\nsave\ncall empty\nrestore\nadd $8, %rsp\n"
	"jmp floor_jump_back\n"
	".balign 64\nfloor_entry_guard:\ncall floor_entry_guard_tramp\nret\n"
	".balign 64\nfloor_entry_guard_tramp:\nsave\nsub $8, %rsp\nmark\nguarded\n"
	"decq (%r11)\nadd $8, %rsp\nrestore\nret\n"
	".balign 64\nfloor_guard:\njmp floor_guard_tramp\nfloor_guard_back:\nret\n"
	".balign 64\nfloor_guard_tramp:\nsave\nmark\nguarded\ndecq (%r11)\nrestore\n"
	"jmp floor_guard_back\n");

/* Exits: the return address taken, or the function called. */
__asm__(".text\n"
	".balign 64\nfloor_exit:\njmp floor_exit_tramp\nfloor_exit_back:\nret\n"
	".balign 64\nfloor_exit_tramp:\npop kept_return(%rip)\nlea floor_landing(%rip), %r11\n"
	"push %r11\njmp floor_exit_back\n"
	".balign 64\nfloor_landing:\npush %rax\npush %rdx\ncall empty\npop %rdx\npop %rax\n"
	"jmp *kept_return(%rip)\n"
	".local kept_return\n.comm kept_return, 8, 8\n"
	".balign 64\nfloor_exit_guard:\njmp floor_exit_guard_tramp\nfloor_exit_guard_back:\nret\n"
	".balign 64\nfloor_exit_guard_tramp:\nmark\npush %rax\npush %rcx\n"
	"mov 16(%r11), %rax\nmov 16(%rsp), %rcx\nmov %rcx, 8(%rax)\n"
	"lea 16(%rsp), %rcx\nmov %rcx, (%rax)\nadd $16, %rax\nmov %rax, 16(%r11)\n"
	"lea floor_guard_landing(%rip), %rcx\nmov %rcx, 16(%rsp)\npop %rcx\npop %rax\n"
	"decq (%r11)\njmp floor_exit_guard_back\n"
	".balign 64\nfloor_guard_landing:\nlea -8(%rsp), %rsp\nmark\npush %rax\npush %rdx\n"
	"mov 16(%r11), %rdx\nlea 16(%rsp), %rax\ncmp %rax, -16(%rdx)\njne 2f\n"
	"mov -8(%rdx), %rax\nmov %rax, 16(%rsp)\nsub $16, %rdx\nmov %rdx, 16(%r11)\n"
	"guarded\ndecq (%r11)\npop %rdx\npop %rax\nlea 8(%rsp), %rsp\njmp *-8(%rsp)\n2: ud2\n"
	".balign 64\nfloor_call:\njmp floor_call_tramp\nfloor_call_back:\nret\n"
	".balign 64\nfloor_call_tramp:\nsub $8, %rsp\nsave\ncall empty\nrestore\n"
	"call floor_call_back\npush %rax\npush %rdx\ncall empty\npop %rdx\npop %rax\n"
	"add $8, %rsp\nret\n"
	".balign 64\nfloor_fexit_guard:\njmp floor_fexit_guard_tramp\nfloor_fexit_guard_back:\nret\n"
	".balign 64\nfloor_fexit_guard_tramp:\nsub $8, %rsp\nsave\ncall floor_fexit_guard_back\n"
	"mark\npush %rax\npush %rdx\nsub $8, %rsp\nguarded\ndecq (%r11)\nadd $8, %rsp\n"
	"pop %rdx\npop %rax\nadd $56, %rsp\nret\n"
	".balign 64\nfloor_typed_guard:\njmp floor_typed_guard_tramp\nfloor_typed_guard_back:\nret\n"
	".balign 64\nfloor_typed_guard_tramp:\nsave\nmark\nguarded\ndecq (%r11)\nrestore\n"
	"sub $8, %rsp\ncall floor_typed_guard_back\n"
	"mark\npush %rax\npush %rdx\nsub $8, %rsp\nguarded\ndecq (%r11)\nadd $8, %rsp\n"
	"pop %rdx\npop %rax\nadd $8, %rsp\nret\n");

/* Many functions, and one that calls each of them once. */
__asm__(".text\n"
	".macro caller name\n.balign 64\ncall_\\name:\nsub $8, %rsp\n.set at, \\name\n"
	".rept 256\ncall at\n.set at, at + 64\n.endr\nadd $8, %rsp\nret\n.endm\n"
	".balign 64\nmany_bare:\n.rept 256\n.balign 64\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nret\n.endr\n"
	".balign 64\nmany_probed:\n.rept 256\n.balign 64\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nret\n"
	".endr\n"
	".balign 64\nmany_direct:\n.set at, many_direct_tramps\n.rept 256\n.balign 64\ncall at\nret\n"
	".set at, at + 64\n.endr\n"
	".balign 64\nmany_direct_tramps:\n.rept 256\n.balign 64\nsave\ncall empty\nrestore\nret\n.endr\n"
	/* The pointer is in front of the function, as -fpatchable-function-entry leaves room for it; here a distance. */
	".balign 64\n.skip 56\n.quad empty - ops_tramp\n"
	"many_ops:\n.rept 256\n.balign 64\ncall ops_tramp\nret\n.skip 50\n.quad empty - ops_tramp\n.endr\n"
	".balign 64\nops_tramp:\nmov (%rsp), %r11\nmov -13(%r11), %r11\nsave\n"
	"lea ops_tramp(%rip), %rdx\nadd %rdx, %r11\ncall *%r11\nrestore\nret\n"
	".balign 64\nmany_lookup:\n.rept 256\n.balign 64\ncall lookup_tramp\nret\n.endr\n"
	".balign 64\nlookup_tramp:\npush %rax\nmov 8(%rsp), %rax\nsub $5, %rax\n"
	"mov %eax, %r11d\nshr $6, %r11d\nand $511, %r11d\nshl $4, %r11d\npush %rcx\n"
	"lea floor_table(%rip), %rcx\nadd %rcx, %r11\npop %rcx\n"
	"1: cmp %rax, (%r11)\nje 2f\nadd $16, %r11\njmp 1b\n"
	"2: pop %rax\nsave\ncall *8(%r11)\nrestore\nret\n"
	"caller many_bare\ncaller many_probed\ncaller many_direct\ncaller many_ops\n"
	"caller many_lookup\n");

extern const char floor_entry[], floor_jump[], floor_entry_guard[], floor_guard[], floor_exit[],
	floor_exit_guard[], floor_call[], floor_fexit_guard[], floor_typed_guard[], empty[],
	many_probed[], many_lookup[], call_many_bare[], call_many_probed[], call_many_direct[],
	call_many_ops[], call_many_lookup[];

static inline void floor_init(void)
{
	static struct floor_record record;

	record.top = record.returns;
	floor_reader = &record;
	for (u32 i = 0; i < MANY; i++) {
		u64 address = ptr_to_u64(many_lookup + 64 * i);
		u32 at = (u32)(address >> 6) % (2 * MANY);

		floor_table[at][0] = address;
		floor_table[at][1] = ptr_to_u64(empty);
	}
}

#endif
