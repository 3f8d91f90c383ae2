/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who shares memory with whom, and who of them is dead.
 *
 * Every process that holds shared inlay memory is a participant: a small index into a table in a file that
 * all of them have open. While it lives it holds an open-file-description lock on byte `index` of that
 * file; the kernel drops the lock at death, however sudden. So a lock word that names a participant can
 * always be judged, where a pid could not: pids recycle, and differ between namespaces.
 *
 * The descriptor must be an open file description of this process alone (the loader opens a fresh one for
 * each agent and closes its own copy), since that is what the lock belongs to.
 */
#ifndef INLAY_SYNC_PARTICIPANT_H
#define INLAY_SYNC_PARTICIPANT_H

#include "base/types.h"

#define PARTICIPANT_MAX 4096
#define PARTICIPANT_NONE 0 /* indices start at 1 */

/* Takes a free index. fd is kept (owned from now on). Returns the index (> 0), -ENOSPC or -errno. Once a process. */
int participant_join(int fd);
/* Gives the index back and closes the descriptor. */
void participant_leave(void);
/* This process's index, or PARTICIPANT_NONE. Any thread, at a hit. */
u32 participant_self(void);
/* Does somebody hold that index? One system call. Any thread, at a hit, signal-safe. */
bool participant_alive(u32 index);

#endif
