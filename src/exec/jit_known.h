/* SPDX-License-Identifier: BSD-2-Clause */
/* Which calls can be done in place, and which branches go one way, by what straight code says of registers and stack. */
#ifndef INLAY_EXEC_JIT_KNOWN_H
#define INLAY_EXEC_JIT_KNOWN_H

#include "arch/jit_unit.h"
#include "exec/exec.h"

/* Helper calls in the program: as many struct jit_in_place may be needed. */
u32 jit_known_calls(const struct image_header *image);

/*
 * Marks calls that can be done in place in targets, fills one row of in_place and the word of values for each, and makes branches
 * whose condition is known jumps, always or to the next instruction. targets: as jit_live_targets has left them. Returns
 * how many calls are done in place; -ENOMEM.
 */
int jit_known(const struct exec_env *env, struct jit_unit *unit, struct bpf_insn *insns,
	      u8 *targets, u64 *values, struct jit_in_place *in_place);

#endif
