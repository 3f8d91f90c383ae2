/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Updates of prog arrays that another process makes. A process that has programs in targets follows its maps: a thread waits on
 * the maps' generations, takes over what has changed, and says so. Whoever changes a slot waits for that, without a lock: two
 * processes that change each other's maps would else wait for each other.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "maps/prog_array.h"
#include "object/prog_array.h"
#include "sync/participant.h"

#ifndef __NR_futex_waitv
#define __NR_futex_waitv 449
#endif

#define WATCH_MAX    64
#define WATCH_MS     100  /* how long a map that is new to the thread is overlooked at most */
#define FALLBACK_MS  5	  /* between looks where the kernel cannot wait for several words */
#define TAKE_OVER_MS 2000 /* how long an update waits for a follower that lives and does nothing */

/* As struct futex_waitv of Linux 5.16. */
struct waiter {
	u64 value, address;
	u32 flags, reserved;
};

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

static void wait_for_change(const struct prog_array_watched *watched, u32 count)
{
	struct waiter waiters[WATCH_MAX];
	struct timespec end;

	for (u32 i = 0; i < count; i++)
		waiters[i] = (struct waiter){(u32)watched[i].generation,
					     ptr_to_u64(watched[i].word), 2 /* 32 bits */, 0};
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += WATCH_MS * 1000000L;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	if (!count)
		sleep_us(WATCH_MS * 1000L);
	else if (sys_call6(__NR_futex_waitv, (long)waiters, count, 0, (long)&end, CLOCK_MONOTONIC,
			   0) == -ENOSYS)
		sleep_us(FALLBACK_MS * 1000L);
}

static void *follow(void *opaque)
{
	struct prog_array_watched watched[WATCH_MAX];

	(void)opaque;
	for (;;)
		wait_for_change(watched, prog_array_take_over(watched, WATCH_MAX));
	return NULL;
}

static pid_t following_pid; /* under prog_lock(): the process that has the thread */

int prog_array_start_following(void)
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	if (following_pid == getpid())
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, follow, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return -error;
	pthread_detach(thread);
	following_pid = getpid();
	return 0;
}

void prog_array_wait_followed(const struct map *map)
{
	u64 generation = prog_array_generation(map);
	struct timespec start, now;

	sys_futex(prog_array_generation_word(map), FUTEX_WAKE, 0x7fffffff, NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!prog_array_is_followed(map, participant_self(), generation)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 >
		    TAKE_OVER_MS)
			return;
		sleep_us(50);
	}
}
