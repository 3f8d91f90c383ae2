/* SPDX-License-Identifier: BSD-2-Clause */
/* Stacks as people read them: a line a frame, innermost first, `module`function+0xoffset`. */
#ifndef INLAY_CLI_PRINT_STACK_H
#define INLAY_CLI_PRINT_STACK_H

#include <stdio.h>

#include "base/types.h"

struct process;

/*
 * Addresses up to the first that is 0. A frame is named by its call, the instruction before the return address; without symbols it is
 * `module`0xADDRESS` (the file's) or 0xADDRESS. process NULL: addresses alone.
 */
void print_stack_text(FILE *out, struct process *process, const char *indent, const u64 *addresses,
		      u32 count);
/* An array of strings. */
void print_stack_json(FILE *out, struct process *process, const u64 *addresses, u32 count);

#endif
