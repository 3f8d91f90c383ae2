/* SPDX-License-Identifier: BSD-2-Clause */
/* Text: numbers out of it, and comparison. Rules and errors as the kernel's helpers of the same names. */
#include "base/types.h"
#include "helpers/call.h"

#include <errno.h>

#define BASE_MASK 0x1full
/* Characters of a number that are looked at; longer ones are cut, as the kernel cuts them. */
#define NUMBER_MAX 63

struct number {
	u64 magnitude;
	bool negative;
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Its value as a digit, or 255. */
static u32 digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (u32)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (u32)(c - 'a' + 10) : 255;
}

static bool has_hex_prefix(const char *text, const char *end)
{
	return end - text > 1 && text[0] == '0' && (text[1] | 0x20) == 'x';
}

/* Base 0 goes by the prefix. Returns where the digits begin. */
static const char *settle_base(const char *text, const char *end, u32 *base)
{
	if (!*base) {
		*base = 10;
		if (text[0] == '0')
			*base = has_hex_prefix(text, end) && end - text > 2 &&
						digit_of(text[2]) < 16
					? 16
					: 8;
	}
	return *base == 16 && has_hex_prefix(text, end) ? text + 2 : text;
}

/* Digits of the number, or -EINVAL (none) or -ERANGE. */
static s64 read_digits(const char *text, const char *end, u32 base, u64 *ret_value)
{
	const char *at = text;
	bool overflow = false;
	u64 value = 0;

	for (; at < end && digit_of(*at) < base; at++) {
		overflow |= __builtin_mul_overflow(value, (u64)base, &value);
		overflow |= __builtin_add_overflow(value, (u64)digit_of(*at), &value);
	}
	if (overflow)
		return -ERANGE;
	if (at == text)
		return -EINVAL;
	*ret_value = value;
	return at - text;
}

/* Returns the characters consumed or -errno. */
static s64 read_number(const char *text, u32 size, u64 flags, struct number *ret_number)
{
	u32 base = (u32)(flags & BASE_MASK);
	const char *end = text + size;
	const char *at = text;
	const char *digits;
	s64 count;

	if (!size || (base && base != 8 && base != 10 && base != 16) || flags & ~BASE_MASK)
		return -EINVAL;
	while (at < end && is_space(*at))
		at++;
	ret_number->negative = at < end && *at == '-';
	at += ret_number->negative;
	if (at == end)
		return -EINVAL;
	end = end - at > NUMBER_MAX ? at + NUMBER_MAX : end;
	digits = settle_base(at, end, &base);
	count = read_digits(digits, end, base, &ret_number->magnitude);
	return count < 0 ? count : digits - text + count;
}

HELPER_4(strtol, text, size, flags, to)
{
	struct number number;
	s64 *out = ptr_from_u64(to);
	s64 consumed;

	*out = 0;
	consumed = read_number(ptr_from_u64(text), (u32)size, flags, &number);
	if (consumed < 0)
		return helper_result(consumed);
	if (number.magnitude > (u64)INT64_MAX + number.negative)
		return helper_result(-ERANGE);
	*out = (s64)(number.negative ? 0 - number.magnitude : number.magnitude);
	return helper_result(consumed);
}

HELPER_4(strtoul, text, size, flags, to)
{
	struct number number;
	u64 *out = ptr_from_u64(to);
	s64 consumed;

	*out = 0;
	consumed = read_number(ptr_from_u64(text), (u32)size, flags, &number);
	if (consumed < 0)
		return helper_result(consumed);
	if (number.negative)
		return helper_result(-EINVAL);
	*out = number.magnitude;
	return helper_result(consumed);
}

HELPER_3(strncmp, first, size, second)
{
	const u8 *a = ptr_from_u64(first);
	const u8 *b = ptr_from_u64(second);

	for (u32 left = (u32)size; left; left--, a++, b++) {
		if (*a != *b)
			return helper_result(*a < *b ? -1 : 1);
		if (!*a)
			break;
	}
	return 0;
}
