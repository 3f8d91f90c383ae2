/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How bpf(2)'s links reach other processes: object/'s link_backend over injected agents.
 *
 * Any thread; one lock. Threads of a target are stopped, if at all, inside attach and detach, by the calling thread.
 */
#ifndef INLAY_AGENT_BACKEND_H
#define INLAY_AGENT_BACKEND_H

#include <sys/types.h>

#include "object/object.h"

/* For object_set_link_backend. Errors of attach: as inject_session, hook_attach_batch, and -ENOENT (no such function). */
extern const struct link_backend agent_link_backend;

/* The process meant by links that name none (`-p PID` for programs whose section says no pid). 0: none. */
void agent_set_default_pid(pid_t pid);
/* Where bpf_printk of programs in targets goes: sent to each target at its first link. Borrowed; NULL: nowhere. */
void agent_set_printk_ring(struct map *ring);

/* Whether targets are to keep a perf map (unwind/perf_map.h) while something is attached to them. */
void agent_set_perf_map(bool wanted);

/* Sums over everything this loader attached, detached links included. */
struct agent_stats {
	u64 hits;   /* runs of programs */
	u64 missed; /* hits on which a program could not run (of the whole target, any loader) */
	u64 stops, stop_max_ns,
		stop_total_ns; /* how often and how long targets' threads were stopped */
	u64 hold_max_ns; /* the longest that threads waited while code was written, once all stood */
	bool exited;	 /* some target is gone; its counts are as last asked for */
};
void agent_stats(struct agent_stats *ret_stats);
/* Runs of one program (bpf_prog_info.id) in the targets it is or was attached to. -ENOENT: attached nowhere. */
int agent_prog_hits(u32 prog_id, u64 *ret_hits);
/*
 * The socket to a target's agent, to be polled for its end only (POLLHUP: the process ended or executed another program).
 * Borrowed, until the last link into the process is closed. -1: none.
 */
int agent_session_fd(pid_t pid);

/* ---- backend_follow.c: children that targets fork ---- */

/*
 * From now on every link reaches the children as well that its target forks, and theirs. Before the first link is made; the
 * descriptors of the programs stay open as long as their links.
 */
void agent_follow(void);

struct agent_followed {
	u32 count;	   /* children attached to */
	u32 failed;	   /* children that could not be */
	char problem[256]; /* why, of the last of them */
};
/*
 * Attaches to children that were forked since; forgets those that are gone. To be called every ten milliseconds or so, by the
 * thread that makes bpf(2) calls. A child is held while it is attached to.
 */
void agent_follow_children(struct agent_followed *ret_followed);
/* After the last link is closed: takes what children inherited meanwhile out of them. */
void agent_follow_end(void);

#endif
