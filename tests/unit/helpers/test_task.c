/* SPDX-License-Identifier: BSD-2-Clause */
/* Who runs and what time it is: compared with what libc says, across threads and a fork. */
#include "helpers/helpers.h"
#include "helpers/vdso.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "sync/reader.h"
#include "test.h"

static u64 call(u32 id)
{
	return helper_address(id)(0, 0, 0, 0, 0);
}

static bool ids_are_right(void)
{
	return call(14) == ((u64)getpid() << 32 | (u32)sys_gettid());
}

static void *thread_ids(void *result)
{
	*(bool *)result = ids_are_right() && ids_are_right();
	return NULL;
}

static void pid_and_tid(void)
{
	pthread_t thread;
	bool right = false;

	CHECK(ids_are_right());
	CHECK(ids_are_right());
	CHECK(!pthread_create(&thread, NULL, thread_ids, &right));
	pthread_join(thread, NULL);
	CHECK(right);
}

static void pid_and_tid_after_fork(void)
{
	int status = 0;
	pid_t child;

	CHECK(ids_are_right());
	child = fork();
	if (!child)
		_exit(ids_are_right() && ids_are_right() ? 0 : 1);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK(ids_are_right());
}

static void uid_and_gid(void)
{
	CHECK_EQ(call(15), (u64)getgid() << 32 | getuid());
}

static s64 comm(char *name, u32 size)
{
	memset(name, '?', 32);
	return (s64)helper_address(16)(ptr_to_u64(name), size, 0, 0, 0);
}

static void comm_is_cut_and_padded(void)
{
	char name[32];

	prctl(PR_SET_NAME, "fifteen-letters");
	CHECK_EQ(comm(name, 16), 0);
	CHECK(!strcmp(name, "fifteen-letters"));
	CHECK_EQ(comm(name, 32), 0);
	CHECK(!strcmp(name, "fifteen-letters"));
	for (int i = 15; i < 32; i++)
		CHECK_EQ(name[i], 0);
	CHECK_EQ(comm(name, 5), 0);
	CHECK(!strcmp(name, "fift"));
	CHECK_EQ(name[5], '?');
	CHECK_EQ(comm(name, 1), 0);
	CHECK_EQ(name[0], 0);
}

static u64 now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (u64)time.tv_sec * 1000000000 + (u64)time.tv_nsec;
}

static void clocks_agree_with_libc(void)
{
	static const struct {
		u32 id;
		clockid_t clock;
	} clocks[] = {{5, CLOCK_MONOTONIC},
		      {125, CLOCK_BOOTTIME},
		      {160, CLOCK_MONOTONIC_COARSE},
		      {208, CLOCK_TAI}};

	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
		u64 before = now(clocks[i].clock);
		u64 between = call(clocks[i].id);
		u64 after = now(clocks[i].clock);

		CHECK(before <= between && between <= after);
	}
	CHECK_EQ(vdso_clock_ns(12345), 0);
}

static void jiffies_follow_the_coarse_clock(void)
{
	struct timespec resolution, pause = {0, 50000000};
	u64 before = call(118), elapsed;

	clock_getres(CLOCK_MONOTONIC_COARSE, &resolution);
	nanosleep(&pause, NULL);
	elapsed = (call(118) - before) * (u64)resolution.tv_nsec;
	CHECK(elapsed >= 40000000 && elapsed < 5000000000ull);
}

static void processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		SKIP("processor 0 is not ours to run on");
	CHECK_EQ(call(8), 0);
	CHECK(call(42) < 1024);
}

static void random_numbers_differ(void)
{
	u64 seen_or = 0, seen_and = ~0ull;

	for (int i = 0; i < 1000; i++) {
		u64 value = call(7);

		seen_or |= value;
		seen_and &= value;
	}
	CHECK_EQ(seen_or, 0xffffffff);
	CHECK_EQ(seen_and, 0);
}

int main(void)
{
	if (reader_init())
		return 1;
	RUN(pid_and_tid);
	RUN(pid_and_tid_after_fork);
	RUN(uid_and_gid);
	RUN(comm_is_cut_and_padded);
	RUN(clocks_agree_with_libc);
	RUN(jiffies_follow_the_coarse_clock);
	RUN(processor);
	RUN(random_numbers_differ);
	return test_done();
}
