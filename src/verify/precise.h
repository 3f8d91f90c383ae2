/* SPDX-License-Identifier: BSD-2-Clause */
/* Which registers and slots a path may still read, and of which the exact value may matter. */
#ifndef INLAY_VERIFY_PRECISE_H
#define INLAY_VERIFY_PRECISE_H

#include "verify/verify_priv.h"

/* Fills live, exact, live_slots and exact_slots of every instruction. 0 or -ENOMEM. */
int precise_analyse(struct verifier *env);

#endif
