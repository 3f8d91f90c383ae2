/* SPDX-License-Identifier: BSD-2-Clause */
/* ALU and ALU64 instructions on the running frame's registers. */
#ifndef INLAY_VERIFY_ALU_H
#define INLAY_VERIFY_ALU_H

#include "verify/verify_priv.h"

int alu_step(struct verifier *env, const struct bpf_insn *insn);
/* Gives an unknown-valued scalar an id before it is copied, so that the copies learn together. */
void alu_link_scalar(struct verifier *env, struct reg *reg);

enum reg_use { REG_READ, REG_WRITE };
/* May the instruction read (write) this register? Rejects otherwise. */
int alu_check_reg(struct verifier *env, u32 regno, enum reg_use use);

#endif
