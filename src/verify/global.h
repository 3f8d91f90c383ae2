/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Global functions: proved once, for any arguments that their BTF prototype admits, and believed at each call. What a caller gets
 * back is some number. Only those that something calls are looked at. (Kernel: btf_prepare_func_args, btf_check_func_arg_match.)
 */
#ifndef INLAY_VERIFY_GLOBAL_H
#define INLAY_VERIFY_GLOBAL_H

#include "verify/verify_priv.h"

/* Which subprograms are global, by BTF; without it none is. Subprograms are known, nothing else yet. */
void global_find(struct verifier *env);
/* A call of a global subprogram at env->insn: arguments against the prototype, then the result. */
int global_call(struct verifier *env, u32 subprog, u32 *ret_next);
/* The arguments as the function may find them, in the registers of the running frame, which is its own. */
void global_enter(struct verifier *env, u32 subprog);
/* A called subprogram that is not proved yet; UINT32_MAX: none. It counts as proved from now on. */
u32 global_next(struct verifier *env);

#endif
