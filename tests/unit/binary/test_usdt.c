/* SPDX-License-Identifier: BSD-2-Clause */
/* SDT notes: operands taken apart; notes of real libraries, and how many of their places can be entered. */
#include "binary/binary.h"
#include "binary/usdt.h"
#include "format/bpf_abi.h"

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define REG(field) offsetof(struct abi_pt_regs_x86_64, field)

static struct usdt_argument one(const char *text)
{
	struct usdt_argument arguments[USDT_MAX_ARGUMENTS];

	if (usdt_arguments(text, arguments) != 1)
		arguments[0] = (struct usdt_argument){.where = USDT_UNKNOWN, .size = 99};
	return arguments[0];
}

static void operands_are_taken_apart(void)
{
	struct usdt_argument got = one("-4@%edi");

	CHECK(got.where == USDT_REGISTER && got.reg == REG(di) && got.size == 4 && got.is_signed);
	got = one("8@-16(%rbp)");
	CHECK(got.where == USDT_MEMORY && got.reg == REG(bp) && got.offset == -16 &&
	      !got.is_signed);
	got = one("1@%r13b");
	CHECK(got.where == USDT_REGISTER && got.reg == REG(r13) && got.size == 1);
	got = one("4@$5");
	CHECK(got.where == USDT_CONSTANT && got.offset == 5);
	got = one("-8@$-9");
	CHECK(got.where == USDT_CONSTANT && got.offset == -9);
	got = one("8@$0xffffffffffffffff");
	CHECK(got.where == USDT_CONSTANT && got.offset == -1);
	got = one("2@(%rsp)");
	CHECK(got.where == USDT_MEMORY && got.reg == REG(sp) && !got.offset && got.size == 2);
	got = one("8@8(%rdx,%rax,4)");
	CHECK(got.where == USDT_MEMORY_INDEXED && got.reg == REG(dx) && got.index == REG(ax) &&
	      got.scale == 2 && got.offset == 8);
	got = one("8@(%r8,%r9)");
	CHECK(got.where == USDT_MEMORY_INDEXED && got.scale == 0 && got.index == REG(r9));
	got = one("%rax");
	CHECK(got.where == USDT_REGISTER && got.size == 8);
}

static void other_operands_are_unknown(void)
{
	static const char *const texts[] = {"8f@%xmm0",	  "4@name(%rip)",
					    "4@%ah",	  "8@8(%rdx,%rax,3)",
					    "8@8(%rdx",	  "8@$",
					    "3@%eax",	  "4@",
					    "@",	  "8@(,%rax,8)",
					    "8@%",	  "-@%eax",
					    "8@8(%rdx)x", "8@$99999999999999999999"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (one(texts[i]).where != USDT_UNKNOWN)
			printf("# %s\n", texts[i]);
		CHECK(one(texts[i]).where == USDT_UNKNOWN);
	}
}

static void lists_have_a_limit(void)
{
	struct usdt_argument arguments[USDT_MAX_ARGUMENTS];

	CHECK(usdt_arguments("", arguments) == 0);
	CHECK(usdt_arguments("  ", arguments) == 0);
	CHECK(usdt_arguments(" 4@%eax  8@%rbx ", arguments) == 2 && arguments[1].reg == REG(bx));
	CHECK(usdt_arguments("1 2 3 4 5 6 7 8 9 10 11 12", arguments) == 12);
	CHECK(usdt_arguments("1 2 3 4 5 6 7 8 9 10 11 12 13", arguments) == -E2BIG);
}

static void check_library(const char *path)
{
	const struct usdt_note *notes;
	struct binary *binary;
	size_t count, entered = 0, in_front = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || binary_open(fd, path, &binary)) {
		printf("# %s: not here\n", path);
		if (fd >= 0)
			close(fd);
		return;
	}
	close(fd);
	notes = binary_usdt_notes(binary, &count);
	for (size_t i = 0; i < count; i++) {
		const char *reason = "";
		struct site_spec spec;
		u8 nop;
		int err = binary_plan_point(binary, notes[i].address, &spec, &reason);

		CHECK(!binary_read(binary, notes[i].address, &nop, 1) && nop == 0x90);
		if (err)
			printf("# %s:%s: %s\n", notes[i].provider, notes[i].name, reason);
		entered += !err;
		in_front += !err && spec.before;
		CHECK(err || (spec.displaced.length >= 5 && spec.address <= notes[i].address &&
			      notes[i].address < spec.address + spec.displaced.length));
	}
	printf("# %s: %zu places, %zu can be entered, %zu of them with instructions in front\n",
	       path, count, entered, in_front);
	binary_close(binary);
}

static void places_of_libraries_are_planned(void)
{
	check_library("/lib/x86_64-linux-gnu/libc.so.6");
	check_library("/lib/x86_64-linux-gnu/libm.so.6");
	check_library("/lib64/ld-linux-x86-64.so.2");
	check_library("/usr/lib/x86_64-linux-gnu/libstdc++.so.6");
	check_library("/lib/x86_64-linux-gnu/libgcc_s.so.1");
}

int main(void)
{
	RUN(operands_are_taken_apart);
	RUN(other_operands_are_unknown);
	RUN(lists_have_a_limit);
	RUN(places_of_libraries_are_planned);
	return test_done();
}
