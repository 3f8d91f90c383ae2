/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process with our agent in it, from the loader's side: one session, and the requests on it.
 *
 * Shared by all links of this loader to that process and counted; the session ends with the last user. Not thread-safe: backend.c
 * holds its lock. Stops that the agent asks for are answered inside target_request, by the calling thread.
 */
#ifndef INLAY_AGENT_TARGET_H
#define INLAY_AGENT_TARGET_H

#include "agent/inject.h"
#include "agent/stop.h"
#include "agent/wire.h"
#include "object/object.h"

#define TARGET_MAX_PROGS 64

/* A program that the agent has compiled. */
struct target_prog {
	u32 prog_id; /* 0: free */
	u32 handle;
	u32 users;
	u64 hits; /* as last asked for */
};

/* A program that tail calls lead into. */
struct target_tail {
	u32 prog_id; /* 0: free */
	u32 handle;
	u32 users; /* slots */
};

struct target_map {
	u32 map_id;
	u32 handle;
	u32 *slots; /* of a prog array: index in tails + 1 of the program in each slot, 0: none */
};

/* A module whose unwind table the agent has. */
struct target_table {
	u64 start, end, bias, inode;
};

struct target {
	struct target *next;
	pid_t pid;
	u32 users;
	int fd;	       /* of the session */
	int pidfd;     /* tells of the process's end */
	pid_t kept;    /* a thread that target_open_kept left stopped; 0: none */
	bool followed; /* as the child of another */
	bool exited;
	struct process *process;
	struct stop stop;
	bool stopped;
	u64 stops, stop_max_ns, stop_total_ns;
	u64 hold_max_ns; /* of a stop: after the last thread stood */
	u64 missed;	 /* as last asked for */
	struct target_prog progs[TARGET_MAX_PROGS];
	struct target_map *maps;
	struct target_tail *tails;
	u32 tail_count;
	struct target_table *tables;
	size_t table_count;
	u32 runtimes; /* bit i: the agent knows the i-th C++ runtime that there may be */
	u32 map_count;
	struct wire_message message; /* the last one received */
};

/* Opens a session, injecting the agent where it is not there yet. -errno with the problem in words. */
int target_open(pid_t pid, pid_t held, const struct problem *problem, struct target **ret_target);
/*
 * The same for a child that goes on in what its parent's agent made. The thread that brought its own agent in, which is all of a
 * child just forked, stays stopped until target_release, so that it runs either the parent's probes or its own.
 */
int target_open_kept(pid_t pid, const struct problem *problem, struct target **ret_target);
/* Lets the kept thread go. */
void target_release(struct target *target);
/* Has the session ended by itself (the process exited or executed another program)? Notes it in target->exited. */
bool target_is_gone(struct target *target);
/* Ends the session: the agent takes back what is still attached. */
void target_close(struct target *target);

/*
 * Sends the unwind tables of all modules mapped now that the agent does not have yet. A module whose table cannot be had or sent
 * is left out: stacks end there.
 */
void target_send_tables(struct target *target);
/* Tells the agent of C++ runtimes that it does not know yet. Refreshes the process: modules become invalid. */
void target_send_runtimes(struct target *target);
/* Sends a module's table, by which displaced instructions are described, before functions of the module are entered. */
void target_send_table(struct target *target, const struct process_module *module);

/* ---- target_program.c: what the agent runs ---- */

struct target_place {
	u64 near;  /* compile within reach of this address */
	bool tail; /* only tail calls lead into it */
};

int target_send_map(struct target *target, u32 kind, const struct map *map, u32 *ret_handle);
/*
 * Sends a program, and before it its maps and all programs that tail calls from it may lead into. Where its maps include prog
 * arrays, under the object layer's lock (object.h, set_slots). -errno with the problem in words.
 */
int target_send_prog(struct target *target, int prog_fd, u32 prog_id, struct target_place place,
		     const struct problem *problem, u32 *ret_handle);
/* Slots of a prog array are to hold other programs: nothing to do where the target does not have it. 0 or -errno. */
int target_set_slots(struct target *target, struct map *map, const struct link_slot *slots,
		     u32 count);
void target_free_maps(struct target *target);

/*
 * Sends a request and waits for its answer (in target->message). 0; -ESRCH: the process is gone (target->exited); -EPROTO;
 * -ETIMEDOUT. Whether the request succeeded is in the answer.
 */
int target_request(struct target *target, u32 kind, const void *payload, u32 size, const int *fds,
		   u32 fd_count);
/* The same for requests answered by WIRE_REPLY: its error counts as ours. */
int target_ask(struct target *target, u32 kind, const void *payload, u32 size, const int *fds,
	       u32 fd_count, struct wire_reply *ret_reply);

#endif
