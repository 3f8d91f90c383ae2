/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How to find the caller from each instruction of a file: its call frame records, compiled by the loader (binary/unwind_table.c) into
 * rows sorted by address, which the agent searches (unwind/). Travels as a sealed memfd: header, then rows.
 *
 * Registers are numbered by the table of the CPU (arch->frame): 0 is the stack pointer, 1 the frame pointer, then the
 * others that a function must preserve.
 */
#ifndef INLAY_FORMAT_UNWIND_TABLE_H
#define INLAY_FORMAT_UNWIND_TABLE_H

#include "base/types.h"

#define UNWIND_MAGIC	 0x79616c6e69550001ull
#define UNWIND_REGS	 7
#define UNWIND_UNCHANGED (-128) /* in saved: the register holds what the caller had in it */

enum unwind_rule {
	UNWIND_UNKNOWN,	 /* no function, or a rule that rows cannot say */
	UNWIND_REGISTER, /* CFA = reg + offset; saved registers are at words from the CFA */
	UNWIND_DEREF,	 /* CFA = *(reg + offset); saved registers are at words from reg */
	UNWIND_PLT, /* CFA = sp + offset, and one word more from instruction byte `reg` of 16 on */
	UNWIND_SIGNAL,	  /* the kernel's signal frame is at sp */
	UNWIND_OUTERMOST, /* nobody called this: the stack ends */
};

/* Holds from pc on, until the next row. */
struct unwind_row {
	u32 pc; /* the file's virtual address */
	s32 offset;
	u8 rule; /* enum unwind_rule */
	u8 reg;
	s8 saved[UNWIND_REGS -
		 1]; /* of registers 1 and up, in words; the return address is the word below the CFA */
};

struct unwind_table {
	u64 magic;
	u64 checksum; /* of the rows: tells tables apart */
	u32 count;
	u32 pad;
	struct unwind_row rows[];
};

#endif
