/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Generated code made known to perf: /tmp/perf-PID.map, lines of "START SIZE NAME", PID being the process's number in its own pid
 * namespace, as perf expects it.
 *
 * Made at the first use and removed with the last. Meanwhile new code goes into memory without a name, as perf has none of its addresses looked
 * up in the file otherwise. Where the program (node, java) has made one itself, lines are added to that, and stay.
 */
#ifndef INLAY_UNWIND_PERF_MAP_H
#define INLAY_UNWIND_PERF_MAP_H

#include "base/types.h"

/* One more user; the file is kept up to date. 0, -EPERM (it belongs to another user, or is no plain file), -errno. Agent thread. */
int perf_map_begin(void);
/* One user less. Agent thread. */
void perf_map_end(void);

#endif
