/* SPDX-License-Identifier: BSD-2-Clause */
/* Constants that a program chooses must not be found in its code, where they could be run as instructions. */
#ifndef INLAY_EXEC_JIT_BLIND_H
#define INLAY_EXEC_JIT_BLIND_H

#include "arch/jit_unit.h"

/* Marks instructions with such constants JIT_BLINDED; those with one in imm take it from JIT_BLIND_REG, and it is in values. */
void jit_blind(struct bpf_insn *insns, u32 count, u8 *targets, u64 *values);

#endif
