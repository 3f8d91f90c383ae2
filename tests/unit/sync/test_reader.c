// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sync/reader.h"
#include "test.h"

static int stage; /* the tests' threads and main take turns by it */

static void set_stage(int to)
{
	__atomic_store_n(&stage, to, __ATOMIC_SEQ_CST);
}

static void wait_stage(int for_stage)
{
	while (__atomic_load_n(&stage, __ATOMIC_SEQ_CST) != for_stage)
		usleep(100);
}

static struct reader *record_of_thread;

static void *inside_until_told(void *unused)
{
	struct reader *reader = reader_self();

	record_of_thread = reader;
	reader_enter(reader);
	set_stage(1);
	wait_stage(2);
	reader_leave(reader);
	set_stage(3);
	wait_stage(4);
	return unused;
}

static void *leave_soon(void *unused)
{
	usleep(50000);
	set_stage(2);
	return unused;
}

static void grace_waits_for_a_thread_inside(void)
{
	pthread_t thread, leaver;
	u64 before = sync_grace_count();

	set_stage(0);
	pthread_create(&thread, NULL, inside_until_told, NULL);
	wait_stage(1);
	CHECK_EQ(sync_grace(20), -ETIMEDOUT);
	CHECK_EQ(sync_grace_count(), before);
	pthread_create(&leaver, NULL, leave_soon, NULL);
	CHECK_EQ(sync_grace(-1), 0);
	CHECK_EQ(__atomic_load_n(&record_of_thread->nest, __ATOMIC_ACQUIRE), 0);
	CHECK_EQ(sync_grace_count(), before + 1);
	wait_stage(3);
	CHECK_EQ(sync_grace(0), 0);
	set_stage(4);
	pthread_join(thread, NULL);
	pthread_join(leaver, NULL);
}

/* In and out all the time: seen outside, or by its generation; never starves the updater. */
static bool stop_running;

static void *in_and_out(void *unused)
{
	struct reader *reader = reader_self();

	while (!__atomic_load_n(&stop_running, __ATOMIC_RELAXED)) {
		reader_enter(reader);
		for (int i = 0; i < 200; i++)
			cpu_pause();
		reader_leave(reader);
	}
	return unused;
}

