/* SPDX-License-Identifier: BSD-2-Clause */
/* Which constant a subprogram's loops had better find in a register. */
#ifndef INLAY_EXEC_JIT_NEAR_H
#define INLAY_EXEC_JIT_NEAR_H

#include "arch/jit_unit.h"

/* Sets near and its bit of used, if there is one. After jit_scan_needs. */
void jit_near(const struct jit_unit *unit, struct jit_sub *sub);

#endif
