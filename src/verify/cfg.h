/* SPDX-License-Identifier: BSD-2-Clause */
/* The shape of a program: subprograms, edges, what is reachable. */
#ifndef INLAY_VERIFY_CFG_H
#define INLAY_VERIFY_CFG_H

#include "verify/verify_priv.h"

/* Finds subprograms; checks that jumps stay inside theirs. Fills env->subprogs. */
int cfg_subprogs(struct verifier *env);
/* Every instruction is reachable; loops only where they are allowed. Marks prune points. */
int cfg_check(struct verifier *env);

static inline bool cfg_is_jump(const struct bpf_insn *insn)
{
	u8 class = insn_class(insn);

	if (class != BPF_JMP && class != BPF_JMP32)
		return false;
	return insn_op(insn) != BPF_CALL && insn_op(insn) != BPF_EXIT;
}

static inline bool cfg_is_unconditional(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_JA) || insn->code == (BPF_JMP32 | BPF_JA);
}

static inline bool cfg_is_exit(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_EXIT);
}

static inline s64 cfg_jump_target(const struct bpf_insn *insn, u32 at)
{
	return (s64)at + 1 + (insn->code == (BPF_JMP32 | BPF_JA) ? insn->imm : insn->off);
}

/* Successors of an instruction inside its subprogram (calls go on behind). Returns their count (0, 1, 2). */
static inline u32 cfg_successors(const struct verifier *env, u32 at, u32 ret_next[2])
{
	const struct bpf_insn *insn = &env->insns[at];
	u32 count = 0;

	if (cfg_is_exit(insn))
		return 0;
	if (!cfg_is_jump(insn)) {
		ret_next[0] = at + (insn_is_ld_imm64(insn) ? 2 : 1);
		return 1;
	}
	if (!cfg_is_unconditional(insn))
		ret_next[count++] = at + 1;
	ret_next[count++] = (u32)cfg_jump_target(insn, at);
	return count;
}

#endif
