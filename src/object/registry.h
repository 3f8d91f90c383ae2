/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The per-user registry: which objects exist, and who holds them (design decision 2).
 *
 * A file in a directory of the user's own (mode 0700): /dev/shm/inlay-UID, else $XDG_RUNTIME_DIR/inlay, else
 * $TMPDIR/inlay-UID; $INLAY_REGISTRY names another directory. It holds id counters and a row for each (object,
 * holder), and behind them what sync/participant.h keeps. The lock of one byte of it guards changes.
 *
 * A row names its holder's participant id, so rows of a crashed process are recognised and reclaimed; the object is
 * fetched from a holder by pidfd_getfd and identified by its inode, so a recycled pid does no harm.
 *
 * Callers hold no lock; each call takes the file's lock for its own duration. Any thread.
 */
#ifndef INLAY_OBJECT_REGISTRY_H
#define INLAY_OBJECT_REGISTRY_H

#include <linux/bpf.h>

#include "base/types.h"

enum object_kind {
	OBJECT_MAP,
	OBJECT_PROG,
	OBJECT_BTF,
	OBJECT_LINK,
	OBJECT_KINDS,
};

struct registry_row {
	u32 id; /* 0: free. Written last */
	u32 kind;
	u32 participant;
	s32 pid;
	s32 fd;	      /* the holder's descriptor of the object's memory */
	s32 event_fd; /* ring buffers: the holder's descriptor that clients poll; -1 */
	u64 inode;    /* of the memory */
	u64 event_id; /* eventfd-id of event_fd; 0: none */
	char name[BPF_OBJ_NAME_LEN];
	u64 reserved;
};

/* Opens it, once a process (again in a child after fork). 0 or -errno. */
int registry_open(void);
/* A new id of this kind; > 0. Call after registry_open. -errno when there is none. */
int registry_new_id(enum object_kind kind);
/* Enters a row; participant and pid are filled in. Returns its index or -ENOSPC. */
int registry_add(const struct registry_row *row);
void registry_remove(int index);
/* The smallest id above id that a living process holds; 0: none. */
u32 registry_next(enum object_kind kind, u32 id);
/* Does another living process hold this object? */
bool registry_held_elsewhere(enum object_kind kind, u32 id);
/*
 * Fetches the memory's descriptor of an object that another process holds (and its event descriptor or -1), by id, or by
 * eventfd-id where id is 0. -ENOENT when there is none; -EPERM when its holders may not be asked.
 */
int registry_fetch(enum object_kind kind, u32 id, u64 event_id, int *ret_fd, int *ret_event_fd);
/* A fresh open file description of the file. The caller's. */
int registry_fd(void);
/* Around fork: no other thread is then in the middle of something that the child would never see finished. */
void registry_fork_begin(void);
void registry_fork_end(void);
/* "eventfd-id" of a descriptor of this process; 0 when it is no eventfd. */
u64 registry_event_id(int fd);

#endif
