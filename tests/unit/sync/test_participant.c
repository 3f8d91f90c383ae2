// SPDX-License-Identifier: BSD-2-Clause
/* Who lives, whose lock can be taken over, and slots: across processes that are killed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sync/deputy.h"
#include "sync/participant.h"
#include "sync/percpu.h"
#include "sync/reader.h"
#include "sync/shared_lock.h"
#include "test.h"

static int registry;

/* What parents and children of a test share. */
static struct shared {
	struct shared_lock lock;
	u64 a, b; /* equal outside the lock */
	u64 acquired, taken_over, busy;
	u32 id, ready;
} * shared;

static int registry_again(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", registry);
	return open(path, O_RDWR | O_CLOEXEC);
}

static pid_t start(void (*child)(void))
{
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (!pid) {
		child();
		_exit(0);
	}
	return pid;
}

static void wait_ready(void)
{
	while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE))
		usleep(100);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void join_and_wait(void)
{
	shared->id = (u32)participant_join(registry_again());
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	pause();
}

static void a_killed_participant_is_dead(void)
{
	pid_t child = start(join_and_wait);
	u32 id;

	wait_ready();
	id = shared->id;
	CHECK(id != participant_self());
	CHECK(participant_alive(id));
	CHECK(participant_alive(participant_self()));
	end(child);
	CHECK(!participant_alive(id));
	/* Its place is taken again: the old id is dead all the same. */
	child = start(join_and_wait);
	wait_ready();
	CHECK_EQ(shared->id & (PARTICIPANT_MAX - 1), id & (PARTICIPANT_MAX - 1));
	CHECK(shared->id != id);
	CHECK(participant_alive(shared->id));
	CHECK(!participant_alive(id));
	end(child);
}

static void be_a_mere_child(void)
{
	shared->a = participant_self() == PARTICIPANT_NONE && participant_expected();
	shared->b = shared_lock_acquire(&shared->lock) == -EBUSY && percpu_enter() == -EBUSY;
}

static void a_childs_hits_own_nothing_until_it_joins(void)
{
	waitpid(start(be_a_mere_child), NULL, 0);
	CHECK_EQ(shared->a, 1);
	CHECK_EQ(shared->b, 1);
}

static void lock_and_wait(void)
{
	participant_join(registry_again());
	shared_lock_acquire(&shared->lock);
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	pause();
}

static void a_killed_owners_lock_is_taken_over(void)
{
	pid_t child = start(lock_and_wait);

	wait_ready();
	CHECK_EQ(shared_lock_acquire(&shared->lock), -EBUSY);
	CHECK_EQ(shared_lock_try(&shared->lock), -EBUSY);
	end(child);
	CHECK_EQ(shared_lock_try(&shared->lock), -EBUSY);
	CHECK_EQ(shared_lock_acquire(&shared->lock), SHARED_LOCK_TAKEN_OVER);
	CHECK_EQ(shared_lock_acquire(&shared->lock), -EDEADLK);
	shared_lock_release(&shared->lock);
	CHECK_EQ(shared_lock_acquire(&shared->lock), 0);
	shared_lock_release(&shared->lock);
}

/* Changes both counts under the lock, for ever. */
static void count_under_lock(void)
{
	if (participant_join(registry_again()) < 0)
		_exit(1);
	for (;;) {
		int got = shared_lock_acquire(&shared->lock);

		if (got < 0) {
			shared->busy++;
			continue;
		}
		if (got == SHARED_LOCK_TAKEN_OVER) {
			__atomic_fetch_add(&shared->taken_over, 1, __ATOMIC_RELAXED);
			shared->b = shared->a; /* the repair */
		}
		if (shared->a != shared->b)
			_exit(2);
		shared->a++;
		for (int i = 0; i < 20; i++)
			cpu_pause();
		shared->b++;
		shared->acquired++;
		shared_lock_release(&shared->lock);
	}
}

/* Three processes count; one after the other is killed, most often inside. The counts never disagree. */
static void killed_owners_are_repaired_after(void)
{
	u32 rounds = getenv("INLAY_STRESS_SECONDS") ? 5000 : 400;
	pid_t children[3];
	unsigned int seed = 7;
	int status;

	children[0] = start(count_under_lock);
	for (int i = 1; i < 3; i++) {
		children[i] = fork();
		if (!children[i])
			count_under_lock();
	}
	for (u32 round = 0; round < rounds; round++) {
		int i = (int)(round % 3);

		usleep((useconds_t)rand_r(&seed) % 5000);
		kill(children[i], SIGKILL);
		waitpid(children[i], &status, 0);
		CHECK(WIFSIGNALED(status));
		children[i] = fork();
		if (!children[i])
			count_under_lock();
	}
	usleep(20000);
	for (int i = 0; i < 3; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], &status, 0);
		CHECK(WIFSIGNALED(status));
	}
	printf("# %llu times under the lock, %llu taken over, %llu busy\n",
	       (unsigned long long)shared->acquired, (unsigned long long)shared->taken_over,
	       (unsigned long long)shared->busy);
	CHECK(shared->taken_over > 0);
	CHECK(shared->acquired > rounds);
}

static struct shared_lock local;

static void *lock_and_end(void *ret_got)
{
	*(int *)ret_got = shared_lock_acquire(&local);
	return NULL;
}

