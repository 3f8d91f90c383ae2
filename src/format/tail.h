/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What generated code sees of tail calls: the slots of a PROG_ARRAY in this process, and what is behind them.
 *
 * Nothing here is shared between processes: the map's memory holds program ids (maps/prog_array.c), and whoever looks after
 * the map in a process points that process's slots at the programs it has. A slot is one pointer, written with release
 * order; a program that was taken out of a slot stays for a grace period (sync/reader.h).
 */
#ifndef INLAY_FORMAT_TAIL_H
#define INLAY_FORMAT_TAIL_H

#include "base/types.h"

/* Tail calls of one run of a program, whatever frames they are made from. */
#define TAIL_CALL_LIMIT 33

struct image_header;
struct exec_env;

/* A program as a tail call enters it. Generated code reads entry at offset 0. */
struct tail_target {
	u64 entry; /* where its code is entered with the counter kept; 0: it has none and is interpreted */
	const struct image_header *image;
	const struct exec_env *env;
};

/* The slots of one map in this process. Generated code knows the layout. */
struct tail_slots {
	u32 count;
	u32 pad;
	struct tail_target *slots[];
};

#endif
