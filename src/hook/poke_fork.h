/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Children that were forked in the middle of a change.
 *
 * The spin and trap protocols have a barrier in the text (`jmp .`, int3) for some microseconds. A child forked meanwhile has
 * it for good: nobody finishes the change there. Whether there is such a child is seen from a page that the poker writes
 * before: after a fork it is mapped twice (bit 56 of /proc/self/pagemap). Then the children of this process are looked
 * through, and theirs as well, and the change is finished in them through /proc/CHILD/mem, as the child's parent may.
 *
 * Not found are a child that has given up its parent's identity, or whose parent has died, in that millisecond. Private to
 * poke.c; under hook.c's lock.
 */
#ifndef INLAY_HOOK_POKE_FORK_H
#define INLAY_HOOK_POKE_FORK_H

#include "base/types.h"
#include "hook/poke.h"

/* Before the first unfinished instruction is written. */
void poke_fork_begin(void);
/*
 * After the last has been finished. undo: the change went from `to` to `from`. Finishes it in the children; returns at once
 * when none was forked since poke_fork_begin, else within 100 ms.
 */
void poke_fork_end(const struct poke *pokes, u32 count, bool undo);

#endif
