/* SPDX-License-Identifier: BSD-2-Clause */
/* What there is of arm64: the JIT and what a patched word holds. Rows that are NULL answer -EOPNOTSUPP. */
#include <elf.h>

#include "arch/aarch64/a64.h"
#include "arch/aarch64/aarch64.h"

const struct arch arch_aarch64 = {
	.name = "aarch64",
	.elf_machine = EM_AARCH64,
	.limits = {.patch_size = 4, .branch_reach = A64_JUMP_REACH - 4},
	.jit =
		{
			.features = aarch64_features,
			.entry = aarch64_jit_entry,
			.prologue = aarch64_jit_prologue,
			.insn = aarch64_jit_insn,
			.epilogue = aarch64_jit_epilogue,
			.clobbers = aarch64_jit_clobbers,
		},
	.patch = {.encode = aarch64_patch_encode},
};
