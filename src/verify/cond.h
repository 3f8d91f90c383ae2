/* SPDX-License-Identifier: BSD-2-Clause */
/* Comparisons of scalars: is the jump taken, and what does each side then know? Pure; any thread. */
#ifndef INLAY_VERIFY_COND_H
#define INLAY_VERIFY_COND_H

#include "verify/scalar.h"

/* The negation of BPF_JSET, for cond_refine: no bit in common. Not an opcode. */
#define COND_JCLEAR 0xf1u

enum cond_outcome { COND_NEVER, COND_ALWAYS, COND_EITHER };

/* op: BPF_JEQ ... BPF_JSLE, BPF_JSET; bits: 64 or 32. */
enum cond_outcome cond_predict(const struct scalar *a, const struct scalar *b, u32 op, u32 bits);
/* Narrows a and b to values for which `a op b` holds. The result may be empty (scalar_is_empty). */
void cond_refine(struct scalar *a, struct scalar *b, u32 op, u32 bits);
/* The operation that holds when op does not. */
u32 cond_negate(u32 op);

#endif
