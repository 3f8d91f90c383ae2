/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work that a hit leaves to a thread that owns the descriptors.
 *
 * In a target the agent's threads have a descriptor table of their own. At a hit, in a thread of the program, a number of
 * theirs is nothing, or somebody else's file: writing to it would corrupt the program's data. So where a deputy is
 * installed, code at a hit that needs a descriptor (wake a ring's consumer, ask whether a participant lives) leaves
 * a note in memory and posts; the deputy wakes up, and does it.
 *
 *   hit:    note = ...; deputy_post()          post: count++ (seq_cst), then wake if waiting is set
 *   deputy: deputy_wait(); look at every note  wait: waiting = 1 (seq_cst), then sleep if count is unchanged
 *
 * No post is lost: either the poster sees waiting, or the deputy sees the count. Posts may be merged.
 */
#ifndef INLAY_SYNC_DEPUTY_H
#define INLAY_SYNC_DEPUTY_H

#include "base/types.h"

/* From now on threads of this process that have not called deputy_owns_descriptors() do not use ours. Once; agent. */
void deputy_install(void);
/* The calling thread shares the descriptor table that our descriptors are in. */
void deputy_owns_descriptors(void);
/* Must the calling thread leave descriptors alone? At a hit, signal-safe. */
bool deputy_needed(void);

/* Wakes the deputy. At a hit, signal-safe; a system call only when it sleeps. */
void deputy_post(void);
/* Sleeps until a post that came after the last return of this function. 0 or -ETIMEDOUT. timeout_ms < 0: none. One thread. */
int deputy_wait(int timeout_ms);

#endif
