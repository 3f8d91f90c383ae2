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
 * Ordering: the membarrier pairs with the absence of a fence in the reader. A reader that the updater
 * sees at 0 after the membarrier either had not passed the poked site (and takes the new code) or is done.
 *
 * A record outlives its thread: it is recycled when its owner's tid is gone. A mark left behind by
 * siglongjmp, cancel or exit is stale when the thread is gone, or its stack pointer is above record->sp
 * on the same stack; sync_grace asks the kernel (tid) and, where given, the stopper.
 */
#ifndef INLAY_SYNC_READER_H
#define INLAY_SYNC_READER_H

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
	void *shadow;	/* stack of hooked returns (hook/shadow.c), allocated at the first exit probe */
	u64 hits[READER_SLOTS]; /* runs of each program slot by this thread */
} __attribute__((aligned(64)));

#define READER_NO_SIGNALS (1u << 0) /* SIGSEGV was blocked when the record was made */

/* Reserves the memory for records (READER_MAX of them; pages appear as they are used). Once a process. 0 or -ENOMEM. */
#define READER_MAX 65536
int reader_init(void);

/* The TLS word's offset from the thread pointer, for generated code. */
s64 reader_tls_offset(void);

/* The calling thread's record; makes one on the first call. NULL when none is free. At a hit: no libc call, no lock
 * that a signal handler could deadlock on. */
struct reader *reader_self(void);

/* Enter and leave by hand, for C code on the hit path. */
static inline void reader_enter(struct reader *reader)
{
	reader->nest++;
	__asm__ volatile("" : : : "memory");
}

static inline void reader_leave(struct reader *reader)
{
	__asm__ volatile("" : : : "memory");
	reader->nest--;
}

/*
 * One grace period: every thread that was inside generated code when it was called has left it since, or is
 * gone. timeout_ms < 0: no limit. Returns 0 or -ETIMEDOUT (then nothing may be freed; call again later).
 * Not from a reader. Counts itself in sync_grace_count().
 */
int sync_grace(int timeout_ms);
u64 sync_grace_count(void);

/* membarrier(PRIVATE_EXPEDITED_SYNC_CORE) with registration on first use. 0 or -errno. */
int sync_core(void);
/* membarrier(PRIVATE_EXPEDITED). */
int sync_threads(void);

/* Sums over all records, threads that are gone included. Any thread. */
u64 reader_missed(void);
u64 reader_hits(u32 slot);
/* Forgets the hits of a slot that is given to another program. After a grace period. */
void reader_hits_clear(u32 slot);

#endif
