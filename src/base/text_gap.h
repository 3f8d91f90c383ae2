/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding room for code within reach of a 32-bit branch. Private to text.c. Agent thread or loader. */
#ifndef INLAY_BASE_TEXT_GAP_H
#define INLAY_BASE_TEXT_GAP_H

#include "base/types.h"

/* Does a rel32 branch at near reach all of [start, start + size), and back? near 0: anything does. */
bool text_gap_reaches(u64 near, u64 start, u64 size);
/* Maps fd (-1: anonymous memory) private and read-execute within reach of near. NULL when no room is left there. */
u8 *text_gap_map(int fd, u64 near, u32 size);

#endif
