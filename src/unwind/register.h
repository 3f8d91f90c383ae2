/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Generated code made known to the C++ runtime of this process, so that _Unwind_Backtrace names callers through it and exceptions,
 * pthread_cancel and pthread_exit pass.
 *
 * The runtime is libgcc's unwinder: __register_frame_info and its counterpart, found by the loader. A runtime that arrives later is
 * told of at the next attachment. Agent thread.
 */
#ifndef INLAY_UNWIND_REGISTER_H
#define INLAY_UNWIND_REGISTER_H

#include "unwind/eh_frame.h"

struct unwind_runtime {
	u64 register_info;   /* void __register_frame_info(const void *begin, struct object *ob) */
	u64 deregister_info; /* void *__deregister_frame_info(const void *begin) */
};

/* How hooked returns are found; before anything is published. */
void unwind_register_init(const struct unwind_hooked *hooked);
/* From now on this runtime is told as well (a program may have two: one linked in, and libgcc_s). Known ones and those beyond
 * UNWIND_RUNTIMES are left alone. */
#define UNWIND_RUNTIMES 4
void unwind_register_runtime(const struct unwind_runtime *runtime);

#endif
