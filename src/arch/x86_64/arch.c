/* SPDX-License-Identifier: BSD-2-Clause */
#include <elf.h>

#include "arch/x86_64/regs.h"
#include "arch/x86_64/x86_64.h"

const struct arch arch_x86_64 = {
	.name = "x86_64",
	.elf_machine = EM_X86_64,
	.limits = {.patch_size = 5,
		   .branch_reach = INT32_MAX,
		   .spin_size = 2,
		   .spin = {0xeb, 0xfe}},
	.jit =
		{
			.features = x86_64_jit_features,
			.entry = x86_64_jit_entry,
			.prologue = x86_64_jit_prologue,
			.insn = x86_64_jit_insn,
			.epilogue = x86_64_jit_epilogue,
			.align = x86_64_jit_align,
			.blinds = true,
			.reduces = true,
			.clobbers = x86_64_jit_clobbers,
		},
	.trampoline = {.stub = x86_64_trampoline_stub,
		       .image = x86_64_trampoline_image,
		       .hit_offset = -X86_64_FRAME_SIZE},
	.patch = {.encode = x86_64_patch_encode, .veneer = x86_64_patch_veneer},
	.relocate = {.copy = x86_64_relocate_copy},
	/* rsp, rbp, rbx, r12 to r15 */
	.frame = {.count = 7,
		  .return_column = 16,
		  .dwarf = {7, 6, 3, 12, 13, 14, 15},
		  .encoder = {X86_RSP, X86_RBP, X86_RBX, X86_R12, X86_R13, X86_R14, X86_R15},
		  .hit_word = {19, 4, 5, 3, 2, 1, 0},
		  .hit_ip = 16,
		  .signal_reg = {160, 120, 128, 72, 80, 88, 96},
		  .signal_ip = 168},
};
