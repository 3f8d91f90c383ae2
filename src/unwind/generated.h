/* SPDX-License-Identifier: BSD-2-Clause */
/* The frames of code that we made (base/code_map.h), said as rows. */
#ifndef INLAY_UNWIND_GENERATED_H
#define INLAY_UNWIND_GENERATED_H

#include "base/code_map.h"
#include "format/unwind_table.h"

/* The rules after some of a range's notes, of which the next one is to be applied. */
struct unwind_fold {
	const struct code_range *range;
	struct unwind_row row;
	bool displaced;
};

void unwind_fold_begin(struct unwind_fold *fold, const struct code_range *range);
/*
 * Applies a note; where it follows a function's (FRAME_DISPLACED), that function's. Its rule is
 * UNWIND_UNKNOWN when rows cannot say it. At a hit.
 */
void unwind_fold_note(struct unwind_fold *fold, u32 index);
/* The row that holds at pc. False: we made no code there. At a hit. */
bool unwind_generated_row(u64 pc, struct unwind_row *ret_row);

#endif
