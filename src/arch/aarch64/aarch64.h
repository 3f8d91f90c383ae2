/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions behind arch_aarch64's rows; contracts are those of arch/arch.h. */
#ifndef INLAY_ARCH_AARCH64_AARCH64_H
#define INLAY_ARCH_AARCH64_AARCH64_H

#include "arch/arch.h"

/* features.c */
u32 aarch64_features(void);

/* jit.c */
int aarch64_jit_prologue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog);
int aarch64_jit_insn(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int aarch64_jit_epilogue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog);

/* jit_clobbers.c */
u32 aarch64_jit_clobbers(const struct jit_unit *unit);

/* jit_tail.c */
int aarch64_jit_entry(struct codebuf *buf, const struct jit_unit *unit);

/* patch.c */
int aarch64_patch_encode(u8 *bytes, enum patch_kind kind, u64 site, u64 target);

#endif