static void grace_ends_under_busy_readers(void)
{
	pthread_t threads[2];

	stop_running = false;
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, in_and_out, NULL);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(sync_grace(5000), 0);
	__atomic_store_n(&stop_running, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* What a grace period is for: nobody reads an object after it was unlinked and a grace period has passed. */
static u64 *published;
static u64 reads_of_dead;

static void *read_published(void *unused)
{
	struct reader *reader = reader_self();

	while (!__atomic_load_n(&stop_running, __ATOMIC_RELAXED)) {
		reader_enter(reader);
		u64 *object = __atomic_load_n(&published, __ATOMIC_ACQUIRE);

		for (int i = 0; i < 50; i++) {
			if (__atomic_load_n(object, __ATOMIC_RELAXED) == 0)
				__atomic_fetch_add(&reads_of_dead, 1, __ATOMIC_RELAXED);
		}
		reader_leave(reader);
	}
	return unused;
}

static void nobody_reads_after_grace(void)
{
	static u64 objects[2] = {1, 1};
	pthread_t threads[2];

	stop_running = false;
	published = &objects[0];
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, read_published, NULL);
	for (int i = 0; i < 300; i++) {
		u64 *old = published;

		__atomic_store_n(&objects[(i + 1) & 1], 1, __ATOMIC_RELAXED);
		__atomic_store_n(&published, &objects[(i + 1) & 1], __ATOMIC_RELEASE);
		CHECK_EQ(sync_grace(5000), 0);
		__atomic_store_n(old, 0, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&stop_running, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(reads_of_dead, 0);
}

static void *die_inside(void *unused)
{
	record_of_thread = reader_self();
	reader_enter(record_of_thread);
	record_of_thread->hits[5] += 7;
	record_of_thread->missed += 2;
	return unused;
}

static void a_mark_of_a_dead_thread_is_stale(void)
{
	pthread_t thread;
	u64 missed = reader_missed();

	pthread_create(&thread, NULL, die_inside, NULL);
	pthread_join(thread, NULL);
	CHECK_EQ(sync_grace(2000), 0);
	CHECK_EQ(reader_hits(5), 7);
	CHECK_EQ(reader_missed(), missed + 2);
}

static void *count_one_hit(void *unused)
{
	struct reader *reader = reader_self();

	CHECK_EQ(reader->nest, 0);
	CHECK_EQ(reader->tid, syscall(SYS_gettid));
	reader->hits[5]++;
	return reader > *(struct reader **)unused ? reader : *(struct reader **)unused;
}

/* 2000 threads one after the other must not take 2000 records; their hits are not lost when records change hands. */
static void records_are_recycled_and_sums_kept(void)
{
	struct reader *highest = reader_self();
	u64 before = reader_hits(5);

	for (int i = 0; i < 2000; i++) {
		pthread_t thread;
		void *result;

		pthread_create(&thread, NULL, count_one_hit, &highest);
		pthread_join(thread, &result);
		highest = result;
	}
	CHECK(highest - reader_self() < 100);
	CHECK_EQ(reader_hits(5), before + 2000);
	reader_hits_clear(5);
	CHECK_EQ(reader_hits(5), 0);
}

static sigjmp_buf jump;
static u32 judged_tid;

static bool judge_by_test(u32 tid, u64 sp)
{
	judged_tid = tid;
	return sp == 0x1000;
}

static void *jump_out(void *unused)
{
	struct reader *reader = reader_self();

	if (sigsetjmp(jump, 1) == 0) {
		reader_enter(reader);
		reader->sp = 0x1000;
		siglongjmp(jump, 1);
	}
	set_stage(1);
	wait_stage(2);
	return unused;
}

static void a_mark_that_was_jumped_out_of_is_judged(void)
{
	pthread_t thread;

	set_stage(0);
	pthread_create(&thread, NULL, jump_out, NULL);
	wait_stage(1);
	CHECK_EQ(sync_grace(30), -ETIMEDOUT);
	sync_set_stale_judge(judge_by_test);
	CHECK_EQ(sync_grace(1000), 0);
	CHECK(judged_tid != 0);
	sync_set_stale_judge(NULL);
	set_stage(2);
	pthread_join(thread, NULL);
}

static void a_reader_is_told_not_to_wait(void)
{
	struct reader *reader = reader_self();

	reader->sp = 0;
	reader_enter(reader);
	CHECK_EQ(sync_grace(0), -EDEADLK);
	reader_leave(reader);
	CHECK_EQ(sync_grace(1000), 0);
}

static void the_word_is_where_generated_code_looks(void)
{
	struct reader *self = reader_self();
	u64 word = *(u64 *)ptr_from_u64(cpu_thread_pointer() + (u64)reader_tls_offset());

	CHECK(self != NULL);
	CHECK_EQ(word, ptr_to_u64(self));
	CHECK_EQ(self->tid, getpid());
	CHECK_EQ(reader_tid(), getpid());
}

static void *record_with_segv_blocked(void *ret_flags)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	*(u32 *)ret_flags = reader_self()->flags;
	return NULL;
}

static void blocked_sigsegv_is_noted(void)
{
	pthread_t thread;
	u32 flags = 0;

	CHECK_EQ(reader_self()->flags & READER_NO_SIGNALS, 0);
	pthread_create(&thread, NULL, record_with_segv_blocked, &flags);
	pthread_join(thread, NULL);
	CHECK(flags & READER_NO_SIGNALS);
}

/* The child writes "its" record, waits for grace, and the parent's record is untouched. */
static void a_child_has_its_own_records(void)
{
	struct reader *self = reader_self();
	u64 hits = self->hits[0];
	int status;
	pid_t child = fork();

	if (!child) {
		bool ok = reader_self() == self;

		self->hits[0] += 100;
		reader_enter(self);
		reader_leave(self);
		ok = ok && sync_grace(2000) == 0 && self->tid == (u32)getpid() &&
		     reader_tid() == (u32)getpid();
		_exit(!ok);
	}
	waitpid(child, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(self->hits[0], hits);
	CHECK_EQ(self->tid, getpid());
}

#ifdef __SANITIZE_THREAD__
#define HAS_VFORK 0 /* ThreadSanitizer makes a fork of it */
#else
#define HAS_VFORK 1
#endif

static void *fork_without_record(void *by_vfork)
{
	int status = -1;
	pid_t child;

	child = (long)by_vfork ? vfork() : fork();
	if (!child) {
		struct reader *made = reader_self();

		/* The vfork's child has its parent's memory, and leaves it as it was. */
		if (by_vfork)
			_exit(made != NULL);
		_exit(!made || made->tid != (u32)getpid() || made->nest || reader_self() != made);
	}
	waitpid(child, &status, 0);
	return (void *)(long)status;
}

static void a_child_makes_its_own_record(void)
{
	struct reader *self = reader_self();
	void *result;
	pthread_t thread;

	for (long by_vfork = 0; by_vfork <= HAS_VFORK; by_vfork++) {
		pthread_create(&thread, NULL, fork_without_record, (void *)by_vfork);
		pthread_join(thread, &result);
		CHECK_EQ((long)result, 0);
	}
	CHECK_EQ(reader_self() == self && self->tid == (u32)getpid(), 1);
}

static u32 signals_handled;

static void hit_in_handler(int signal)
{
	(void)signal;
	if (reader_self() && reader_self()->tid == (u32)syscall(SYS_gettid))
		signals_handled++;
}

static void *first_hit_under_signals(void *ret_bad)
{
	struct reader *first;

	set_stage(1);
	wait_stage(2);
	first = reader_self();
	if (!first || first != reader_self() || first->tid != (u32)syscall(SYS_gettid))
		++*(u32 *)ret_bad;
	set_stage(3);
	return NULL;
}

/* A handler hits a probe while its thread makes its record: both must end with the same one. */
static void a_handler_may_make_the_record_first(void)
{
	u32 bad = 0;

	signal(SIGUSR1, hit_in_handler);
	for (int i = 0; i < 300; i++) {
		pthread_t thread;

		set_stage(0);
		pthread_create(&thread, NULL, first_hit_under_signals, &bad);
		wait_stage(1);
		set_stage(2);
		for (int k = 0; k < 3; k++)
			pthread_kill(thread, SIGUSR1);
		wait_stage(3);
		pthread_join(thread, NULL);
	}
	CHECK_EQ(bad, 0);
	CHECK(signals_handled > 0);
}

static void cores_can_be_synchronised(void)
{
	int error = sync_core();

	if (error == -EOPNOTSUPP)
		SKIP("the kernel has no membarrier SYNC_CORE");
	CHECK_EQ(error, 0);
}

#define FIRST_THREADS 4
#define FIRST_ROUNDS  300

static struct reader *first_records[FIRST_THREADS];
static u32 first_waiting;

static void *claim_at_once(void *ret_record)
{
	__atomic_fetch_add(&first_waiting, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&first_waiting, __ATOMIC_SEQ_CST) < FIRST_THREADS)
		sched_yield();
	*(struct reader **)ret_record = reader_self();
	/* Not gone before the others have theirs: its record would be taken by right. */
	__atomic_fetch_add(&first_waiting, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&first_waiting, __ATOMIC_SEQ_CST) < 2 * FIRST_THREADS)
		sched_yield();
	return NULL;
}

