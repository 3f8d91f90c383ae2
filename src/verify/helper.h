/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls of helpers: arguments against the prototype, effects, result. */
#ifndef INLAY_VERIFY_HELPER_H
#define INLAY_VERIFY_HELPER_H

#include "verify/verify_priv.h"

int helper_call(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next);

#endif
