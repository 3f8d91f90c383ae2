/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Generated code made known to debuggers, by the interface that gdb and lldb have for JIT compilers: a list of symbol files in memory
 * (here: one), behind a variable that they know by name, and a function that they stop at when it changes.
 *
 * They find both by the symbols of the file that this is linked into.
 */
#ifndef INLAY_UNWIND_DEBUGGER_H
#define INLAY_UNWIND_DEBUGGER_H

#include "unwind/eh_frame.h"

/* From now on at each publication of code_map. May be called again. Agent thread. */
void debugger_init(const struct unwind_hooked *hooked);

#endif
