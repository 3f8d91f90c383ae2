/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Marks that a thread jumped out of: siglongjmp from a signal handler that had interrupted a program.
 *
 * Such a mark would hold every later grace period up, and its program's recursion guard would keep the program from running
 * in that thread for ever. The thread's next hit finds it: it is entered at the mark's stack pointer or above. Above proves
 * nothing, since a handler may run on an alternate stack, and a coroutine may have been left in the middle of a program.
 */
#ifndef INLAY_HOOK_STALE_H
#define INLAY_HOOK_STALE_H

#include "base/types.h"

struct reader;

/*
 * Called by a stub in a marked thread whose stack pointer sp is at the mark's or above. Clears mark and guards when the thread is on
 * its own stack and the marked image's frame is no longer in memory. Otherwise leaves them, for a later hit to judge. At a
 * hit, signal-safe; two system calls.
 */
void stale_judge_mark(struct reader *reader, u64 sp);

#endif
