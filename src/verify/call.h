/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames: calls of subprograms, callbacks of helpers, returns. */
#ifndef INLAY_VERIFY_CALL_H
#define INLAY_VERIFY_CALL_H

#include "verify/verify_priv.h"

/* BPF_CALL of a subprogram at env->insn. */
int call_subprog(struct verifier *env, const struct bpf_insn *insn, u32 *ret_next);
/* A helper that calls a subprogram any number of times (0 too). */
int call_callback(struct verifier *env, const struct bpf_insn *insn, u32 helper, u32 subprog,
		  const struct verify_map *map, u32 *ret_next);
/* BPF_EXIT. *ret_next: where the caller goes on; *ret_done: the program ended. */
int call_exit(struct verifier *env, u32 *ret_next, bool *ret_done);
/* Do programs of this type return numbers of a certain range only? */
bool call_checks_return(u32 prog_type);
/* After the search: frames and stack of every chain of calls. */
int call_check_depth(struct verifier *env);

#endif
