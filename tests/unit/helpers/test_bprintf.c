/* SPDX-License-Identifier: BSD-2-Clause */
/* Formatted text: what is accepted, what comes out, and what happens at the limits. */
#include "helpers/bprintf.h"

#include <errno.h>

#include "exec/fault.h"
#include "test.h"

static char out[2048];

static int format1(const char *format, u64 argument)
{
	memset(out, '?', sizeof(out));
	return bprintf(out, sizeof(out), format, (u32)strlen(format) + 1, &argument, 1);
}

static void expect(const char *format, u64 argument, const char *want)
{
	CHECK_EQ(format1(format, argument), strlen(want));
	if (strcmp(out, want))
		printf("# %s gives '%s', want '%s'\n", format, out, want);
	CHECK(!strcmp(out, want));
}

static void integers(void)
{
	expect("%d", (u64)-5, "-5");
	expect("%d", 0xffffffffull, "-1");
	expect("%u", 0xffffffffffull, "4294967295");
	expect("%lld", (u64)INT64_MIN, "-9223372036854775808");
	expect("%lu", UINT64_MAX, "18446744073709551615");
	expect("%x %%", 0xbeef, "beef %");
	expect("%llX", 0xdeadbeefull << 8, "DEADBEEF00");
	expect("[%5d]", 42, "[   42]");
	expect("[%-5d]", 42, "[42   ]");
	expect("[%05d]", (u64)-42, "[-0042]");
	expect("[%+d]", 42, "[+42]");
	expect("[% d]", 42, "[ 42]");
	expect("%i", 0, "0");
	expect("100%%", 0, "100%");
}

static void strings_and_characters(void)
{
	char longer[200];

	memset(longer, 'x', sizeof(longer));
	longer[199] = 0;
	expect("%s", ptr_to_u64("text"), "text");
	expect("[%8s]", ptr_to_u64("text"), "[    text]");
	expect("[%-8s]", ptr_to_u64("text"), "[text    ]");
	expect("%pus.", ptr_to_u64("user"), "user.");
	expect("%pks", ptr_to_u64("kernel"), "kernel");
	expect("%c!", 'q', "q!");
	expect("<%s>", 8, "<>");
	expect("%s", ptr_to_u64(longer), longer);
}

static void pointers_and_addresses(void)
{
	static const unsigned char ip4[] = {10, 0, 200, 7};
	static const unsigned char ip6[] = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

	expect("%p", 0x7f00000012ab, "00007f00000012ab");
	expect("%px", 0x7f00000012ab, "00007f00000012ab");
	expect("%pS", 0x7f00000012ab, "0x7f00000012ab");
	expect("%pI4", ptr_to_u64(ip4), "10.0.200.7");
	expect("%pi4", ptr_to_u64(ip4), "010.000.200.007");
	expect("%pI6", ptr_to_u64(ip6), "2001:0db8:0000:0000:0000:0000:0000:0001");
	expect("%pi6", ptr_to_u64(ip6), "20010db8000000000000000000000001");
}

static void what_the_kernel_refuses_is_refused(void)
{
	static const char *const bad[] = {"%f",	      "%n",  "%hd",  "%.3d", "%#x",  "%llld",
					  "%sx",      "%pZ", "%pI5", "%",    "%d%d", "\x01",
					  "\xc3\xa4", "%*d", "%o",   "%pu",  "%5"};
	u64 argument = 1;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (format1(bad[i], argument) != -EINVAL)
			printf("# '%s' is accepted\n", bad[i]);
		CHECK_EQ(format1(bad[i], argument), -EINVAL);
	}
	CHECK_EQ(bprintf(out, sizeof(out), "abc", 3, NULL, 0), -EINVAL); /* no NUL in size */
	CHECK_EQ(bprintf_check("tab\tnewline\n", 13, 0), 0);
}

static void output_is_cut_and_its_length_told(void)
{
	u64 argument = 123456;

	memset(out, '?', sizeof(out));
	CHECK_EQ(bprintf(out, 4, "%d", 3, &argument, 1), 6);
	CHECK(!strcmp(out, "123"));
	CHECK_EQ(out[4], '?');
	CHECK_EQ(bprintf(NULL, 0, "%d", 3, &argument, 1), 6);
	CHECK_EQ(bprintf(out, 4, "%99999d", 8, &argument, 1), 99999);
}

static void arguments_fill_512_bytes(void)
{
	static char big[1000];
	u64 args[3] = {ptr_to_u64(big), 7, ptr_to_u64(big)};

	memset(big, 'b', sizeof(big) - 1);
	CHECK_EQ(bprintf(out, sizeof(out), "%s", 3, args, 1), 511);
	CHECK_EQ(bprintf(out, sizeof(out), "%s%d", 5, args, 2), -ENOSPC);
}

int main(void)
{
	if (fault_init())
		return 1;
	RUN(integers);
	RUN(strings_and_characters);
	RUN(pointers_and_addresses);
	RUN(what_the_kernel_refuses_is_refused);
	RUN(output_is_cut_and_its_length_told);
	RUN(arguments_fill_512_bytes);
	return test_done();
}
