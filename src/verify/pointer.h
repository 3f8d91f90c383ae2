/* SPDX-License-Identifier: BSD-2-Clause */
/* Pointer kinds: which arithmetic each allows, and what offsets may be added. */
#ifndef INLAY_VERIFY_POINTER_H
#define INLAY_VERIFY_POINTER_H

#include "verify/verify_priv.h"

/* dst = pointer op number (or number + pointer); regnos for messages. dst may be either operand. */
int pointer_arith(struct verifier *env, const struct bpf_insn *insn, int dst,
		  const struct reg *pointer, int pointer_no, const struct reg *number);
/* Is this value a pointer as far as this program may know (leak rules)? */
bool pointer_is_secret(const struct verifier *env, const struct reg *reg);
/* The pointer must be exactly where it came from (a context, a released object). */
int pointer_check_unmoved(struct verifier *env, const struct reg *reg, int regno, bool fixed_ok);
/* "+=", "-=", ...: the operator of an ALU operation. */
const char *pointer_operator(u32 op);

#endif
