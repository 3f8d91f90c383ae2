// SPDX-License-Identifier: BSD-2-Clause
#include "sync/reader.h"

#include <linux/membarrier.h>

#include "base/sys.h"

/* Records that each claim asks after before it takes a fresh one: the table stays near the number of live threads. */
#define CLAIM_LOOKS 4
/* When all are taken. */
#define CLAIM_LOOKS_FULL 256

static __thread struct reader *self;

static struct reader *records;
static u32 records_used; /* those below it have had an owner */
static u32 claim_cursor;
static u32 records_pid; /* the process that the tids in the records belong to */
/* 1, in a page that fork() clears: another process that reads it as 1 shares our memory (vfork). NULL: that is not known. */
static const u32 *memory_is_ours;
static u64 grace_count;
static bool (*stale_judge)(u32 tid, u64 sp);

static void mark_memory(void)
{
	u32 *page =
		sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_is_error(page))
		return;
	if (sys_madvise(page, 4096, MADV_WIPEONFORK)) {
		sys_munmap(page, 4096);
		return;
	}
	*page = 1;
	__atomic_store_n(&memory_is_ours, page, __ATOMIC_RELEASE);
}

int reader_init(void)
{
	struct reader *memory, *expected = NULL;
	size_t size = sizeof(struct reader) * READER_MAX;

	if (__atomic_load_n(&records, __ATOMIC_ACQUIRE))
		return 0;
	memory = sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sys_is_error(memory))
		return -ENOMEM;
	records_pid = (u32)sys_getpid();
	if (!__atomic_compare_exchange_n(&records, &expected, memory, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		sys_munmap(memory, size);
	else
		mark_memory();
	return 0;
}

s64 reader_tls_offset(void)
{
	return (s64)(ptr_to_u64(&self) - cpu_thread_pointer());
}

static bool thread_gone(u32 tid)
{
	return sys_tgkill(sys_getpid(), (int)tid, 0) == -ESRCH;
}

static bool in_fork_child(void)
{
	return __atomic_load_n(&records_pid, __ATOMIC_RELAXED) != (u32)sys_getpid();
}

/*
 * Takes the record for tid if nobody has it. A record with our own tid is never taken here: it may be the one that the
 * code below us, interrupted by this signal, has just claimed.
 */
static bool take(struct reader *reader, u32 tid)
{
	u32 owner = __atomic_load_n(&reader->tid, __ATOMIC_RELAXED);

	if (owner == tid || (owner && thread_gone(owner) == false))
		return false;
	return __atomic_compare_exchange_n(&reader->tid, &owner, tid, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static struct reader *take_used(u32 tid, u32 looks)
{
	u32 used = MIN(__atomic_load_n(&records_used, __ATOMIC_ACQUIRE), READER_MAX);

	for (u32 i = 0; i < MIN(looks, used); i++) {
		u32 at = __atomic_fetch_add(&claim_cursor, 1, __ATOMIC_RELAXED) % used;

		if (take(&records[at], tid))
			return &records[at];
	}
	return NULL;
}

static struct reader *take_fresh(u32 tid)
{
	u32 at = __atomic_load_n(&records_used, __ATOMIC_RELAXED);

	while (at < READER_MAX) {
		if (__atomic_compare_exchange_n(&records_used, &at, at + 1, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED)) {
			/* Counted as used, it may be found free and taken by another thread before us. */
			if (take(&records[at], tid))
				return &records[at];
			at = __atomic_load_n(&records_used, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static struct reader *take_any(u32 tid)
{
	struct reader *reader = take_used(tid, CLAIM_LOOKS);

	if (!reader)
		reader = take_fresh(tid);
	return reader ? reader : take_used(tid, CLAIM_LOOKS_FULL);
}

/*
 * In a process that has our memory. After vfork() the TLS word is the parent's: nothing. After fork() the forked thread's own
 * record looks like a dead thread's until it is adopted, so that only one that nobody had will do.
 */
static struct reader *take_in_child(u32 tid)
{
	const u32 *ours = __atomic_load_n(&memory_is_ours, __ATOMIC_ACQUIRE);

	return ours && !*(const volatile u32 *)ours ? take_fresh(tid) : NULL;
}

/* hits and missed stay: they are sums over all owners. */
static void clean(struct reader *reader)
{
	u64 blocked = 0;
	u32 flags = 0;

	if (reader->shadow) {
		reader->left_shadow = reader->shadow;
		reader->shadow = NULL;
	}
	if (sys_rt_sigprocmask(SIG_BLOCK, NULL, &blocked) != 0 || blocked & 1ull << (SIGSEGV - 1))
		flags |= READER_NO_SIGNALS;
	reader->flags = flags;
	reader->active = 0;
	reader->sp = 0;
	reader->percpu_depth = 0;
	reader->percpu_slot = READER_PERCPU_NONE;
	__atomic_store_n(&reader->generation, reader->generation + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&reader->nest, 0, __ATOMIC_RELEASE);
}

static __attribute__((noinline)) struct reader *make_self(void)
{
	struct reader *made, *expected = NULL;
	u32 tid = (u32)sys_gettid();

	if (!__atomic_load_n(&records, __ATOMIC_ACQUIRE))
		return NULL;
	made = in_fork_child() ? take_in_child(tid) : take_any(tid);
	if (!made)
		return NULL;
	clean(made);
	/* A signal handler may have been here meanwhile: the first to set the word wins. */
	if (!__atomic_compare_exchange_n(&self, &expected, made, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED)) {
		__atomic_store_n(&made->tid, 0, __ATOMIC_RELEASE);
		return expected;
	}
	return made;
}

struct reader *reader_self(void)
{
	struct reader *reader = __atomic_load_n(&self, __ATOMIC_RELAXED);

	return likely(reader) ? reader : make_self();
}

u32 reader_tid(void)
{
	struct reader *reader = __atomic_load_n(&self, __ATOMIC_RELAXED);

	return likely(reader) ? reader->tid : (u32)sys_gettid();
}

void reader_adopt(void)
{
	u32 pid = (u32)sys_getpid();
	u32 tid = (u32)sys_gettid();

	/* fork()'s child starts as the leader of its process. */
	if (__atomic_load_n(&records_pid, __ATOMIC_RELAXED) == pid || tid != pid)
		return;
	if (self)
		__atomic_store_n(&self->tid, tid, __ATOMIC_RELEASE);
	__atomic_store_n(&records_pid, pid, __ATOMIC_RELEASE);
}

/* A membarrier command and what registers for it; each process registers once, a fork's child again. */
static int membarrier_registered(int command, int registration, u32 *registered_pid)
{
	u32 pid = (u32)sys_getpid();
	int error;

	if (__atomic_load_n(registered_pid, __ATOMIC_RELAXED) != pid) {
		error = sys_membarrier(registration, 0);
		if (error)
			return -EOPNOTSUPP;
		__atomic_store_n(registered_pid, pid, __ATOMIC_RELAXED);
	}
	return sys_membarrier(command, 0) ? -EOPNOTSUPP : 0;
}

int sync_core(void)
{
	static u32 registered_pid;

	return membarrier_registered(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
				     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
				     &registered_pid);
}

int sync_threads(void)
{
	static u32 registered_pid;

	return membarrier_registered(MEMBARRIER_CMD_PRIVATE_EXPEDITED,
				     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, &registered_pid);
}

void sync_set_stale_judge(bool (*judge)(u32 tid, u64 sp))
{
	__atomic_store_n(&stale_judge, judge, __ATOMIC_RELEASE);
}

static s64 now_us(void)
{
	struct timespec now;

	sys_clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

static void pause_for(u32 round)
{
	struct timespec nap = {.tv_nsec = round < 40 ? 50000 : 1000000};

	if (round < 16)
		sys_sched_yield();
	else
		sys_nanosleep(&nap);
}

/* The mark's thread is gone, or has jumped out of it. */
static bool mark_is_stale(const struct reader *reader)
{
	bool (*judge)(u32, u64) = __atomic_load_n(&stale_judge, __ATOMIC_ACQUIRE);
	u32 tid = __atomic_load_n(&reader->tid, __ATOMIC_ACQUIRE);
	u64 sp = __atomic_load_n(&reader->sp, __ATOMIC_RELAXED);

	return tid == 0 || (judge && sp && judge(tid, sp));
}

/* Waits until the reader has been seen outside. deadline in us, < 0: none. */
static int wait_for(struct reader *reader, s64 start, s64 deadline)
{
	u64 generation = __atomic_load_n(&reader->generation, __ATOMIC_ACQUIRE);
	s64 next_judgement = start + 10000;

	for (u32 round = 0;; round++) {
		u32 tid = __atomic_load_n(&reader->tid, __ATOMIC_ACQUIRE);
		s64 now;

		if (__atomic_load_n(&reader->nest, __ATOMIC_ACQUIRE) == 0 ||
		    __atomic_load_n(&reader->generation, __ATOMIC_ACQUIRE) != generation)
			return 0;
		if (!tid || (round >= 16 && !in_fork_child() && thread_gone(tid)))
			return 0;
		now = now_us();
		if (now >= next_judgement) {
			if (mark_is_stale(reader))
				return 0;
			next_judgement = now + 100000;
		}
		if (deadline >= 0 && now >= deadline)
			return -ETIMEDOUT;
		pause_for(round);
	}
}

/* The caller is outside generated code by contract; a mark it still has is one that it jumped out of. */
static bool called_by_reader(void)
{
	return self && __atomic_load_n(&self->nest, __ATOMIC_RELAXED) &&
	       (!self->sp || self->sp > cpu_stack_pointer());
}

int sync_grace(int timeout_ms)
{
	s64 start = now_us();
	s64 deadline = timeout_ms < 0 ? -1 : start + timeout_ms * 1000ll;
	u32 used;
	int error;

	reader_adopt();
	if (called_by_reader())
		return -EDEADLK;
	error = sync_threads();
	if (error)
		return error;
	used = __atomic_load_n(&records_used, __ATOMIC_ACQUIRE);
	for (u32 i = 0; i < used; i++) {
		if (&records[i] == self || !__atomic_load_n(&records[i].nest, __ATOMIC_ACQUIRE))
			continue;
		error = wait_for(&records[i], start, deadline);
		if (error)
			return error;
	}
	error = sync_threads();
	if (error)
		return error;
	__atomic_fetch_add(&grace_count, 1, __ATOMIC_RELAXED);
	return 0;
}

u64 sync_grace_count(void)
{
	return __atomic_load_n(&grace_count, __ATOMIC_RELAXED);
}

u64 reader_missed(void)
{
	u32 used = __atomic_load_n(&records_used, __ATOMIC_ACQUIRE);
	u64 sum = 0;

	for (u32 i = 0; i < used; i++)
		sum += __atomic_load_n(&records[i].missed, __ATOMIC_RELAXED);
	return sum;
}

u64 reader_hits(u32 slot)
{
	u32 used = __atomic_load_n(&records_used, __ATOMIC_ACQUIRE);
	u64 sum = 0;

	if (slot >= READER_SLOTS)
		return 0;
	for (u32 i = 0; i < used; i++)
		sum += __atomic_load_n(&records[i].hits[slot], __ATOMIC_RELAXED);
	return sum;
}

void reader_hits_clear(u32 slot)
{
	u32 used = __atomic_load_n(&records_used, __ATOMIC_ACQUIRE);

	for (u32 i = 0; slot < READER_SLOTS && i < used; i++)
		__atomic_store_n(&records[i].hits[slot], 0, __ATOMIC_RELAXED);
}
