/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lock word in shared memory whose owner may be killed at any instruction.
 *
 * The word holds the owner's participant index (and a tag of its thread), 0 when free. A waiter that has spun
 * for long asks participant_alive(); if the owner is dead it takes the lock over and is told so: the structure
 * under the lock may be half changed and must be repaired before use. Waiting is bounded: a probe never
 * waits longer than SHARED_LOCK_SPINS and reports -EBUSY instead (the hit's update counts as missed).
 *
 *   holder \ event | owner unlocks | owner killed      | same thread again (signal handler)
 *   waiter         | takes it      | takes it, repairs | -EDEADLK at once
 */
#ifndef INLAY_SYNC_SHARED_LOCK_H
#define INLAY_SYNC_SHARED_LOCK_H

#include "base/types.h"

struct shared_lock {
	u64 word;
};

#define SHARED_LOCK_TAKEN_OVER 1

/* Returns 0, SHARED_LOCK_TAKEN_OVER (held; repair first), -EBUSY or -EDEADLK. Any thread, at a hit. */
int shared_lock_acquire(struct shared_lock *lock);
void shared_lock_release(struct shared_lock *lock);

#endif
