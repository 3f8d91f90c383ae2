/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent inside a target: two threads that the program does not know of.
 *
 * The *control* thread owns a descriptor table of its own and serves the sessions' requests; the *deputy* shares that table
 * and does what hits leave to it (sync/deputy.h). Both block every signal. They are started by agent_entry, which the
 * loader calls on one of the program's threads, and end with the last session.
 */
#ifndef INLAY_AGENT_RUNTIME_H
#define INLAY_AGENT_RUNTIME_H

#include "agent/wire.h"
#include "base/types.h"

#define RUNTIME_MAX_SESSIONS 32

/* ---- runtime.c ---- */

/* Called by the loader on a stopped thread of the program; system calls only. 0, AGENT_STALE or -errno. */
int agent_entry(const struct agent_params *params);

/* Thread ids of control and deputy. */
void runtime_tids(u32 ret_tids[2]);
/* The directory descriptor of /proc/self: it stays right when the program changes its root or identity. */
int runtime_proc_fd(void);

/* ---- runtime_self.c: what debuggers see of us ---- */

/* The dynamic linker's record of this copy; 0: not known. Any thread of the program. */
void self_set_link_map(u64 link_map);
/* Has the control thread no file of the agent? */
bool self_wants_file(void);
/*
 * Takes the descriptor of the agent's file. By its path the dynamic linker's list names the agent from then on: debuggers open it
 * and find the symbols behind which generated code is described.
 */
void self_set_file(int fd);
/* The descriptor table ends. */
void self_close(void);

/* ---- runtime_creds.c: follow the program's identity ---- */

/* Takes on the program's user and group ids where they changed. The calling thread only. 0 or -errno. */
int creds_follow(void);
/* Is a thread other than ours alive? When none is, nobody would end the process but we. */
bool creds_program_alive(void);

/* ---- runtime_session.c: what one loader asked for ---- */

struct session;
/* Takes the descriptor. NULL: no memory. */
struct session *session_open(int fd);
int session_fd(const struct session *session);
/* Receives one request and answers it. 0, or -EPIPE when the loader is gone. */
int session_serve(struct session *session);
/* Takes back everything the loader attached, and frees it. */
void session_close(struct session *session);

/* ---- runtime_stop.c: the stoppers hook/ is given ---- */

/* Asks the loader on fd to stop our threads; falls back on a helper process of our own when it is gone. */
struct runtime_stopper {
	struct poke_stopper stopper; /* for hook/; its opaque is this struct */
	int fd;			     /* of the session; -1: the loader is gone */
	void *helper;		     /* private */
	u32 by_helper;		     /* who holds the threads now */
	u32 alone; /* the agent has no thread here: the calling one is left running */
};
void runtime_stopper_init(struct runtime_stopper *stopper, int fd);
/* For a thread of the program, in a child of a fork that inherited our memory and not our threads. Takes no lock. */
void runtime_stopper_init_alone(struct runtime_stopper *stopper);

#endif