static void a_dead_threads_lock_is_taken_over(void)
{
	pthread_t thread;
	int got = -1;

	pthread_create(&thread, NULL, lock_and_end, &got);
	pthread_join(thread, NULL);
	CHECK_EQ(got, 0);
	CHECK_EQ(shared_lock_acquire(&local), SHARED_LOCK_TAKEN_OVER);
	shared_lock_release(&local);
}

static int in_handler = 1;

static void acquire_in_handler(int signal)
{
	(void)signal;
	in_handler = shared_lock_acquire(&local);
}

static void a_handler_inside_the_lock_does_not_wait(void)
{
	signal(SIGUSR1, acquire_in_handler);
	CHECK_EQ(shared_lock_acquire(&local), 0);
	raise(SIGUSR1);
	CHECK_EQ(in_handler, -EDEADLK);
	shared_lock_release(&local);
	raise(SIGUSR1);
	CHECK_EQ(in_handler, 0);
	shared_lock_release(&local);
}

static u64 plain_count;

static void *count_plainly(void *argument)
{
	for (int i = 0; i < 50000; i++) {
		int got;

		while ((got = shared_lock_acquire(&local)) < 0)
			;
		__atomic_fetch_add((u64 *)argument, got == SHARED_LOCK_TAKEN_OVER,
				   __ATOMIC_RELAXED);
		plain_count++;
		shared_lock_release(&local);
	}
	return NULL;
}

static void threads_exclude_each_other(void)
{
	pthread_t threads[4];
	u64 taken_over = 0;

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, count_plainly, &taken_over);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(plain_count, 200000);
	CHECK_EQ(taken_over, 0);
}

static void runs_of_a_thread_share_its_slot(void)
{
	int slot = percpu_enter();

	CHECK(slot >= 0 && (u32)slot < percpu_count());
	CHECK_EQ(percpu_slot(), slot);
	CHECK_EQ(percpu_enter(), slot);
	percpu_leave();
	CHECK_EQ(percpu_enter(), slot);
	percpu_leave();
	percpu_leave();
	CHECK_EQ(reader_self()->percpu_depth, 0);
	percpu_leave(); /* one too many does no harm */
	CHECK_EQ(percpu_enter(), slot);
	percpu_leave();
	CHECK_EQ((long)percpu_count(), sysconf(_SC_NPROCESSORS_CONF));
}

static void take_all_slots(void)
{
	shared->id = (u32)participant_join(registry_again());
	for (u32 i = 0; i < percpu_count(); i++) {
		shared->a += percpu_enter() >= 0;
		reader_self()->percpu_depth = 0; /* as if by other threads */
		reader_self()->percpu_slot = (i + 1) % percpu_count();
		/* our own word is taken for our own slot: make it another thread's */
		__atomic_store_n(&((u64 *)ptr_from_u64(shared->b))[i], (u64)shared->id << 32 | 1,
				 __ATOMIC_RELEASE);
	}
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	pause();
}

static void a_killed_processs_slots_come_free(void)
{
	u64 *slots = mmap(NULL, 8 * PERCPU_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	pid_t child;

	percpu_set_table(slots, percpu_count());
	memset(shared, 0, sizeof(*shared));
	shared->b = ptr_to_u64(slots);
	child = fork();
	if (!child) {
		take_all_slots();
		_exit(0);
	}
	wait_ready();
	CHECK_EQ(shared->a, percpu_count());
	CHECK_EQ(percpu_enter(), -EBUSY);
	end(child);
	CHECK(percpu_enter() >= 0);
	percpu_leave();
}

/* Last: a deputy, once installed, stays. */
static void a_hit_leaves_the_judgement_to_the_deputy(void)
{
	pid_t child = start(lock_and_wait);
	bool alive;

	wait_ready();
	end(child);
	deputy_install();
	CHECK_EQ(shared_lock_acquire(&shared->lock), -EBUSY);
	CHECK_EQ(deputy_wait(1000), 0);
	deputy_owns_descriptors();
	participant_judge_suspects();
	alive = participant_alive((u32)(shared->lock.word >> 32));
	CHECK(!alive);
	CHECK_EQ(shared_lock_acquire(&shared->lock), SHARED_LOCK_TAKEN_OVER);
}

/* The last loader of a process left, and another one came. A run may have been under way all the time. */
static void slots_outlive_the_membership(void)
{
	int slot = percpu_enter();

	CHECK(slot >= 0);
	participant_leave();
	CHECK(participant_join(registry_again()) > 0);
	percpu_leave();
	slot = percpu_enter();
	CHECK(slot >= 0);
	CHECK_EQ(percpu_slot(), slot);
	percpu_leave();
}

int main(void)
{
	reader_init();
	registry = memfd_create("registry", MFD_CLOEXEC);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (participant_self() != PARTICIPANT_NONE || participant_join(registry_again()) <= 0)
		return 1;
	/* First: others set tables of their own. */
	RUN(slots_outlive_the_membership);
	RUN(a_killed_participant_is_dead);
	RUN(a_childs_hits_own_nothing_until_it_joins);
	RUN(a_killed_owners_lock_is_taken_over);
	RUN(killed_owners_are_repaired_after);
	RUN(a_dead_threads_lock_is_taken_over);
	RUN(a_handler_inside_the_lock_does_not_wait);
	RUN(threads_exclude_each_other);
	RUN(runs_of_a_thread_share_its_slot);
	RUN(a_killed_processs_slots_come_free);
	RUN(a_hit_leaves_the_judgement_to_the_deputy);
	participant_leave();
	return test_done();
}
