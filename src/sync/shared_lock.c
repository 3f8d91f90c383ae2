// SPDX-License-Identifier: BSD-2-Clause
#include "sync/shared_lock.h"

#include "base/cpu.h"
#include "base/sys.h"
#include "sync/participant.h"
#include "sync/reader.h"

u64 shared_lock_owner(void)
{
	u32 participant = participant_self();

	if (participant == PARTICIPANT_NONE && participant_expected())
		return 0;
	return (u64)participant << 32 | reader_tid();
}

bool shared_lock_owner_gone(u64 owner)
{
	u32 participant = (u32)(owner >> 32);

	if (participant == PARTICIPANT_NONE)
		return false;
	if (participant == participant_self())
		return sys_tgkill(sys_getpid(), (int)(u32)owner, 0) == -ESRCH;
	return !participant_alive(participant);
}

static bool swap(struct shared_lock *lock, u64 from, u64 to)
{
	return __atomic_compare_exchange_n(&lock->word, &from, to, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static __attribute__((noinline)) int acquire_slowly(struct shared_lock *lock, u64 self)
{
	for (u32 round = 0; round < SHARED_LOCK_SPINS + SHARED_LOCK_YIELDS; round++) {
		u64 owner = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

		if (!owner) {
			if (swap(lock, 0, self))
				return 0;
			continue;
		}
		if (owner == self)
			return -EDEADLK;
		if (round < SHARED_LOCK_SPINS) {
			cpu_pause();
			continue;
		}
		if (round % 16 == 0 && shared_lock_owner_gone(owner)) {
			if (swap(lock, owner, self))
				return SHARED_LOCK_TAKEN_OVER;
			continue;
		}
		sys_sched_yield();
	}
	return -EBUSY;
}

int shared_lock_acquire(struct shared_lock *lock)
{
	u64 self = shared_lock_owner();

	if (unlikely(!self))
		return -EBUSY;
	if (likely(swap(lock, 0, self)))
		return 0;
	return acquire_slowly(lock, self);
}

int shared_lock_try(struct shared_lock *lock)
{
	u64 self = shared_lock_owner();

	return self && swap(lock, 0, self) ? 0 : -EBUSY;
}

void shared_lock_release(struct shared_lock *lock)
{
	__atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}
