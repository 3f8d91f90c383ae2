/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How generated code changes its frame, noted by whoever emits it: from these notes unwinders find the caller at every
 * instruction, and .eh_frame records are written (unwind/).
 *
 * A note holds from its offset on, until another of the same kind and register. Code begins as a function that was just called (or
 * was just returned from, HOOKED): the caller's registers in place, and the CFA as the first note says. Registers are numbered as
 * the CPU's encoder numbers them.
 */
#ifndef INLAY_BASE_FRAME_NOTES_H
#define INLAY_BASE_FRAME_NOTES_H

#include "base/types.h"

enum frame_kind {
	FRAME_CFA,	/* CFA = reg + offset */
	FRAME_SAVED,	/* the caller's reg is in memory at CFA + offset */
	FRAME_RESTORED, /* reg holds the caller's value again */
	FRAME_DISPLACED, /* all as in the function at window + offset: the copy of displaced instructions */
	FRAME_PUSHED, /* offset bytes more than that have been pushed, reckoned from the last DISPLACED note */
	FRAME_HOOKED, /* at 0 only: a hooked return came here; the word at CFA - 8 holds the landing, or what it stands for */
};

struct frame_note {
	u32 at;	 /* offset in the code */
	u8 kind; /* enum frame_kind */
	u8 reg;
	s16 offset;
};

/* Where notes go; more than fit are counted, and then there is nothing to be said about the code. */
struct frame_notes {
	struct frame_note *notes;
	u32 count, capacity;
};

#endif
