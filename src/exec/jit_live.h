/* SPDX-License-Identifier: BSD-2-Clause */
/* Which registers matter behind each instruction, and where control comes in from elsewhere. */
#ifndef INLAY_EXEC_JIT_LIVE_H
#define INLAY_EXEC_JIT_LIVE_H

#include "format/image.h"

/*
 * insns: the image's, or what has become of them (as many). targets: JIT_TARGET and so on of each; of the bits that are there,
 * those that say how a call is done stay.
 */
void jit_live_targets(const struct image_header *image, const struct bpf_insn *insns, u8 *targets);

/*
 * live[i]: bit per BPF register that some path reads after instruction i before it writes it, where what computes a value
 * that nobody reads counts for nothing. Arithmetic of that kind is taken out: it becomes a jump to the next instruction.
 */
void jit_live(const struct image_header *image, struct bpf_insn *insns, const u8 *targets,
	      u16 *live);

/* Takes an instruction of one or two slots out. */
void jit_live_take_out(struct bpf_insn *insn);

#endif
