/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "arch/arch.h"
#include "test.h"

static int encode(u8 *bytes, enum patch_kind kind, u64 site, u64 target)
{
	return arch_x86_64.patch.encode(bytes, kind, site, target);
}

static void branches_are_relative_to_their_end(void)
{
	u8 bytes[8] = {0};

	CHECK_EQ(encode(bytes, PATCH_JUMP, 0x1000, 0x1005), 0);
	CHECK(!memcmp(bytes, "\xe9\0\0\0\0", 5));
	CHECK_EQ(encode(bytes, PATCH_CALL, 0x2000, 0x1000), 0);
	CHECK(!memcmp(bytes, "\xe8\xfb\xef\xff\xff", 5));
	CHECK_EQ(bytes[5], 0);
}

static void a_nop_is_one_instruction(void)
{
	u8 bytes[8] = {0};

	CHECK_EQ(encode(bytes, PATCH_NOP, 0, 0), 0);
	CHECK(!memcmp(bytes, "\x0f\x1f\x44\0\0\0", 6));
}

static void what_rel32_cannot_reach_is_refused(void)
{
	const u64 site = 0x100000000;
	u8 bytes[8] = {0x55};

	CHECK_EQ(encode(bytes, PATCH_JUMP, site, site + 5 + 0x7fffffff), 0);
	CHECK_EQ(encode(bytes, PATCH_JUMP, site, site + 5 - 0x80000000ull), 0);
	bytes[0] = 0x55;
	CHECK_EQ(encode(bytes, PATCH_JUMP, site, site + 5 + 0x80000000ull), -ERANGE);
	CHECK_EQ(encode(bytes, PATCH_CALL, site, site + 5 - 0x80000001ull), -ERANGE);
	CHECK_EQ(bytes[0], 0x55);
	CHECK_EQ(encode(bytes, PATCH_RAW, site, site), -EINVAL);
}

int main(void)
{
	RUN(branches_are_relative_to_their_end);
	RUN(a_nop_is_one_instruction);
	RUN(what_rel32_cannot_reach_is_refused);
	return test_done();
}
