/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions to probe in the test's own process, with hand-written recipes, and what attaches to them. */
#ifndef INLAY_TESTS_UNIT_HOOK_VICTIMS_H
#define INLAY_TESTS_UNIT_HOOK_VICTIMS_H

#include <errno.h>
#include <stdlib.h>

#include "arch/trampoline.h"
#include "format/bpf_abi.h"
#include "format/image.h"
#include "hook/hook.h"
#include "sync/reader.h"
#include "test.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN true
#else
#define UNDER_TSAN false
#endif

/* What a C program may change, and all words of the context. */
#define ALL_REGISTERS 0xfffu
#define ALL_WORDS     0x1fffffu

#define NOP_AT_ENTRY  __attribute__((noipa, patchable_function_entry(5, 0), aligned(16)))

/* 55 | 48 89 e5 | 8d 04 77: push, mov, lea eax, [rdi + 2 * rsi]; pop; ret. offset: how far behind a 16-byte boundary. */
#define PROLOGUE_VICTIM(name, offset)                                                              \
	int name(int a, int b);                                                                    \
	__asm__(".text\n.balign 64\n.skip " #offset ", 0x90\n.globl " #name "\n.type " #name       \
		", @function\n" #name ":\n"                                                        \
		"push %rbp\nmov %rsp, %rbp\nlea (%rdi,%rsi,2), %eax\npop %rbp\nret\n"              \
		".size " #name ", .-" #name "\n")

static inline struct site_spec nop_site(const void *function)
{
	struct site_spec spec = {.function = ptr_to_u64(function), .kind = SITE_NOP};

	spec.address = spec.function;
	/* gcc writes five single NOPs where the assembler may have merged them. */
	spec.displaced.site = spec.address;
	spec.displaced.length = 5;
	memcpy(spec.displaced.bytes, function, 5);
	return spec;
}

static inline struct site_spec prologue_site(const void *function)
{
	static const u8 offsets[] = {0, 1, 4}, lengths[] = {1, 3, 3};
	struct site_spec spec = {.function = ptr_to_u64(function), .kind = SITE_PROLOGUE};

	spec.address = spec.function;
	spec.displaced.site = spec.address;
	spec.displaced.length = 7;
	spec.displaced.count = 3;
	memcpy(spec.displaced.bytes, function, 7);
	for (int i = 0; i < 3; i++) {
		spec.displaced.insns[i].offset = offsets[i];
		spec.displaced.insns[i].length = lengths[i];
	}
	return spec;
}

static inline struct hook_attach attachment(struct site_spec site, enum hook_side side,
					    u64 (*program)(struct abi_pt_regs_x86_64 *), u32 slot)
{
	return (struct hook_attach){
		.site = site,
		.side = side,
		.program = {.entry = ptr_to_u64((const void *)program),
			    .slot = slot,
			    .clobbers = ALL_REGISTERS,
			    .ctx_words = ALL_WORDS,
			    .facts = IMAGE_FACT_FUNC_IP | IMAGE_FACT_COOKIE | IMAGE_FACT_STACK},
		.cookie = 0x1122334455660000ull + slot,
	};
}

static inline const struct hit *hit_of(const struct abi_pt_regs_x86_64 *regs)
{
	return (const struct hit *)(const void *)((const char *)regs - offsetof(struct hit, regs));
}

/* For tests in which no other thread runs the victim. */
static inline int stop_nobody(void *opaque, const struct poke *pokes, u32 count)
{
	(void)opaque;
	(void)pokes;
	(void)count;
	return 0;
}

static inline void resume_nobody(void *opaque)
{
	(void)opaque;
}

static const struct poke_stopper nobody_runs = {.stop = stop_nobody, .resume = resume_nobody};

#endif
