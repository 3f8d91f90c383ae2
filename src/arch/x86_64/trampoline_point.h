/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of stubs and images for points in the middle of a function. Private to x86_64/. */
#ifndef INLAY_ARCH_X86_64_TRAMPOLINE_POINT_H
#define INLAY_ARCH_X86_64_TRAMPOLINE_POINT_H

#include "arch/trampoline.h"
#include "base/codebuf.h"

/* The stub's first part: instructions in front of the point, then a frame as at a function's entry. 0 or -EINVAL. */
int x86_64_point_enter(struct codebuf *buf, const struct stub_spec *spec);
/* Takes the frame back: from r11 as the stub kept it. */
void x86_64_point_leave(struct codebuf *buf);
/* The instructions behind the point; start: of the stub in buf. Copy offsets are from spec->ret_displaced, signed. */
int x86_64_point_displaced(struct codebuf *buf, const struct stub_spec *spec, u32 start);

/* Words of the context that are in that frame. */
enum point_word {
	POINT_SP,
	POINT_R11,
	POINT_FLAGS,
};
/* Stores one at rsp + to, changing rax; kept: where, from rsp, the stub keeps r11. */
void x86_64_point_word(struct codebuf *buf, enum point_word word, s32 kept, s32 to);

#endif
