/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who shares memory with whom, and who of them is dead.
 *
 * Every process that holds shared inlay memory is a participant: it has a place in a file that all of them have
 * open. While it lives it holds an open-file-description lock on byte `place` of that file; the kernel drops
 * the lock at death, however sudden. So a lock word that names a participant can always be judged, where a pid could
 * not: pids recycle, and differ between namespaces. Places recycle too, so the name in a lock word is an id: the place
 * and how often the place had been taken.
 *
 *   question \ state     | lives    | died      | died, place taken again
 *   lock on byte place   | held     | free      | held
 *   incarnation in file  | same     | same      | another
 *   participant_alive(id)| true     | false     | false
 *
 * The descriptor must be an open file description of this process alone (the loader opens a fresh one for
 * each agent and closes its own copy), since that is what the lock belongs to. The child of a fork is no participant:
 * participant_self() is PARTICIPANT_NONE there, although it shares the description, until it joins with another.
 *
 * The file: bytes from PARTICIPANT_FILE_OFFSET on are ours (it is made long enough), the rest is the caller's; lock bytes
 * 1 to PARTICIPANT_MAX - 1 are ours.
 */
#ifndef INLAY_SYNC_PARTICIPANT_H
#define INLAY_SYNC_PARTICIPANT_H

#include "base/types.h"
#include "sync/percpu.h"

#define PARTICIPANT_MAX		4096 /* places start at 1 */
#define PARTICIPANT_NONE	0

#define PARTICIPANT_FILE_OFFSET (1ull << 20)

struct participant_file {
	u32 incarnation[PARTICIPANT_MAX]; /* changes under the place's lock only */
	u64 percpu_slots[PERCPU_MAX];	  /* sync/percpu.h */
	/* The most CPUs a participant has seen possible: one in a container without /sys sees 1. Only grows. */
	u32 percpu_count;
};

/*
 * Takes a free place. fd is kept (owned from now on, open for reading and writing). Returns the id (> 0), -ENOSPC or
 * -errno. Once a process, from the thread that owns descriptors. Gives percpu.h its table where it has none.
 */
int participant_join(int fd);
/* Gives the place back and closes the descriptor. */
void participant_leave(void);
/* This process's id, or PARTICIPANT_NONE. Any thread, at a hit. */
u32 participant_self(void);
/* Has this process ever joined, or is it the child of one that had? Any thread, at a hit. */
bool participant_expected(void);
/*
 * Does that participant live? One system call. Any thread, at a hit, signal-safe. Where a deputy is needed
 * (sync/deputy.h) the first answer is "yes", and the right one follows when the deputy has looked.
 */
bool participant_alive(u32 id);
/* The deputy: looks at the participants that hits have asked for. */
void participant_judge_suspects(void);

#endif
