/* SPDX-License-Identifier: BSD-2-Clause */
/* The shape of a program: subprograms, edges, what is reachable. */
#ifndef INLAY_VERIFY_CFG_H
#define INLAY_VERIFY_CFG_H

#include "verify/verify_priv.h"

/* Finds subprograms; checks that jumps stay inside theirs. Fills env->subprogs. */
int cfg_subprogs(struct verifier *env);
/* Every instruction is reachable; loops only where they are allowed. Marks prune points. */
int cfg_check(struct verifier *env);
/* Successors of an instruction inside its subprogram (calls go on behind). Returns their count (0, 1, 2). */
u32 cfg_successors(const struct verifier *env, u32 insn, u32 ret_next[2]);

#endif
