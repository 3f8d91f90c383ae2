/* SPDX-License-Identifier: BSD-2-Clause */
/* The frames of code that we made (base/code_map.h), said as rows. */
#ifndef INLAY_UNWIND_GENERATED_H
#define INLAY_UNWIND_GENERATED_H

#include "base/code_map.h"
#include "format/unwind_table.h"

/*
 * The rules after the notes up to `count`, as a row; where it follows a function's (FRAME_DISPLACED), that function's. Its rule is
 * UNWIND_UNKNOWN when rows cannot say it. At a hit.
 */
void unwind_generated_fold(const struct code_range *range, u32 count, struct unwind_row *ret_row);
/* The row that holds at pc. False: we made no code there. At a hit. */
bool unwind_generated_row(u64 pc, struct unwind_row *ret_row);

#endif
