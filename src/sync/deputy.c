// SPDX-License-Identifier: BSD-2-Clause
#include "sync/deputy.h"

#include <linux/futex.h>

#include "base/sys.h"

static u32 installed;
static u32 posts;
static u32 posts_seen; /* the deputy's own */
static u32 waiting;
static __thread u32 owns_descriptors;

void deputy_install(void)
{
	__atomic_store_n(&installed, 1, __ATOMIC_RELEASE);
}

void deputy_owns_descriptors(void)
{
	owns_descriptors = 1;
}

bool deputy_needed(void)
{
	return __atomic_load_n(&installed, __ATOMIC_ACQUIRE) && !owns_descriptors;
}

void deputy_post(void)
{
	__atomic_fetch_add(&posts, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST))
		sys_futex(&posts, FUTEX_WAKE_PRIVATE, 1, NULL);
}

int deputy_wait(int timeout_ms)
{
	struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};
	u32 now;

	__atomic_store_n(&waiting, 1, __ATOMIC_SEQ_CST);
	while ((now = __atomic_load_n(&posts, __ATOMIC_SEQ_CST)) == posts_seen) {
		if (sys_futex(&posts, FUTEX_WAIT_PRIVATE, now, timeout_ms < 0 ? NULL : &limit) ==
		    -ETIMEDOUT)
			break;
	}
	__atomic_store_n(&waiting, 0, __ATOMIC_RELAXED);
	if (now == posts_seen)
		return -ETIMEDOUT;
	posts_seen = now;
	return 0;
}
