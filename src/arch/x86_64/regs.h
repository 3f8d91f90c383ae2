/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers of x86-64 by their encoding, and what the System V ABI says about them. */
#ifndef INLAY_ARCH_X86_64_REGS_H
#define INLAY_ARCH_X86_64_REGS_H

#include "base/types.h"

enum x86_reg {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
};

#define X86_BIT(reg) (1u << (reg))

/* General registers that a called function may change. */
#define X86_CALLER_SAVED                                                                           \
	(X86_BIT(X86_RAX) | X86_BIT(X86_RCX) | X86_BIT(X86_RDX) | X86_BIT(X86_RSI) |               \
	 X86_BIT(X86_RDI) | X86_BIT(X86_R8) | X86_BIT(X86_R9) | X86_BIT(X86_R10) |                 \
	 X86_BIT(X86_R11))

/* Low nibble of Jcc, SETcc and CMOVcc. */
enum x86_cond {
	X86_CC_O,
	X86_CC_NO,
	X86_CC_B,
	X86_CC_AE,
	X86_CC_E,
	X86_CC_NE,
	X86_CC_BE,
	X86_CC_A,
	X86_CC_S,
	X86_CC_NS,
	X86_CC_P,
	X86_CC_NP,
	X86_CC_L,
	X86_CC_GE,
	X86_CC_LE,
	X86_CC_G,
};

#endif
