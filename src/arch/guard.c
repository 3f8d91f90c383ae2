/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/guard.h"

#include <ucontext.h>

/* The linker's bounds of the section; absent (and equal) in a program without guarded loads. */
extern const struct guard_entry __start_inlay_guard[] __attribute__((weak, visibility("hidden")));
extern const struct guard_entry __stop_inlay_guard[] __attribute__((weak, visibility("hidden")));

static u64 resolve(const s32 *word)
{
	return ptr_to_u64(word) + (u64)(s64)*word;
}

u64 guard_fixup(u64 pc)
{
	for (const struct guard_entry *entry = __start_inlay_guard; entry < __stop_inlay_guard;
	     entry++) {
		if (resolve(&entry->insn) == pc)
			return resolve(&entry->fixup);
	}
	return 0;
}

u64 *guard_frame_pc(void *ucontext)
{
	ucontext_t *frame = ucontext;

#if defined(__x86_64__)
	return (u64 *)&frame->uc_mcontext.gregs[REG_RIP];
#else
	return (u64 *)&frame->uc_mcontext.pc;
#endif
}

#if defined(__x86_64__)
/* Unwinders know a signal frame by exactly these instructions. */
__asm__(".pushsection .text\n"
	".balign 16\n"
	"nop\n" /* unwinders look one byte before a return address */
	".hidden inlay_guard_sigreturn\n"
	".globl inlay_guard_sigreturn\n"
	".type inlay_guard_sigreturn, @function\n"
	"inlay_guard_sigreturn:\n"
	"movq $15, %rax\n"
	"syscall\n"
	".size inlay_guard_sigreturn, . - inlay_guard_sigreturn\n"
	".popsection\n");
extern char inlay_guard_sigreturn[];

void *guard_restorer(void)
{
	return inlay_guard_sigreturn;
}
#else
void *guard_restorer(void)
{
	return NULL;
}
#endif
