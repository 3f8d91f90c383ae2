/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_spin_lock: one word in a map's value, shared by processes. 0: free; else the id of the thread that holds it.
 *
 * The verifier gives it to no tracing program, so no hit ever waits here: only test runs do, which no signal handler is. A holder
 * that died leaves its id behind; whoever waits looks now and then whether that thread is still there.
 */
#include <errno.h>

#include "base/sys.h"
#include "helpers/call.h"

#define SPINS_A_LOOK 1024u

static bool is_gone(u32 tid)
{
	return sys_call6(__NR_tkill, (long)tid, 0, 0, 0, 0, 0) == -ESRCH;
}

HELPER_1(spin_lock, address)
{
	u32 *word = ptr_from_u64(address);
	u32 self = (u32)sys_gettid();

	for (u32 spins = 1;; spins++) {
		u32 holder = 0;

		if (__atomic_compare_exchange_n(word, &holder, self, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return 0;
		sys_sched_yield();
		if (spins % SPINS_A_LOOK || !is_gone(holder))
			continue;
		if (__atomic_compare_exchange_n(word, &holder, self, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return 0;
	}
}

HELPER_1(spin_unlock, address)
{
	u32 *word = ptr_from_u64(address);

	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
	return 0;
}
