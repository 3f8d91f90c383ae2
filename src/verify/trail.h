/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a path came where it was refused, for the reason in words. A state remembers its last turns (jumps decided, calls,
 * returns); between two turns instructions follow each other, so the end of the path can be told again from them.
 */
#ifndef INLAY_VERIFY_TRAIL_H
#define INLAY_VERIFY_TRAIL_H

#include "verify/verify_priv.h"

/* The path went from one instruction to another where it could have gone elsewhere. */
void trail_note(struct state *state, u32 from, u32 to);

/* The last instructions of a path, oldest first. */
struct trail {
	u32 insns[256];
	u32 count;
};

/* Tells the path again that ends with the instruction env->insn; empty when none was walked. */
void trail_follow(const struct verifier *env, struct trail *ret_trail);

/*
 * The instruction of the path that gave the register the value it has at the path's end: copies are followed to what was copied,
 * arithmetic on a pointer to the pointer. UINT32_MAX: not on this part of the path, or in another function.
 */
u32 trail_origin(const struct verifier *env, const struct trail *trail, u32 reg, bool pointer);

#endif
