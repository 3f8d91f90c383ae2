/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walking a user stack from a hit: no frame pointers needed, no allocation, no lock, no libc; general registers only; safe
 * in a signal handler.
 */
#ifndef INLAY_UNWIND_WALK_H
#define INLAY_UNWIND_WALK_H

#include "base/types.h"
#include "format/unwind_table.h"

/* How memory is read, and what hooked return addresses stand for. */
struct unwind_env {
	/* 0 or -EFAULT */
	int (*read)(u64 address, u64 *ret_word);
	/* The return address that `value`, found at slot, stands for. */
	u64 (*resolve)(u64 slot, u64 value);
};

/* A frame: what its registers hold, and where it executes. */
struct unwind_frame {
	u64 ip;
	u64 regs[UNWIND_REGS];
	bool exact; /* ip is an instruction about to run, not the return address of a call */
};

/*
 * From a frame to its caller's. Returns 1; 0 at the end of the stack; -errno when the caller cannot be found (the frame
 * is left as it was). At a hit.
 */
int unwind_step(const struct unwind_env *env, struct unwind_frame *frame);

#endif
