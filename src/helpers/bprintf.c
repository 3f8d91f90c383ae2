/* SPDX-License-Identifier: BSD-2-Clause */
#include "helpers/bprintf.h"

#include "exec/fault.h"

#include <errno.h>

/* What all arguments of one call may take in the kernel's intermediate buffer. */
#define ARG_BYTES 512
#define CHUNK	  64

enum conversion {
	CONV_SIGNED,
	CONV_UNSIGNED,
	CONV_HEX,
	CONV_CHAR,
	CONV_STRING,
	CONV_POINTER,
	CONV_SYMBOL,
	CONV_IPV4,
	CONV_IPV6,
};

enum {
	FLAG_ZERO = 1,
	FLAG_PLUS = 2,
	FLAG_LEFT = 4,
	FLAG_SPACE = 8,
	FLAG_UPPER = 16,
	FLAG_BARE = 32, /* %pi4, %pi6: fixed-width, no separators left out or zeros dropped */
};

struct spec {
	enum conversion conversion;
	u32 flags;
	u32 width;
	u32 bytes; /* of an integer argument */
};

struct sink {
	char *out;
	u32 size;
	u32 length; /* of the whole text so far, what did not fit included */
	u32 budget; /* bytes of arguments left */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_print(char c)
{
	return c >= ' ' && c <= '~';
}

static bool ends_word(char c)
{
	bool alnum = is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

	return !c || is_space(c) || (is_print(c) && !alnum);
}

/* After "%p". Returns the end of the conversion or NULL. */
static const char *parse_pointer(const char *at, struct spec *spec)
{
	spec->conversion = CONV_POINTER;
	if ((at[0] == 'k' || at[0] == 'u') && at[1] == 's') {
		spec->conversion = CONV_STRING;
		return ends_word(at[2]) ? at + 2 : NULL;
	}
	if (ends_word(at[0]))
		return at;
	switch (at[0]) {
	case 'K':
	case 'x':
		return at + 1;
	case 's':
	case 'S':
	case 'B':
		spec->conversion = CONV_SYMBOL;
		return at + 1;
	case 'i':
	case 'I':
		spec->flags |= at[0] == 'i' ? FLAG_BARE : 0;
		spec->conversion = at[1] == '4' ? CONV_IPV4 : CONV_IPV6;
		return at[1] == '4' || at[1] == '6' ? at + 2 : NULL;
	default:
		return NULL;
	}
}

static const char *parse_integer(const char *at, struct spec *spec)
{
	spec->bytes = 4;
	for (u32 i = 0; i < 2 && *at == 'l'; i++, at++)
		spec->bytes = 8;
	switch (*at) {
	case 'd':
	case 'i':
		spec->conversion = CONV_SIGNED;
		break;
	case 'u':
		spec->conversion = CONV_UNSIGNED;
		break;
	case 'X':
		spec->flags |= FLAG_UPPER;
		spec->conversion = CONV_HEX;
		break;
	case 'x':
		spec->conversion = CONV_HEX;
		break;
	default:
		return NULL;
	}
	return at + 1;
}

static u32 flag_of(char c)
{
	switch (c) {
	case '0':
		return FLAG_ZERO;
	case '+':
		return FLAG_PLUS;
	case '-':
		return FLAG_LEFT;
	case ' ':
		return FLAG_SPACE;
	default:
		return 0;
	}
}

/* at: behind the '%'. Returns the end of the conversion, or NULL when it is not one that may be used. */
static const char *parse_spec(const char *at, struct spec *spec)
{
	*spec = (struct spec){.bytes = 8};
	for (; flag_of(*at); at++)
		spec->flags |= flag_of(*at);
	for (; is_digit(*at); at++)
		spec->width =
			spec->width < 100000 ? spec->width * 10 + (u32)(*at - '0') : spec->width;
	switch (*at) {
	case 'p':
		return parse_pointer(at + 1, spec);
	case 's':
		spec->conversion = CONV_STRING;
		return ends_word(at[1]) ? at + 1 : NULL;
	case 'c':
		spec->conversion = CONV_CHAR;
		spec->bytes = 1;
		return at + 1;
	default:
		return parse_integer(at, spec);
	}
}

int bprintf_check(const char *format, u32 size, u32 arg_count)
{
	struct spec spec;
	u32 used = 0;
	u32 length = 0;

	while (length < size && format[length])
		length++;
	if (length == size)
		return -EINVAL;
	for (const char *at = format; *at;) {
		if (!is_print(*at) && !is_space(*at))
			return -EINVAL;
		if (*at++ != '%')
			continue;
		if (*at == '%') {
			at++;
			continue;
		}
		if (used++ >= arg_count)
			return -EINVAL;
		at = parse_spec(at, &spec);
		if (!at)
			return -EINVAL;
	}
	return 0;
}

static void put(struct sink *sink, char c)
{
	if (sink->length + 1 < sink->size)
		sink->out[sink->length] = c;
	sink->length++;
}

static void pad(struct sink *sink, char c, u32 count)
{
	for (; count && sink->length + 1 < sink->size; count--)
		put(sink, c);
	sink->length += count;
}

/* Digits of a number, last first. Returns how many. */
static u32 spell(u64 value, const struct spec *spec, char *digits)
{
	const char *alphabet = spec->flags & FLAG_UPPER ? "0123456789ABCDEF" : "0123456789abcdef";
	u32 base = spec->conversion == CONV_HEX ? 16 : 10;
	u32 count = 0;

	do {
		digits[count++] = alphabet[value % base];
		value /= base;
	} while (value);
	return count;
}

static void put_number(struct sink *sink, u64 value, const struct spec *spec)
{
	char digits[24];
	char sign = 0;
	u32 count, blanks;

	if (spec->conversion == CONV_SIGNED) {
		s64 number = spec->bytes == 4 ? (s32)value : (s64)value;

		sign = number < 0		  ? '-'
		       : spec->flags & FLAG_PLUS  ? '+'
		       : spec->flags & FLAG_SPACE ? ' '
						  : 0;
		value = number < 0 ? 0 - (u64)number : (u64)number;
	} else if (spec->bytes == 4) {
		value = (u32)value;
	}
	count = spell(value, spec, digits);
	blanks = count + (sign != 0) < spec->width ? spec->width - count - (sign != 0) : 0;
	if (!(spec->flags & (FLAG_LEFT | FLAG_ZERO)))
		pad(sink, ' ', blanks);
	if (sign)
		put(sink, sign);
	if (!(spec->flags & FLAG_LEFT) && spec->flags & FLAG_ZERO)
		pad(sink, '0', blanks);
	while (count)
		put(sink, digits[--count]);
	if (spec->flags & FLAG_LEFT)
		pad(sink, ' ', blanks);
}

static void put_char(struct sink *sink, char c, const struct spec *spec)
{
	u32 blanks = spec->width > 1 ? spec->width - 1 : 0;

	if (!(spec->flags & FLAG_LEFT))
		pad(sink, ' ', blanks);
	put(sink, c);
	if (spec->flags & FLAG_LEFT)
		pad(sink, ' ', blanks);
}

/*
 * Reads a string piece by piece (one of 512 bytes would be a lot of somebody else's stack). limit: characters at most. With
 * emit they are put, else counted.
 */
static u32 walk_string(struct sink *sink, u64 address, u32 limit, bool emit)
{
	char chunk[CHUNK];
	u32 done = 0;

	while (done < limit) {
		u32 want = MIN(limit - done, CHUNK - 1);
		int length = fault_read_str(chunk, address + done, want + 1);

		if (length <= 0)
			return emit ? done : 0;
		for (u32 i = 0; i < want && chunk[i]; i++, done++) {
			if (emit)
				put(sink, chunk[i]);
		}
		if ((u32)length <= want)
			return done;
	}
	return done;
}

static int put_string(struct sink *sink, u64 address, const struct spec *spec)
{
	u32 length, blanks;

	if (!sink->budget)
		return -ENOSPC;
	length = walk_string(sink, address, sink->budget - 1, false);
	sink->budget -= length + 1;
	blanks = length < spec->width ? spec->width - length : 0;
	if (!(spec->flags & FLAG_LEFT))
		pad(sink, ' ', blanks);
	walk_string(sink, address, length, true);
	if (spec->flags & FLAG_LEFT)
		pad(sink, ' ', blanks);
	return 0;
}

static void put_hex_fixed(struct sink *sink, u64 value, u32 digits)
{
	struct spec spec = {CONV_HEX, FLAG_ZERO, digits, 8};

	put_number(sink, value, &spec);
}

static int put_ip(struct sink *sink, u64 address, const struct spec *spec)
{
	bool bare = spec->flags & FLAG_BARE;
	bool four = spec->conversion == CONV_IPV4;
	u32 size = four ? 4 : 16;
	struct spec part = {CONV_UNSIGNED, FLAG_ZERO, bare ? 3 : 0, 8};
	u8 ip[16];
	u32 start = sink->length;

	if (sink->budget < size)
		return -ENOSPC;
	fault_read(ip, address, size);
	for (u32 i = 0; four && i < 4; i++) {
		if (i)
			put(sink, '.');
		put_number(sink, ip[i], &part);
	}
	for (u32 i = 0; !four && i < 16; i += 2) {
		if (i && !bare)
			put(sink, ':');
		put_hex_fixed(sink, (u64)ip[i] << 8 | ip[i + 1], 4);
	}
	sink->budget -= MIN(sink->budget, sink->length - start + 1);
	return 0;
}

/* Integers and pointers lie aligned to 4 in the kernel's buffer. */
static int spend(struct sink *sink, u32 bytes)
{
	u32 left = bytes > 1 ? ALIGN_DOWN(sink->budget, 4u) : sink->budget;

	if (left < bytes)
		return -ENOSPC;
	sink->budget = left - bytes;
	return 0;
}

static int put_argument(struct sink *sink, u64 value, const struct spec *spec)
{
	int err;

	if (spec->conversion == CONV_STRING)
		return put_string(sink, value, spec);
	if (spec->conversion == CONV_IPV4 || spec->conversion == CONV_IPV6)
		return put_ip(sink, value, spec);
	err = spend(sink, spec->bytes);
	if (err)
		return err;
	if (spec->conversion == CONV_CHAR) {
		put_char(sink, (char)value, spec);
	} else if (spec->conversion == CONV_POINTER) {
		put_hex_fixed(sink, value, 16);
	} else if (spec->conversion == CONV_SYMBOL) {
		put(sink, '0');
		put(sink, 'x');
		put_hex_fixed(sink, value, 1);
	} else {
		put_number(sink, value, spec);
	}
	return 0;
}

int bprintf(char *out, u32 out_size, const char *format, u32 format_size, const u64 *args,
	    u32 arg_count)
{
	struct sink sink = {out, out_size, 0, ARG_BYTES};
	int err = bprintf_check(format, format_size, arg_count);
	u32 used = 0;

	for (const char *at = format; !err && *at;) {
		struct spec spec;

		if (*at != '%' || at[1] == '%') {
			put(&sink, *at);
			at += *at == '%' ? 2 : 1;
			continue;
		}
		at = parse_spec(at + 1, &spec);
		err = put_argument(&sink, args[used++], &spec);
	}
	if (err)
		return err;
	if (out_size)
		out[MIN(sink.length, out_size - 1)] = 0;
	return (int)sink.length;
}
