/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A map as people read it at the end of an attachment.
 *
 *   @NAME[KEY]: VALUE        one line an element, ascending by value (then by key)
 *   @NAME:                   an array of log2 slots whose name has "hist" in it, drawn
 *   [1K, 2K)  12 |@@@ |
 *   @NAME[KEY]:              an element whose value is a struct with one array `slots`, drawn likewise
 *   VARIABLE: VALUE          the variables of .data and .bss
 *
 *   @NAME[                   a map with "stack" in its name, keyed by ids of the object's STACK_TRACE map: the stack, a frame a line
 *       MODULE`FUNCTION+0xOFFSET
 *   ]: VALUE
 *
 * Values of per-CPU maps are summed where they are integers all through, else listed CPU by CPU.
 */
#ifndef INLAY_CLI_PRINT_MAP_H
#define INLAY_CLI_PRINT_MAP_H

#include <bpf/btf.h>
#include <stdio.h>

#include "base/types.h"

struct process;

/* What is needed of a map, however it was come by. */
struct print_map {
	const char *name;
	int fd;
	u32 type, key_size, value_size, max_entries;
	const struct btf *btf; /* NULL: none */
	u32 key_id, value_id;
	struct process *process; /* whose addresses stacks are; NULL: not known */
	int stacks_fd;		 /* keys are ids of stacks in that map; -1: they are not */
	u32 stacks_size;	 /* its value_size */
	bool is_data;		 /* .data or .bss: value_id is a DATASEC */
};

/* Can elements of a map of this type be listed? (Ring buffers, perf arrays and program arrays cannot.) */
bool print_map_listable(u32 type);

/* Writes the map. 0 or -errno of reading it. */
int print_map_text(FILE *out, const struct print_map *map);
/* `"NAME":[{"key":...,"value":...},...]`; for .data and .bss `"VARIABLE":VALUE,...`, *count counting what was written. */
int print_map_json(FILE *out, const struct print_map *map, u32 *count);

#endif
