/* SPDX-License-Identifier: BSD-2-Clause */
/* Conditional jumps: which sides are possible, and what each side learns. */
#ifndef INLAY_VERIFY_BRANCH_H
#define INLAY_VERIFY_BRANCH_H

#include "verify/verify_priv.h"

/*
 * Walks a conditional jump at env->insn. Sets *ret_next to where this path goes on; when both sides are possible the other
 * one is pushed. 0 or -errno.
 */
int branch_step(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next);

#endif
