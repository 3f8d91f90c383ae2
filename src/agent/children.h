/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which children a process has forked since it was first looked at, from /proc: nothing is traced and nothing waits.
 *
 *   row \ seen | first             | young           | as a copy of its parent with an agent in it | as another program
 *   new        | YOUNG             | -               | READY                                       | SETTLED
 *   noted      | SETTLED, for good | -               | -                                           | -
 *
 * A child that shares its parent's memory (vfork, posix_spawn) stays YOUNG: what is done to it would be done to the
 * parent. A row goes when its process is no longer found. Loader; one thread at a time.
 */
#ifndef INLAY_AGENT_CHILDREN_H
#define INLAY_AGENT_CHILDREN_H

#include <sys/types.h>

#include "base/types.h"

enum child_state {
	CHILD_YOUNG, /* it may be about to exec */
	CHILD_READY,
	CHILD_SETTLED, /* nothing more is to be done about it */
};

struct child {
	pid_t pid, parent;
	u64 start; /* of the process, as /proc/PID/stat has it: with the pid it names one process */
	u64 seen_ns;  /* when it was first seen */
	u64 again_ns; /* not READY before */
	u32 round;    /* of the last scan that found it */
	enum child_state state;
};

struct children {
	struct child *rows;
	u32 count, room, round;
	u64 young_ns; /* how long a child is left alone */
};

/* Rows for those that a process has now, and theirs: SETTLED. */
void children_note(struct children *children, pid_t parent);
/*
 * Looks for new ones below the parents, and brings states up to date. A process whose rows could not be stored is found by
 * the next scan.
 */
void children_scan(struct children *children, const pid_t *parents, u32 count);
void children_free(struct children *children);

#endif
