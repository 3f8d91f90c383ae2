/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers and conditions of arm64 by their encoding, and what the procedure call standard (AAPCS64) says about them. */
#ifndef INLAY_ARCH_AARCH64_REGS_H
#define INLAY_ARCH_AARCH64_REGS_H

#include "base/types.h"

enum a64_reg {
	A64_X0,
	A64_X1,
	A64_X2,
	A64_X3,
	A64_X4,
	A64_X5,
	A64_X6,
	A64_X7,
	A64_X8,
	A64_X9,
	A64_X10,
	A64_X11,
	A64_X12,
	A64_X17 = 17,
	A64_X18, /* the platform's */
	A64_X19,
	A64_X20,
	A64_X21,
	A64_X22,
	A64_X23,
	A64_FP = 29,
	A64_LR,
	A64_SP, /* as a base, and in additions of immediates */
	A64_ZR = 31,
};

#define A64_BIT(reg) (1u << (reg))

/* General registers that a called function may change: x0 to x17 and the link register. */
#define A64_CALLER_SAVED (0x3ffffu | A64_BIT(A64_LR))

enum a64_cond {
	A64_EQ,
	A64_NE,
	A64_HS,
	A64_LO,
	A64_MI,
	A64_PL,
	A64_VS,
	A64_VC,
	A64_HI,
	A64_LS,
	A64_GE,
	A64_LT,
	A64_GT,
	A64_LE,
};

#endif
