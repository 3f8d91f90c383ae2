/* SPDX-License-Identifier: BSD-2-Clause */
/* Running a program in this process. Private to object/. */
#ifndef INLAY_OBJECT_RUN_H
#define INLAY_OBJECT_RUN_H

#include "object/objects.h"

/*
 * Runs the program repeat times with this context. *ret_value: of the last run; *ret_ns: mean nanoseconds of one. Words of
 * struct hit must lie in front of ctx (run_alloc_context). 0, -ENOENT (one of its maps is gone), -ENOMEM or -EBUSY.
 */
int run_program(struct object *program, void *ctx, u32 repeat, u32 *ret_value, u32 *ret_ns);

/* Zeroed memory for a context, with what helpers expect in front of it. Free with run_free_context. NULL: no memory. */
void *run_alloc_context(size_t size);
void run_free_context(void *ctx);

#endif
