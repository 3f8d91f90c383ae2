/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What generated code is where, and how it changes its frame: written by whoever makes code, read by unwinders at hits.
 *
 * Ranges are added and removed in a list of the agent's thread; code_map_publish shows hits all of it at once, as a sorted array behind
 * one pointer. What a publication replaced is freed by code_map_reap, after a grace period.
 */
#ifndef INLAY_BASE_CODE_MAP_H
#define INLAY_BASE_CODE_MAP_H

#include "base/frame_notes.h"
#include "base/types.h"

#define CODE_MAP_MAX_NOTES 1024

struct code_range {
	u64 start;
	u32 size;
	u32 count;			 /* of notes */
	u64 window;			 /* what FRAME_DISPLACED counts from */
	struct code_range *next_removed; /* private */
	bool published;			 /* private */
	const char *name;		 /* behind the notes */
	struct frame_note notes[];
};

/* A sorted array of all ranges. */
struct code_map {
	struct code_map *retired; /* private */
	u32 count;
	const struct code_range *ranges[];
};

/*
 * 0, -ENOMEM, or -E2BIG (more notes than there was room for: the code stays unknown). Notes and name are copied. Any thread but at a
 * hit; one internal lock, as for all of these.
 */
int code_map_add(u64 start, u32 size, u64 window, const struct frame_notes *notes,
		 const char *name);
/* Before the code's memory is given to other code. Unknown starts are accepted. */
void code_map_remove(u64 start);
/* Shows hits what was added and removed. 0 or -ENOMEM (they see the old map). Calls the listener. */
int code_map_publish(void);
/*
 * From now on called at each publication that changed something, by its thread; the next one counts as such. Knows one that listens
 * already. 0, or -ENOSPC: CODE_MAP_LISTENERS listen.
 */
#define CODE_MAP_LISTENERS 4
int code_map_add_listener(void (*listener)(const struct code_map *map));
/* Frees what was replaced. After a grace period. */
void code_map_reap(void);

/* The range that covers pc, or NULL. At a hit. */
const struct code_range *code_map_find(u64 pc);

#endif
