/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reader records: which threads are inside generated code, and grace periods that wait for them.
 *
 * One initial-exec TLS word a thread points to its record (NULL until its first hit). Generated code
 * increments record->nest on the way in and decrements it on the way out; both are plain, non-atomic
 * increments of the thread's own memory. An updater makes code unreachable (poke), issues
 * membarrier(PRIVATE_EXPEDITED), then waits until each record has been seen at nest == 0 or with another
 * generation: that is a grace period.
 *
 *   who      | does                           | order that is relied on
 *   reader   | nest = 1; run code; nest = 0   | program order; no fence
 *   updater  | unlink code; membarrier; read  | the membarrier is a full fence in every running reader: a nest stored
 *            | nest of every record           | before it is seen, one stored after it goes with the new code
 *   updater  | saw 0 or a new generation;     | the second membarrier puts the reader's last loads before the free
 *            | membarrier; free               |
 *   claim    | CAS tid (gone or 0) -> mine    | acquire; publishes nothing but the claim itself
 *   any      | reader_hits, reader_missed     | relaxed sums: exact once the threads are quiet
 *
 * A record outlives its thread: it is recycled when its owner's tid is gone (tgkill answers ESRCH). hits and missed
 * stay in the record when it changes hands, so that sums count threads that are gone.
 * A mark left behind by siglongjmp, cancel or exit is stale: when the thread is gone, or when its stack pointer is above
 * record->sp on the same stack, which sync_set_stale_judge's function can tell.
 *
 * The memory is private to the process, not shared: after fork() the child has its own copy, so that its one thread,
 * whose TLS word still points to "its" record, cannot write the parent's. (Elements of shared maps are reused by
 * rules of their own, maps/hash.c, and wait for no other process's readers.) The child's copy keeps the thread's hooked
 * returns, which it needs to return; records of the parent's other threads are dead there once the record is adopted.
 */
#ifndef INLAY_SYNC_READER_H
#define INLAY_SYNC_READER_H

#include "base/cpu.h"
#include "base/types.h"

/* Programs of one process that can be told apart in `active` and `hits`. */
#define READER_SLOTS 64

/* The first cache line is all that an entry probe touches; generated code knows the offsets. */
struct reader {
	u64 nest;	/* > 0: inside generated code. Written by its thread only */
	u64 sp;		/* stack pointer at the outermost entry */
	u64 generation; /* + 1 at each outermost exit */
	u32 tid;	/* 0: free */
	u32 flags;	/* READER_* */
	u64 active;	/* bit per program slot: recursion guards of the programs now running */
	u64 missed;	/* hits not run for lack of room (recursion, slots, shadow stack) */
	void *shadow; /* stack of hooked returns (hook/shadow.c); NULL until the first exit probe */
	u64 hits[READER_SLOTS]; /* runs of each program slot by this thread */
	u32 percpu_slot;	/* slot held (READER_PERCPU_HELD) or last held, see sync/percpu.h */
	u32 percpu_depth;	/* runs of this thread that share it now */
	void *left_shadow; /* what shadow was for an earlier owner of the record: to be emptied and used */
} __attribute__((aligned(64)));

#define READER_NO_SIGNALS  (1u << 0) /* SIGSEGV was blocked when the record was made */
#define READER_PERCPU_HELD (1u << 31)
#define READER_PERCPU_NONE 0x7fffffffu

/* Reserves the memory for records (READER_MAX of them; pages appear as they are used). Once a process; 0 when it had been
 * done. 0 or -ENOMEM. */
#define READER_MAX 65536
int reader_init(void);

/* The TLS word's offset from the thread pointer, for generated code. */
s64 reader_tls_offset(void);

/*
 * The calling thread's record; makes one on the first call. NULL when none is free, reader_init was not called, or in a
 * process that shares its parent's memory (vfork). At a hit: no libc call, no lock; a signal handler may call it while its
 * thread is inside it.
 */
struct reader *reader_self(void);
/* The calling thread's id without a system call where it has a record. At a hit, signal-safe. Wrong in the child of a fork
 * until reader_adopt(). */
u32 reader_tid(void);
/* In the child of a fork, by the thread that forked: its record gets its new tid. Also done by sync_grace. */
void reader_adopt(void);

/* Enter and leave by hand, for C code on the hit path. */
static inline void reader_enter(struct reader *reader)
{
	__atomic_store_n(&reader->nest, reader->nest + 1, __ATOMIC_RELAXED);
	cpu_compiler_barrier();
}

static inline void reader_leave(struct reader *reader)
{
	u64 nest = reader->nest - 1;

	if (nest == 0)
		__atomic_store_n(&reader->generation, reader->generation + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&reader->nest, nest, __ATOMIC_RELEASE);
}

/*
 * One grace period: every thread that was inside generated code when it was called has left it since, or is
 * gone. timeout_ms < 0: no limit. Returns 0, -ETIMEDOUT (then nothing may be freed; call again later), -EOPNOTSUPP (the
 * kernel has no membarrier) or -EDEADLK (called by a reader). Counts itself in sync_grace_count() when it succeeds.
 */
int sync_grace(int timeout_ms);
u64 sync_grace_count(void);

/*
 * Who can tell whether a thread, alive and marked inside since sp, is really there: answers true when its stack pointer
 * is known to be above sp on the same stack (siglongjmp took it out). Asked by sync_grace after it has waited 10 ms,
 * then every 100 ms. NULL: nobody.
 */
void sync_set_stale_judge(bool (*judge)(u32 tid, u64 sp));

/* membarrier(PRIVATE_EXPEDITED_SYNC_CORE) with registration on first use. 0, or -EOPNOTSUPP where the kernel lacks it. */
int sync_core(void);
/* membarrier(PRIVATE_EXPEDITED), likewise. */
int sync_threads(void);

/* Sums over all records, threads that are gone included. Any thread. */
u64 reader_missed(void);
u64 reader_hits(u32 slot);
/* Forgets the hits of a slot that is given to another program. After a grace period. */
void reader_hits_clear(u32 slot);

#endif
