/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SEC("tick/..."): a program that runs once an interval. It runs in this process, over the same maps as those in the target: they are
 * shared memory. An interval that could not be kept is left out and counted.
 */
#ifndef INLAY_CLI_ATTACH_TICK_H
#define INLAY_CLI_ATTACH_TICK_H

#include "base/types.h"

struct attach_tick {
	int timer; /* a descriptor that is readable when the program is due; -1: none */
	int program;
	u64 runs, missed;
};

/* The program's descriptor is borrowed. The first run is due after one period. 0 or -errno. */
int attach_tick_start(int program, u64 period_ns, struct attach_tick *ret_tick);
/* Runs the program if it is due. 0 or -errno. */
int attach_tick_run(struct attach_tick *tick);
void attach_tick_stop(struct attach_tick *tick);

#endif
