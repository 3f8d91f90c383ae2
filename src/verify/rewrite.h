/* SPDX-License-Identifier: BSD-2-Clause */
/* Before the search: constants that name objects. After it: instructions as format/image.h wants them. */
#ifndef INLAY_VERIFY_REWRITE_H
#define INLAY_VERIFY_REWRITE_H

#include "verify/verify_priv.h"

/* Finds the maps that LD_IMM64 instructions name, and checks opcodes, before anything is walked. */
int rewrite_resolve(struct verifier *env);
/* After success: map indices, packet pointer loads, dead code; fills the result. */
int rewrite_program(struct verifier *env);

#endif
