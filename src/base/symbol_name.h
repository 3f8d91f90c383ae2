/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of generated code, put together without libc. */
#ifndef INLAY_BASE_SYMBOL_NAME_H
#define INLAY_BASE_SYMBOL_NAME_H

#include "base/types.h"

/* Each returns where the next part goes; none ends with 0. At most room bytes of text. */
static inline char *symbol_put_text(char *at, const char *text, size_t room)
{
	for (size_t i = 0; i < room && text[i]; i++)
		*at++ = text[i];
	return at;
}

/* The lowest digits of value; 0: as many as it has. */
static inline char *symbol_put_hex(char *at, u64 value, u32 digits)
{
	if (!digits)
		digits = value ? (67 - (u32)__builtin_clzll(value)) / 4 : 1;
	while (digits--)
		*at++ = "0123456789abcdef"[value >> 4 * digits & 15];
	return at;
}

#endif
