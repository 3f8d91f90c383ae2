/* SPDX-License-Identifier: BSD-2-Clause */
/* The search: a worklist of paths, walked depth first. */
#ifndef INLAY_VERIFY_WALK_H
#define INLAY_VERIFY_WALK_H

#include "verify/verify_priv.h"

/* Copies the current path so that insn is explored later. NULL: rejected, see *ret_error (-E2BIG, -ENOMEM). */
struct state *walk_push(struct verifier *env, u32 insn, u32 prev_insn, int *ret_error);
/* Explores every path from the program's first instruction. */
int walk_program(struct verifier *env);
/* Frees paths and checkpoints, also after an error. */
void walk_done(struct verifier *env);

#endif
