/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values as people read them: bytes of a map's key or value, typed by BTF.
 *
 * Text: integers in decimal, character arrays as text, structs as {a, b}, other arrays as [a, b], pointers in hex. JSON:
 * numbers, strings, objects by member name, arrays. Without BTF: integers of 1, 2, 4 and 8 bytes, else bytes in hex.
 */
#ifndef INLAY_CLI_PRINT_VALUE_H
#define INLAY_CLI_PRINT_VALUE_H

#include <stdio.h>

#include "base/types.h"

struct btf;

/* A type as bytes are seen through: id 0 when nothing is known but the size. */
struct value_type {
	const struct btf *btf;
	u32 id;
	u32 size;
};

void print_value_text(FILE *out, const struct value_type *type, const void *value);
void print_value_json(FILE *out, const struct value_type *type, const void *value);

/* Order: by the first integer in them; values without one by their bytes. As strcmp. */
int print_value_compare(const struct value_type *type, const void *a, const void *b);
/* Adds value to sum, member by member. False (sum unchanged) when they hold anything but integers. */
bool print_value_add(const struct value_type *type, void *sum, const void *value);
/* An integer of at most 8 bytes? Then *ret_number is it, sign-extended. */
bool print_value_integer(const struct value_type *type, const void *value, s64 *ret_number);

/* The id with typedefs and qualifiers taken off. */
u32 print_value_strip(const struct btf *btf, u32 id);

/* Text as a JSON string, quotes included. Bytes that are no UTF-8 are written as \u00XX. */
void print_json_string(FILE *out, const char *text, size_t length);

#endif
