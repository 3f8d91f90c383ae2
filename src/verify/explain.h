/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A rejection in words. Whoever rejects gives a cause and a few numbers; the sentences live in explain.c only.
 */
#ifndef INLAY_VERIFY_EXPLAIN_H
#define INLAY_VERIFY_EXPLAIN_H

#include "base/types.h"

enum why {
	WHY_NONE,
	WHY_BAD_INSN, /* not an instruction, or reserved bits are set */
	WHY_BAD_JUMP, /* control flow leaves the program */
	WHY_UNREACHABLE,
	WHY_BACK_EDGE,
	WHY_TOO_COMPLEX,
	WHY_INFINITE_LOOP,
	WHY_UNINIT_REG,
	WHY_FP_WRITE,
	WHY_UNINIT_STACK,
	WHY_STACK_BOUNDS,
	WHY_SPILL, /* a pointer was stored or loaded in part */
	WHY_POINTER_ARITH,
	WHY_POINTER_RANGE,
	WHY_NULL,
	WHY_NOT_POINTER,
	WHY_MAP_BOUNDS,
	WHY_MAP_ACCESS,
	WHY_PACKET_BOUNDS,
	WHY_MEM_BOUNDS,
	WHY_UNBOUNDED,
	WHY_NEGATIVE,
	WHY_CTX,
	WHY_READONLY,
	WHY_ALIGNMENT,
	WHY_LEAK,
	WHY_HELPER_UNKNOWN,
	WHY_HELPER_DENIED,
	WHY_HELPER_ARG,
	WHY_HELPER_SIZE,
	WHY_HELPER_MAP,
	WHY_GPL,
	WHY_CALL,
	WHY_CALL_DEPTH,
	WHY_TAIL_CALL,
	WHY_STACK_DEPTH,
	WHY_REFERENCE,
	WHY_LOCK,
	WHY_RETURN,
	WHY_MAP_FD,
	WHY_MIXED_POINTERS,
	WHY_DIVISION,
	WHY_UNSUPPORTED,
	WHY_MAX,
};

struct explain {
	enum why cause;
	u32 insn;
	s32 reg; /* -1: none */
};

struct verifier;

/*
 * Writes a line in the kernel's words to the log, keeps the cause of the first rejection, and returns error. The
 * line's last character is a newline that this function adds.
 */
int verify_reject(struct verifier *env, enum why cause, int reg, int error, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* Fills result->reason after a rejection. */
void explain_reason(struct verifier *env);

#endif
