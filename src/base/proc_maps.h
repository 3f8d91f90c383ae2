/* SPDX-License-Identifier: BSD-2-Clause */
/* /proc/self/maps, read without libc, one mapping a call. For the agent's thread or the loader; not at a hit. */
#ifndef INLAY_BASE_PROC_MAPS_H
#define INLAY_BASE_PROC_MAPS_H

#include "base/types.h"

struct proc_mapping {
	u64 start, end;
	bool readable, writable, executable, shared;
	u64 offset, inode; /* of the file; inode 0: none */
	u64 device;	   /* as the line has it: major << 32 | minor, not always what stat says */
	char name[64];	   /* path or [name], cut; "" when it has none */
};

struct proc_maps {
	int fd;
	u32 at, filled;
	char buffer[4096];
};

/* Returns 0 or -errno (no /proc here). */
int proc_maps_open(struct proc_maps *maps);
/* Returns false at the end. */
bool proc_maps_next(struct proc_maps *maps, struct proc_mapping *ret_mapping);
void proc_maps_close(struct proc_maps *maps);

#endif
