/* SPDX-License-Identifier: BSD-2-Clause */
#include <elf.h>

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
			.prologue = x86_64_jit_prologue,
			.insn = x86_64_jit_insn,
			.epilogue = x86_64_jit_epilogue,
			.clobbers = x86_64_jit_clobbers,
		},
	.trampoline = {.stub = x86_64_trampoline_stub,
		       .image = x86_64_trampoline_image,
		       .hit_offset = -X86_64_FRAME_SIZE},
	.patch = {.encode = x86_64_patch_encode},
	.relocate = {.copy = x86_64_relocate_copy},
};
