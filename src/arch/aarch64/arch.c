/* SPDX-License-Identifier: BSD-2-Clause */
/* What is known of arm64 so far: its patch size and reach. Rows that are NULL answer -EOPNOTSUPP. */
#include <elf.h>

#include "arch/arch.h"

const struct arch arch_aarch64 = {
	.name = "aarch64",
	.elf_machine = EM_AARCH64,
	.limits = {.patch_size = 4, .branch_reach = (128 << 20) - 4},
};
