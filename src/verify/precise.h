/* SPDX-License-Identifier: BSD-2-Clause */
/* Which registers and slots a path may still read, and of which the exact value may matter. */
#ifndef INLAY_VERIFY_PRECISE_H
#define INLAY_VERIFY_PRECISE_H

#include "verify/verify_priv.h"

/* Fills live, exact, live_slots and exact_slots of every instruction. 0 or -ENOMEM. */
int precise_analyse(struct verifier *env);
/* A path takes one side of the jump at insn without exploring the other: its operands are exact from now on. */
void precise_predicted(struct verifier *env, u32 insn);
/* Brings the facts up to date with the predictions made so far. To be called before states are compared. */
void precise_refresh(struct verifier *env);

#endif
