/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session inside the target: what its loader asked for, and who serves which request. Private to runtime_*.
 *
 * Everything here belongs to the control thread. What a thread of the target may still be running when it could not be
 * waited for stays for good (`kept`).
 */
#ifndef INLAY_AGENT_SESSION_H
#define INLAY_AGENT_SESSION_H

#include "agent/runtime.h"
#include "exec/exec.h"
#include "format/tail.h"
#include "sync/reader.h"

#define SESSION_MAX_MAPS  256
#define SESSION_MAX_LINKS 1024
/* Programs that only tail calls lead into. Their handles follow those of programs that may be attached. */
#define SESSION_MAX_TAILS 4096
#define SESSION_PROGRAMS  (READER_SLOTS + SESSION_MAX_TAILS)
/* How long threads inside a program are waited for: at a detachment, and at each of a session's end. */
#define SESSION_GRACE_MS       1000
#define SESSION_CLOSE_GRACE_MS 20

struct map;

struct session_map {
	struct map *map; /* NULL: free */
	bool kept;
};

struct session_prog {
	const struct image_header *image; /* NULL: free */
	size_t size;
	struct exec_code *code;
	struct map *maps[IMAGE_MAX_MAPS]; /* borrowed from the session */
	u32 map_handles[IMAGE_MAX_MAPS];
	u32 slot; /* of those that may be attached */
	bool kept;
	/* Of those that tail calls lead into. */
	struct tail_target target; /* what slots point to */
	u64 left; /* sync_grace_count() when it was last taken out of a slot, + 1; 0: it never was */
};

struct session_link {
	struct hook_link *link; /* NULL: free */
	u32 program;
};

struct session {
	int fd;
	struct runtime_stopper stopper;
	struct map *printk; /* NULL: its loader does not want what bpf_printk says */
	struct session *next_printk;
	bool perf_map; /* its loader wants one */
	struct session_map maps[SESSION_MAX_MAPS];
	struct session_prog programs[READER_SLOTS];
	struct session_prog *tails[SESSION_MAX_TAILS]; /* NULL: free */
	u32 tail_limit;				       /* handles in use are below */
	struct session_link links[SESSION_MAX_LINKS];
	struct hook_attach *sites; /* collected by WIRE_SITES */
	u32 site_count, site_room;
	struct wire_message message;
};

/* ---- runtime_session.c ---- */

void session_reply(struct session *session, int error, u64 value, const char *text);
/* The handle that a WIRE_DETACH and the like names, if it is below limit. */
bool session_handle(const struct session *session, u32 limit, u64 *ret_handle);

/* ---- runtime_program.c ---- */

void program_serve(struct session *session);
void program_serve_drop(struct session *session);
/* By handle. NULL: there is none. */
struct session_prog *program_at(struct session *session, u64 handle);
/* A thread may stay in it, and in whatever tail calls lead to from there. */
void program_keep(struct session *session, struct session_prog *program);
/* Of a session whose links are gone. */
void program_drop_all(struct session *session);

/* ---- runtime_tail.c ---- */

void tail_serve_slots(struct session *session);
/* A program was compiled: its direct tail calls go where the slots of its maps say. 0 or -errno. */
int tail_follow(struct session *session, struct session_prog *program);
/* The program is in no slot any more: waits until no thread is on its way into it. 0 or -ETIMEDOUT. */
int tail_settle(const struct session_prog *program);

#endif
