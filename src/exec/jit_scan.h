/* SPDX-License-Identifier: BSD-2-Clause */
/* What the JIT must know of a program before it emits: its subprograms' needs, and its references as addresses. */
#ifndef INLAY_EXEC_JIT_SCAN_H
#define INLAY_EXEC_JIT_SCAN_H

#include "arch/jit_unit.h"
#include "exec/exec.h"

/* Where the image's subprograms are, one row each. The rest stays as it is. */
void jit_scan_bounds(const struct image_header *image, struct jit_sub *subs);
/* What each needs of registers and stack alignment. unit: instructions, targets and in_place are read. */
void jit_scan_needs(const struct jit_unit *unit, struct jit_sub *subs);
/* Does it make tail calls? Marks what C calls, and, where subprograms make some, callbacks. After jit_scan_bounds. */
bool jit_scan_tail_calls(const struct image_header *image, struct jit_sub *subs);
/* Fills one word an instruction. -EOPNOTSUPP: a reference that this environment lacks; -ENOENT: no such map. */
int jit_scan_values(const struct image_header *image, const struct exec_env *env, u64 *values);

#endif
