/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What backend.c and backend_follow.c share: the targets of this loader, and the links into them.
 *
 * A link has one attachment in each process it reaches: the one it was made for, and the children that were followed.
 * Everything is under backend.lock.
 */
#ifndef INLAY_AGENT_BACKEND_STATE_H
#define INLAY_AGENT_BACKEND_STATE_H

#include <pthread.h>

#include "agent/backend.h"
#include "agent/children.h"
#include "agent/target.h"

struct attachment {
	struct attachment *next;
	struct target *target;
	struct target_prog *prog;
	u32 handle;
};

struct agent_link {
	struct agent_link *next;
	struct link_request request; /* a copy; only kept where children are followed */
	struct signature signature;
	struct attachment *attachments;
};

/* Runs of a program in processes that are gone. */
struct past_prog {
	u32 prog_id;
	u64 hits;
};

struct backend {
	pthread_mutex_t lock;
	struct target *targets;
	struct agent_link *links; /* in the order they were made */
	struct map *printk_ring;
	struct agent_stats past; /* of targets and programs that are gone */
	struct past_prog *past_progs;
	u32 past_count;
	bool perf_map_wanted;
	bool follow;
	pid_t root; /* the first process attached to */
	struct children children;
};
extern struct backend backend;

/* Sends program and sites of a request to a target. The attachment is the caller's; it holds no use of the target. */
int backend_attach(struct target *target, const struct link_request *request,
		   const struct problem *problem, struct attachment *ret_attachment);
/* Detaches, and drops the program and one use of the target; frees. Errors as target_ask. */
int backend_drop(struct attachment *attachment);
/* A target that was opened. 0, or -errno with the problem in words: it is still the caller's. */
int backend_add_target(struct target *target, const struct problem *problem);
void backend_put_target(struct target *target);
void backend_ask_hits(struct target *target);

/* ---- backend_follow.c ---- */

/* Before the agent comes into a process: the children that it has are none to follow. */
void follow_begin(pid_t pid);
/* Copies what a link needs to reach other processes later. 0 or -ENOMEM. */
int follow_keep(struct agent_link *link, const struct link_request *request);
void follow_forget(struct agent_link *link);

#endif
