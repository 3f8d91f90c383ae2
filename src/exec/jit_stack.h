/* SPDX-License-Identifier: BSD-2-Clause */
/* How much of its stack a subprogram needs. */
#ifndef INLAY_EXEC_JIT_STACK_H
#define INLAY_EXEC_JIT_STACK_H

#include "arch/jit_unit.h"

/*
 * Where the frame pointer serves loads and stores only, stores that nothing loads are taken out and sub->stack_depth becomes what
 * is left. Returns whether something was taken out. sub: start, end and stack_depth are read.
 */
bool jit_stack_trim(struct bpf_insn *insns, struct jit_sub *sub);

#endif
