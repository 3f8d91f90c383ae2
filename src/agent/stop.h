/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stop every thread of another process for a moment, so that code under their feet can change.
 *
 * PTRACE_SEIZE and PTRACE_INTERRUPT on each, no signal sent. Used by the loader, and by the helper process a target's agent
 * starts when its loader is gone; so it uses system calls only. All calls come from one thread (ptrace wants it so).
 *
 *   thread \ event | INTERRUPT             | detach
 *   running        | stops                 | runs on
 *   in a call      | call is interrupted   | call restarts: the kernel restarts most, we the others
 *   group-stopped  | traps                 | stays stopped
 *   signal arrives | stops at its delivery | signal is delivered
 */
#ifndef INLAY_AGENT_STOP_H
#define INLAY_AGENT_STOP_H

#include "base/types.h"
#include "hook/poke.h"

#define STOP_MAX_THREADS 16384

struct stop {
	int pid;
	u32 skip[2]; /* threads left running: the agent's, as the caller names them */
	int held_tid; /* already stopped under the caller's ptrace: neither seized nor released; 0: none */
	u64 began_ns;  /* of the first interrupt */
	u64 waited_ns; /* from then until all stood where they may; 0: the attempt was given up */
	u64 last_ns;   /* how long the last stop lasted */
	u32 late;      /* attempts in a row that took too long */
	int scheduler
		[3]; /* of the calling thread and those skipped, to go back to; -1: unchanged */
	u32 count;
	struct {
		int tid;
		int signal; /* to deliver at release */
		bool stopped;
	} threads[STOP_MAX_THREADS];
};

/*
 * A busy machine may not let each thread run to its stop soon; the others wait for it meanwhile. So an attempt that is not
 * complete in STOP_BUDGET is given up, and only after STOP_PATIENCE of those in a row is one let take STOP_BUDGET_LATE.
 */
#define STOP_BUDGET_NS	    1500000ull
#define STOP_BUDGET_LATE_NS 50000000ull
#define STOP_PATIENCE	    30

/*
 * Stops all threads and moves instruction pointers out of the pokes' windows. 0: they are stopped until stop_resume.
 * -EAGAIN: a thread or a signal frame is where it cannot be moved, or one did not stop in time; -EPERM, -E2BIG, -errno. After
 * an error they run again. Another tracer is waited for, for a second.
 */
int stop_all(struct stop *stop, const struct poke *pokes, u32 count);
void stop_resume(struct stop *stop);

/* For an agent whose loader died in the middle of a stop, which had put it ahead of ordinary threads: it is one again. */
void stop_hurry_no_more(void);

/* Pieces that injection uses too. Waits for tid's next stop: 0 and its wait status, -ESRCH (gone) or -ETIMEDOUT. */
int stop_wait(int tid, u32 timeout_ms, int *ret_status);
/*
 * For a thread at its stop by PTRACE_INTERRUPT: some calls answer EINTR to every interruption, of whatever kind, and programs
 * that install no handler do not expect it. Such a call restarts.
 */
void stop_hide_interruption(int tid);
/* Monotonic nanoseconds. */
u64 stop_now(void);

#endif
