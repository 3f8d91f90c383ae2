/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Statically defined probe points of a file, as <sys/sdt.h> leaves them: one note a place, in section .note.stapsdt.
 * Source of the format: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation. Loader only.
 */
#ifndef INLAY_BINARY_USDT_H
#define INLAY_BINARY_USDT_H

#include "base/types.h"

struct elf_file;

/* Addresses are virtual, corrected for a file that was relinked (prelink) after the notes were written. */
struct usdt_note {
	const char *provider, *name; /* in the file's bytes */
	const char *arguments;	     /* as usdt_arguments takes apart */
	u64 address;
	u64 semaphore; /* of a 16-bit count of watchers; 0: none */
};

/* 0 with an array to be freed, NULL when there are none (broken notes end the reading); -ENOMEM. */
int usdt_read(const struct elf_file *elf, struct usdt_note **ret_notes, size_t *ret_count);

#define USDT_MAX_ARGUMENTS 12

enum usdt_where {
	USDT_CONSTANT,
	USDT_REGISTER,
	USDT_MEMORY,	     /* at register + offset */
	USDT_MEMORY_INDEXED, /* at register + index << scale + offset */
	USDT_UNKNOWN, /* in a place or a form that is not served: a vector register, a symbol */
};

struct usdt_argument {
	enum usdt_where where;
	s64 offset;	/* or the constant */
	u16 reg, index; /* byte offsets in struct pt_regs of x86-64 */
	u8 scale;	/* a power of two: 0 to 3 */
	u8 size;	/* 1, 2, 4 or 8 */
	bool is_signed;
};

/* Takes "-4@%edi 8@-16(%rbp) 4@$5" apart. How many there are; -E2BIG. */
int usdt_arguments(const char *text, struct usdt_argument ret_arguments[USDT_MAX_ARGUMENTS]);

#endif
