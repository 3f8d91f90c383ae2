/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers out of text, comparison, checksums: results as the kernel's helpers give them. */
#include "helpers/helpers.h"

#include <errno.h>
#include <limits.h>

#include "test.h"

static s64 to_long(const char *text, u64 flags, s64 *value)
{
	*value = 77;
	return (s64)helper_address(105)(ptr_to_u64(text), strlen(text), flags, ptr_to_u64(value),
					0);
}

static s64 to_ulong(const char *text, u64 flags, u64 *value)
{
	*value = 77;
	return (s64)helper_address(106)(ptr_to_u64(text), strlen(text), flags, ptr_to_u64(value),
					0);
}

static void strtol_reads_numbers(void)
{
	static const struct {
		const char *text;
		u64 flags;
		s64 result, value;
	} cases[] = {
		{"42", 0, 2, 42},
		{"  -42x", 0, 5, -42},
		{"0x1f", 0, 4, 31},
		{"0x1f", 16, 4, 31},
		{"1f", 16, 2, 31},
		{"017", 0, 3, 15},
		{"017", 10, 3, 17},
		{"0", 0, 1, 0},
		{"0x", 0, 1, 0},
		{"0xg", 16, -EINVAL, 0},
		{"", 10, -EINVAL, 0},
		{"-", 0, -EINVAL, 0},
		{"abc", 10, -EINVAL, 0},
		{"9223372036854775807", 10, 19, LONG_MAX},
		{"9223372036854775808", 10, -ERANGE, 0},
		{"-9223372036854775808", 10, 20, LONG_MIN},
		{"-9223372036854775809", 10, -ERANGE, 0},
		{"99999999999999999999999", 10, -ERANGE, 0},
		{"12", 7, -EINVAL, 0},
		{"12", 10 | 32, -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		s64 value;

		CHECK_EQ(to_long(cases[i].text, cases[i].flags, &value), cases[i].result);
		CHECK_EQ(value, cases[i].value);
	}
}

static void strtoul_has_no_sign(void)
{
	u64 value;

	CHECK_EQ(to_ulong("18446744073709551615", 0, &value), 20);
	CHECK_EQ(value, ULONG_MAX);
	CHECK_EQ(to_ulong("18446744073709551616", 0, &value), -ERANGE);
	CHECK_EQ(to_ulong("-1", 0, &value), -EINVAL);
	CHECK_EQ(value, 0);
}

static s64 compare(const char *a, u32 size, const char *b)
{
	return (s64)helper_address(182)(ptr_to_u64(a), size, ptr_to_u64(b), 0, 0);
}

static void strncmp_orders(void)
{
	CHECK_EQ(compare("same", 8, "same"), 0);
	CHECK_EQ(compare("sama", 8, "same"), -1);
	CHECK_EQ(compare("same", 8, "sam"), 1);
	CHECK_EQ(compare("same", 3, "samx"), 0);
	CHECK_EQ(compare("\xff", 1, "a"), 1);
}

static s64 csum(const void *from, u32 from_size, const void *to, u32 to_size, u32 seed)
{
	return (s64)helper_address(28)(ptr_to_u64(from), from_size, ptr_to_u64(to), to_size, seed);
}

/* Sums compared modulo 0xffff, where the checksum lives. */
static void csum_diff_adds_and_takes_away(void)
{
	u32 a[] = {0x12345678, 0x9abcdef0, 0xffffffff};
	u32 b[] = {0x11111111, 0x22222222, 0x33333333};
	s64 sum_a = csum(NULL, 0, a, sizeof(a), 0);
	s64 sum_b = csum(NULL, 0, b, sizeof(b), 0);

	u32 ones[] = {0xffffffff, 0};

	/* As Linux 6.18 answers, in both forms of zero. */
	CHECK_EQ(csum(ones, sizeof(ones), NULL, 0, 0), 0);
	CHECK_EQ(csum(NULL, 0, ones, sizeof(ones), 0), 0xffff);
	CHECK_EQ(csum(a, 3, NULL, 0, 0), -EINVAL);
	CHECK_EQ(csum(NULL, 0, NULL, 0, 0x12345), 0x2346);
	CHECK(sum_a > 0 && sum_a <= 0xffff);
	CHECK_EQ((csum(a, sizeof(a), b, sizeof(b), 0) + sum_a) % 0xffff, sum_b % 0xffff);
	CHECK_EQ(csum(NULL, 0, b, sizeof(b), 7) % 0xffff, (sum_b + 7) % 0xffff);
}

int main(void)
{
	RUN(strtol_reads_numbers);
	RUN(strtoul_has_no_sign);
	RUN(strncmp_orders);
	RUN(csum_diff_adds_and_takes_away);
	return test_done();
}
