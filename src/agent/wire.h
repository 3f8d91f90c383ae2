/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What loader and agent say to each other over a SOCK_SEQPACKET socket pair: one message a packet, descriptors beside it.
 *
 * The loader asks, the agent answers each request with one WIRE_REPLY. While the agent works on a request that changes
 * code it may ask back (WIRE_STOP, WIRE_RESUME); the loader answers those at once and goes on waiting for its reply.
 * Both ends are of one build (the loader brings the agent along), so structs travel as they are.
 *
 *   loader                agent
 *     HELLO        ->            version and process id are compared
 *     MEM, REGISTRY, PRINTK, SELF -> descriptors the session works with
 *     PERF_MAP     ->            keep a perf map while the session lasts
 *     MAP, PROG    ->            what a program is made of; the reply's value is a handle
 *     SLOTS        ->            which programs the tail calls through a prog array lead to
 *     UNWIND...    ->            how to walk stacks through each module, for programs that do
 *     SITES...     ->            recipes, collected
 *     ATTACH       ->            all of them, or none
 *          <-  STOP              stop every thread, look at its instruction pointer
 *     STOPPED      ->
 *          <-  RESUME
 *     DETACH, STATS, DROP_* ->
 *   end of file: the agent takes back everything the session did
 */
#ifndef INLAY_AGENT_WIRE_H
#define INLAY_AGENT_WIRE_H

#include "base/types.h"
#include "format/image.h"
#include "hook/hook.h"

#define WIRE_VERSION	 1
#define WIRE_MAX_PAYLOAD 65536 /* a packet must fit the default socket buffer */
#define WIRE_MAX_FDS	 4

enum wire_kind {
	WIRE_REPLY = 1,
	WIRE_HELLO,
	WIRE_MEM,
	WIRE_REGISTRY,
	WIRE_PRINTK,
	WIRE_SELF,
	WIRE_PERF_MAP,
	WIRE_MAP,
	WIRE_PROG,
	WIRE_SLOTS,
	WIRE_SITES,
	WIRE_ATTACH,
	WIRE_DETACH,
	WIRE_DROP_PROG,
	WIRE_STATS,
	WIRE_REFRESH,
	WIRE_UNWIND,
	WIRE_RUNTIME,
	WIRE_STOP,
	WIRE_STOPPED,
	WIRE_RESUME,
};

struct wire_header {
	u32 kind;
	u32 size; /* of the payload that follows */
};

/* Answer to every request. error 0 or -errno; text says why in words, or is empty. */
struct wire_reply {
	s32 error;
	u32 index; /* the site that failed */
	u64 value; /* a handle; of an attachment that was -EBUSY: hook_owner's answer */
	char text[112];
};

struct wire_hello {
	u64 stack; /* mapping that the injected calls ran on, no longer in use: to be unmapped; 0: none */
	u64 stack_size;
	u32 version;
	u32 agent_tids
		[2]; /* filled in by the agent's answer (a wire_hello in place of a wire_reply) */
	s32 error;
	u32 wants_self; /* by the agent: it has no file of itself, which WIRE_SELF brings */
};

struct wire_map {
	u32 map_id;
	u32 has_event_fd; /* second descriptor */
};

struct wire_prog {
	u32 prog_id;
	u32 map_count;
	u32 tail;		  /* not 0: only tail calls lead into it, it is not attached */
	u64 near;		  /* compile within reach of this address; 0: anywhere */
	u32 maps[IMAGE_MAX_MAPS]; /* handles of WIRE_MAP */
};

/* What slots of a prog array hold from now on: all of them, or none on an error. */
struct wire_slots {
	u32 map;   /* handle of WIRE_MAP */
	u32 count; /* of slots */
	struct wire_slot {
		u32 index;
		u32 program; /* handle of a WIRE_PROG with tail set; WIRE_NO_PROGRAM: empty */
	} slots[];
};
#define WIRE_NO_PROGRAM (~0u)
#define WIRE_SLOTS_PER_PACKET                                                                      \
	((WIRE_MAX_PAYLOAD - sizeof(struct wire_slots)) / sizeof(struct wire_slot))

struct wire_site {
	struct site_spec site;
	u64 cookie;
};

/* A chunk of recipes: sites follow until the packet ends. */
#define WIRE_SITES_PER_PACKET (WIRE_MAX_PAYLOAD / sizeof(struct wire_site))

struct wire_attach {
	u32 program;		    /* handle of WIRE_PROG */
	u32 side;		    /* enum hook_side */
	u32 count;		    /* sites sent before */
	struct signature signature; /* of all of them; or not known */
};

/* A module, with the descriptor of its unwind table: programs walk stacks. */
struct wire_unwind {
	u64 start, end, bias;
};

/* The process's C++ runtime: addresses of functions, as in unwind/register.h. */
struct wire_runtime {
	u64 register_info, deregister_info;
};

struct wire_handle {
	u64 handle;
};

/* Answer to WIRE_STATS. */
struct wire_stats {
	s32 error;
	u32 pad;
	u64 hits;   /* runs of the program */
	u64 missed; /* of the whole process */
};

/* Payload of WIRE_STOP: the pokes themselves, until the packet ends. */
#define WIRE_POKES_PER_PACKET (WIRE_MAX_PAYLOAD / sizeof(struct poke))

/* What the loader writes into the target for agent_entry. */
struct agent_params {
	u32 version;
	s32 session_fd; /* in the table of the thread that enters */
	u64 link_map;	/* the dynamic linker's record of a copy just loaded; else 0 */
};

/* Results of agent_entry beside 0 and -errno. */
#define AGENT_STALE 1 /* this copy belongs to the process we were forked from: load another */

/* A packet as it was received. */
struct wire_message {
	u32 kind;
	u32 size;
	int fds[WIRE_MAX_FDS]; /* owned by whoever received; -1: none */
	u32 fd_count;
	u8 payload[WIRE_MAX_PAYLOAD] __attribute__((aligned(8)));
};

/*
 * Sends one packet. 0, -EPIPE (the other end is gone), -errno. Blocks while the buffer is full. No libc, no errno: either
 * side, any thread.
 */
int wire_send(int fd, u32 kind, const void *payload, u32 size, const int *fds, u32 fd_count);
/*
 * Receives one packet. timeout_ms < 0: no limit. other_fd (or -1) ends the wait with -ESRCH when it becomes readable (a
 * pidfd). 0, -EPIPE (end of file), -ETIMEDOUT, -EPROTO (not one of our packets), -errno. Descriptors are close-on-exec.
 */
int wire_receive(int fd, int other_fd, int timeout_ms, struct wire_message *message);
/* Closes descriptors that nobody took out of the message (set to -1 when taken). */
void wire_close_fds(struct wire_message *message);

#endif
