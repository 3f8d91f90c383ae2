/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copy, clear and compare without libc.
 *
 * Code that runs at a hit must not touch a vector register (the probed function's arguments and its
 * caller's live values may be in them) and must not call a function that may itself be probed.
 * libc's memcpy does both. These stay in general registers and are always inlined.
 */
#ifndef INLAY_BASE_MEM_H
#define INLAY_BASE_MEM_H

#include "base/types.h"

static inline void mem_copy(void *to, const void *from, size_t size)
{
#if defined(__x86_64__)
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
#else
	volatile u8 *t = to;
	const volatile u8 *f = from;

	while (size--)
		*t++ = *f++;
#endif
}

/* For sizes that are usually a few words (map keys and values): `rep movsb` costs ~10 ns to start. */
static inline void mem_copy_words(void *to, const void *from, size_t size)
{
	u8 *t = to;
	const u8 *f = from;

	if (size > 128) {
		mem_copy(to, from, size);
		return;
	}
	for (; size >= 8; size -= 8, t += 8, f += 8) {
		u64 word;

		__builtin_memcpy(&word, f, 8);
		__builtin_memcpy(t, &word, 8);
		__asm__ volatile("" : : : "memory");
	}
	for (; size; size--) {
		*t++ = *f++;
		__asm__ volatile("" : : : "memory");
	}
}

/*
 * For memory that may change meanwhile: values in maps (words of different writers may mix, as in the kernel), and what a
 * sequence counter watches. ThreadSanitizer would call that a race: its build copies where it does not look.
 */
static inline void mem_copy_racy(void *to, const void *from, size_t size)
{
#ifdef __SANITIZE_THREAD__
	mem_copy(to, from, size);
#else
	mem_copy_words(to, from, size);
#endif
}

static inline void mem_zero(void *to, size_t size)
{
#if defined(__x86_64__)
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(0) : "memory");
#else
	volatile u8 *t = to;

	while (size--)
		*t++ = 0;
#endif
}

static inline bool mem_equal(const void *a, const void *b, size_t size)
{
	const u8 *x = a;
	const u8 *y = b;

	for (; size >= 8; size -= 8, x += 8, y += 8) {
		u64 p, q;

		__builtin_memcpy(&p, x, 8);
		__builtin_memcpy(&q, y, 8);
		if (p != q)
			return false;
	}
	while (size--) {
		if (*x++ != *y++)
			return false;
	}
	return true;
}

#endif
