/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions behind arch_x86_64's rows; contracts are those of arch/arch.h. */
#ifndef INLAY_ARCH_X86_64_X86_64_H
#define INLAY_ARCH_X86_64_X86_64_H

#include "arch/arch.h"

void x86_64_jit_align(struct codebuf *buf);

/* features.c */
u32 x86_64_jit_features(void);

/* jit_tail.c */
int x86_64_jit_entry(struct codebuf *buf, const struct jit_unit *unit);

/* jit.c */
int x86_64_jit_prologue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog);
int x86_64_jit_insn(struct codebuf *buf, const struct jit_unit *unit, u32 index);
int x86_64_jit_epilogue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog);
u32 x86_64_jit_clobbers(const struct jit_unit *unit);

/* patch.c */
int x86_64_patch_encode(u8 *bytes, enum patch_kind kind, u64 site, u64 target);
void x86_64_patch_veneer(u8 *bytes, u64 target);

/* relocate.c */
int x86_64_relocate_copy(struct codebuf *buf, struct displaced *displaced);
/* The instructions [first, end); copy_offsets are from where the first goes. */
int x86_64_relocate_part(struct codebuf *buf, struct displaced *displaced, u32 first, u32 end);

/* trampoline.c, trampoline_stub.c */
#define X86_64_FRAME_SIZE 208 /* of an image; struct hit is at its bottom */
int x86_64_trampoline_stub(struct codebuf *buf, struct stub_spec *spec);
int x86_64_trampoline_image(struct codebuf *buf, const struct trampoline_spec *spec);

#endif
