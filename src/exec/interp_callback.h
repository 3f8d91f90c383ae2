/* SPDX-License-Identifier: BSD-2-Clause */
/* C functions that stand for subprograms which the interpreter's helpers call back. Private to exec/. */
#ifndef INLAY_EXEC_INTERP_CALLBACK_H
#define INLAY_EXEC_INTERP_CALLBACK_H

#include "exec/exec.h"

/* Subprograms that one run may hand to helpers. */
#define INTERP_CALLBACKS 8

/* A function that calls interp_callback with this number. number < INTERP_CALLBACKS. */
exec_helper_fn interp_callback_function(u32 number);

/* Runs the subprogram that the thread's innermost run of the interpreter has under this number (interp.c). */
u64 interp_callback(u32 number, const u64 *args);

#endif