/* In a child, where no record has had an owner yet. */
static int first_hits_differ(void)
{
	pthread_t threads[FIRST_THREADS];

	if (reader_init())
		return 2;
	for (u32 i = 0; i < FIRST_THREADS; i++)
		pthread_create(&threads[i], NULL, claim_at_once, &first_records[i]);
	for (u32 i = 0; i < FIRST_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (u32 i = 0; i < FIRST_THREADS; i++) {
		for (u32 k = 0; k < i; k++) {
			if (!first_records[i] || first_records[i] == first_records[k])
				return 1;
		}
	}
	return 0;
}

/* Runs first: this process makes no record before. */
static void threads_that_begin_together_have_records_of_their_own(void)
{
	for (u32 round = 0; round < FIRST_ROUNDS && !test_failed_here; round++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			_exit(first_hits_differ());
		waitpid(pid, &status, 0);
		CHECK_EQ(status, 0);
	}
}

int main(void)
{
	RUN(threads_that_begin_together_have_records_of_their_own);
	if (reader_init() || reader_init())
		return 1;
	RUN(the_word_is_where_generated_code_looks);
	RUN(blocked_sigsegv_is_noted);
	RUN(grace_waits_for_a_thread_inside);
	RUN(grace_ends_under_busy_readers);
	RUN(nobody_reads_after_grace);
	RUN(a_mark_of_a_dead_thread_is_stale);
	RUN(records_are_recycled_and_sums_kept);
	RUN(a_mark_that_was_jumped_out_of_is_judged);
	RUN(a_reader_is_told_not_to_wait);
	RUN(a_child_has_its_own_records);
	RUN(a_child_makes_its_own_record);
	RUN(a_handler_may_make_the_record_first);
	RUN(cores_can_be_synchronised);
	return test_done();
}
