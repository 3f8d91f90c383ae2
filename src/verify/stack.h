/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes of the stack: what is spilled where, what was written, and who may read it. */
#ifndef INLAY_VERIFY_STACK_H
#define INLAY_VERIFY_STACK_H

#include "verify/verify_priv.h"

enum stack_access { STACK_READ, STACK_WRITE };

/* Is [ptr + off, + size) inside the stack for every value of ptr's variable part? 0, -EACCES or -EINVAL. */
int stack_check_bounds(struct verifier *env, int regno, s32 off, s64 size,
		       enum stack_access access);
/*
 * A store of size bytes through regno at off. value is the register stored, or NULL for what constant says (known,
 * as an immediate) or for unknown data (constant NULL).
 */
int stack_write(struct verifier *env, int regno, s32 off, u32 size, const struct reg *value);
/* A load into dst (-1: only checked). dst is a register number of the running frame. */
int stack_read(struct verifier *env, int regno, s32 off, u32 size, int dst);

enum stack_helper { STACK_HELPER_READS, STACK_HELPER_WRITES };
/* A helper accesses [regno, + size). Bytes that it writes become unknown data. */
int stack_helper_access(struct verifier *env, int regno, s64 size, enum stack_helper mode,
			bool zero_ok);

/* Number of bytes of the slot's spilled register; 0: none. */
u32 stack_spill_size(const struct slot *slot);

#endif
