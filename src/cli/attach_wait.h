/* SPDX-License-Identifier: BSD-2-Clause */
/* The time between attaching and detaching: what programs print comes out, until something ends it. */
#ifndef INLAY_CLI_ATTACH_WAIT_H
#define INLAY_CLI_ATTACH_WAIT_H

#include <stdio.h>
#include <sys/types.h>

#include "base/types.h"
#include "cli/attach_tick.h"

enum attach_end {
	ATTACH_END_SIGNAL, /* SIGINT, SIGTERM or SIGHUP */
	ATTACH_END_DURATION,
	ATTACH_END_EXIT, /* the target is gone */
	ATTACH_END_EXEC, /* it is another program now */
};

struct printk;

/* What is waited for. */
struct attach_watch {
	int pidfd;
	int session_fd;		      /* ends with the target's program; -1: not watched */
	double seconds;		      /* < 0: no limit */
	struct printk *printk;	      /* or NULL */
	struct attach_tick *periodic; /* programs that are run as they are due */
	u32 periodic_count;
	/* Called every 10 milliseconds, or less often where it takes long itself; NULL: nothing is to be done meanwhile. */
	void (*tick)(void *opaque);
	void *opaque;
};

/* Blocks the ending signals from now on, so that none is lost before the wait. Once, while there is one thread. */
void attach_wait_prepare(void);
/* Waits until something ends it. Returns 0 or -errno (then nothing was waited for). */
int attach_wait(const struct attach_watch *watch, enum attach_end *ret_end);
/* How a process ended: "exited", "exited with status 3", "was killed by SIGKILL", "is gone". ret_clean: with status 0. */
void attach_wait_fate(pid_t pid, int pidfd, bool is_child, char *text, size_t size,
		      bool *ret_clean);

/* ---- what programs print ---- */

/* Makes the ring that bpf_printk writes to; its lines go to out. NULL and errno on failure. */
struct printk *printk_open(FILE *out);
int printk_map_fd(const struct printk *printk);
/* Prints what has come, without waiting. */
void printk_drain(struct printk *printk);
void printk_close(struct printk *printk);

#endif
