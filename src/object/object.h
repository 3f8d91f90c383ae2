/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf(2) in user space: the command table and the objects behind it.
 *
 * Every object is a real descriptor that can be passed, dup'ed, inherited and mapped (design decision 2).
 */
#ifndef INLAY_OBJECT_OBJECT_H
#define INLAY_OBJECT_OBJECT_H

#include <linux/bpf.h>
#include <sys/types.h>

#include "base/types.h"

struct map;
struct signature;

/* bpf(2): the kernel's commands, attribute sizes and errors. Returns >= 0 or -errno. Any thread (one lock inside). */
long object_bpf(int cmd, union bpf_attr *attr, unsigned int size);

/*
 * What the verifier said about a BPF_PROG_LOAD of this process, for front ends that tell a person. Called in the thread of
 * the load, accepted or not; everything it points at is borrowed. log has the format and level the client asked for.
 */
struct object_verdict {
	const char *name; /* as at bpf(2): at most 15 characters */
	int error;	  /* 0: accepted */
	u32 insns, states;
	u64 time_ns;
	const char *reason; /* rejected: one line in words */
	const char
		*source;  /* rejected: the line of source that reason is about, "" when not known */
	u32 line, column; /* where it is, from 1 */
	const char *log;
	size_t log_length;
};
typedef void (*object_verdict_fn)(const struct object_verdict *verdict, void *opaque);
/* NULL: none. Set before loading, by one thread. */
void object_set_verdict_hook(object_verdict_fn hook, void *opaque);

/*
 * Rules for every BPF_PROG_LOAD of this process beyond the privileged kernel's, for front ends whose programs run inside
 * other processes. Set before loading, by one thread; NULL: the kernel's rules alone.
 */
struct object_load_policy {
	bool refuse_uninit_stack; /* reading stack that was never written is an error */
	bool blinded;		  /* compiled code does not contain the program's constants */
	bool retpolines; /* compiled code branches indirectly in ways that are not predicted */
};
void object_set_load_policy(const struct object_load_policy *policy);

/*
 * The types of a binary that functions of are to be traced: a BTF object (a descriptor, to be closed) that PROG_LOAD accepts
 * as attach_btf_obj_fd with the id of one of its functions. path: the binary, as a link's. -errno: -EINVAL for bad BTF.
 */
long object_btf_of_target(const void *data, u32 size, const char *path);

enum link_kind {
	LINK_REGS, /* programs that are shown registers, by offsets */
	LINK_FENTRY,
	LINK_FEXIT,
	LINK_MODIFY, /* fmod_ret */
};

/* What a LINK_CREATE asks of whoever can reach the target process. */
struct link_request {
	int prog_fd;	  /* borrowed: the program image's memfd */
	const char *path; /* the binary, as the caller sees it */
	const u64 *
		offsets; /* file offsets of function entries, or (not at_return) of points inside functions */
	const u64 *cookies;    /* or NULL */
	const u64 *semaphores; /* file offsets of 16-bit counts, 0: none; or NULL */
	u32 count;
	bool at_return;
	pid_t pid; /* 0: none named */
	enum link_kind kind;
	/* Not for LINK_REGS; no offsets then, count 1. */
	const char *function;
	const struct signature *signature;
};

/*
 * Set once by cli/ or preload/ (object/ cannot know the agent, which is a floor above). attach returns 0 and a handle, or
 * -errno with one sentence about the cause in problem. Without a backend LINK_CREATE of probes answers -EOPNOTSUPP.
 */
struct link_slot {
	u32 index;
	u32 prog_id; /* 0: empty */
	int prog_fd; /* borrowed: the program image's memfd; -1: empty */
};
struct link_backend {
	int (*attach)(const struct link_request *request, void **ret_handle, char *problem,
		      size_t problem_size);
	int (*detach)(void *handle);
	/*
	 * Slots of a prog array change: when it returns 0, every target that runs programs with the map follows. Called under the
	 * lock that guards slots; so is attach where the program's maps include prog arrays. -errno: some targets follow.
	 */
	int (*set_slots)(struct map *map, const struct link_slot *slots, u32 count);
};
void object_set_link_backend(const struct link_backend *backend);
/* The sentence of the last failed LINK_CREATE in this process; "" when there is none. */
const char *object_link_problem(void);

/* For floors above: the descriptor set behind a program image. Fills up to max maps; returns the count or -errno. */
int object_prog_maps(int prog_fd, struct map **maps, u32 max);
/* For link_backend.attach: what a prog array's slot holds now. */
struct link_slot object_prog_array_slot(const struct map *map, u32 index);
/* This process's view of a map descriptor, or NULL. Borrowed; valid while the descriptor is open. */
struct map *object_map_view(int map_fd);

/* Fresh open file descriptions of the per-user registry for an agent (sync/participant.h, sync/percpu.h). -errno. */
int object_registry_fd(void);

/*
 * What clients do to descriptors besides bpf(2). Each returns true when the descriptor is ours and the call was answered
 * (*ret_result as the call's return value, errno set), false: do the real call.
 */
bool object_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset,
		 void **ret_result);
bool object_epoll_ctl(int epfd, int op, int fd, void *event, int *ret_result);
/* A descriptor is about to be closed by the program. */
void object_close(int fd);

#endif
