/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lock word in shared memory whose owner may be killed at any instruction.
 *
 * The word holds the owner's participant id and thread id, 0 when free. A waiter that has spun for long asks
 * participant_alive(); if the owner is dead it takes the lock over and is told so: the structure under the lock may be
 * half changed and must be repaired before use (repair must survive being killed as well: then the next waiter is
 * told again). Waiting is bounded: SHARED_LOCK_SPINS pauses, then SHARED_LOCK_YIELDS turns given to a preempted
 * owner, then -EBUSY (the hit's update counts as missed; the system call side may try again).
 *
 *   waiter \ event   | owner unlocks | owner killed      | owner's thread ended inside | same thread (signal handler)
 *   other process    | takes it      | takes it, repairs | -EBUSY                      | -
 *   same process     | takes it      | -                 | takes it, repairs           | -EDEADLK at once
 *
 *   acquire: CAS 0 -> owner, acquire; take-over: CAS dead owner -> owner, acquire (of several waiters one wins)
 *   release: store 0, release
 *
 * A process that never joined (participant.h) is known by its threads alone and is never judged; the child of a
 * fork of a participant gets -EBUSY until it joins.
 */
#ifndef INLAY_SYNC_SHARED_LOCK_H
#define INLAY_SYNC_SHARED_LOCK_H

#include "base/types.h"

struct shared_lock {
	u64 word;
};

#define SHARED_LOCK_TAKEN_OVER 1

#define SHARED_LOCK_SPINS      256
#define SHARED_LOCK_YIELDS     64

/* Returns 0, SHARED_LOCK_TAKEN_OVER (held; repair first), -EBUSY or -EDEADLK. Any thread, at a hit. */
int shared_lock_acquire(struct shared_lock *lock);
/* One try, no wait: -EBUSY also when the owner is dead. */
int shared_lock_try(struct shared_lock *lock);
void shared_lock_release(struct shared_lock *lock);

/* The word the calling thread would write: participant id in the high half, thread id in the low; 0: it may own nothing. */
u64 shared_lock_owner(void);
/* Can that owner never release again? One or two system calls. */
bool shared_lock_owner_gone(u64 owner);

#endif
