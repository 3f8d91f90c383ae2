/* SPDX-License-Identifier: BSD-2-Clause */
/* Displaced instructions, encoded and, on x86-64, run at their new place. */
#include <errno.h>

#include "arch/arch.h"
#include "arch/relocate.h"
#include "base/codebuf.h"
#include "base/text.h"
#include "test.h"

static struct displaced window(const char *bytes, u8 length)
{
	struct displaced displaced = {.site = 0x400000, .length = length};

	memcpy(displaced.bytes, bytes, length);
	return displaced;
}

static void add(struct displaced *displaced, struct displaced_insn insn)
{
	displaced->insns[displaced->count++] = insn;
}

static int copy_to(struct displaced *displaced, u8 *bytes, u64 exec, u32 *ret_size)
{
	struct codebuf buf;
	int err;

	codebuf_init(&buf, bytes, exec, 128);
	err = arch_x86_64.relocate.copy(&buf, displaced);
	*ret_size = buf.size;
	return err;
}

static void plain_instructions_are_copied(void)
{
	struct displaced displaced = window("\x55\x48\x89\xe5\x31\xc0", 6);
	u8 bytes[128];
	u32 size;

	add(&displaced, (struct displaced_insn){.offset = 0, .length = 1});
	add(&displaced, (struct displaced_insn){.offset = 1, .length = 3});
	add(&displaced, (struct displaced_insn){.offset = 4, .length = 2});
	CHECK_EQ(copy_to(&displaced, bytes, 0x500000, &size), 0);
	CHECK_EQ(size, 6);
	CHECK(!memcmp(bytes, displaced.bytes, 6));
	CHECK(displaced.copy_offsets[0] == 0 && displaced.copy_offsets[1] == 1 &&
	      displaced.copy_offsets[2] == 4);
}

/* cmpl $7, target(%rip): an immediate behind the displacement, which counts from the instruction's end. */
static void rip_relative_operands_reach_their_target(void)
{
	struct displaced displaced = window("\x83\x3d\x11\x22\x33\x44\x07", 7);
	u8 bytes[128];
	u32 size;

	add(&displaced,
	    (struct displaced_insn){
		    .kind = DISPLACED_RIP_REL, .length = 7, .field_off = 2, .target = 0x400100});
	CHECK_EQ(copy_to(&displaced, bytes, 0x500000, &size), 0);
	CHECK_EQ(size, 7);
	CHECK(!memcmp(bytes, "\x83\x3d\xf9\x00\xf0\xff\x07", 7));
	CHECK_EQ(copy_to(&displaced, bytes, 0x500000 + (1ull << 32), &size), -ERANGE);
}

static void short_branches_become_near(void)
{
	/* test eax, eax; je +0x20; jmp -2 */
	struct displaced displaced = window("\x85\xc0\x74\x20\xeb\xfe", 6);
	u8 bytes[128];
	u32 size;

	add(&displaced, (struct displaced_insn){.offset = 0, .length = 2});
	add(&displaced, (struct displaced_insn){.kind = DISPLACED_JCC,
						.offset = 2,
						.length = 2,
						.condition = 4,
						.target = 0x400024});
	add(&displaced,
	    (struct displaced_insn){
		    .kind = DISPLACED_JUMP, .offset = 4, .length = 2, .target = 0x400004});
	CHECK_EQ(copy_to(&displaced, bytes, 0x400100, &size), 0);
	CHECK_EQ(size, 13);
	CHECK(!memcmp(bytes, "\x85\xc0\x0f\x84\x1c\xff\xff\xff\xe9\xf7\xfe\xff\xff", 13));
	CHECK_EQ(displaced.copy_offsets[2], 8);
}

static void calls_must_end_their_window(void)
{
	struct displaced displaced = window("\xe8\x00\x01\x00\x00\x90", 6);
	u8 bytes[128];
	u32 size;

	add(&displaced,
	    (struct displaced_insn){.kind = DISPLACED_CALL, .length = 5, .target = 0x400105});
	add(&displaced, (struct displaced_insn){.offset = 5, .length = 1});
	CHECK_EQ(copy_to(&displaced, bytes, 0x400200, &size), -EINVAL);
}

static void recipes_that_do_not_add_up_are_refused(void)
{
	struct displaced displaced = window("\x55\x48\x89\xe5\x90", 5);
	u8 bytes[128];
	u32 size;

	add(&displaced, (struct displaced_insn){.offset = 0, .length = 1});
	CHECK_EQ(copy_to(&displaced, bytes, 0, &size), -EINVAL); /* not the whole window */
	add(&displaced, (struct displaced_insn){.offset = 2, .length = 3});
	CHECK_EQ(copy_to(&displaced, bytes, 0, &size), -EINVAL); /* a gap */
	displaced.insns[1] = (struct displaced_insn){.offset = 1, .length = 5};
	CHECK_EQ(copy_to(&displaced, bytes, 0, &size), -EINVAL); /* beyond the window */
	displaced.insns[1] = (struct displaced_insn){.offset = 1, .length = 4, .kind = 99};
	CHECK_EQ(copy_to(&displaced, bytes, 0, &size), -EINVAL);
	displaced.count = DISPLACED_MAX_INSNS + 1;
	CHECK_EQ(copy_to(&displaced, bytes, 0, &size), -EINVAL);
}

#if defined(__x86_64__)
/* Runs the window's copy with rcx = count: returns 1 when the branch was taken to its target, else 2. */
static int run_copy(struct displaced *displaced, u64 count)
{
	static struct text_block block;
	struct codebuf buf;
	int result = 0;

	CHECK_EQ(text_alloc(0, 256, &block), 0);
	/* at 128: mov $1, eax; ret. at 0: the copy; mov $2, eax; ret. */
	memcpy(block.write + 128, "\xb8\x01\x00\x00\x00\xc3", 6);
	displaced->insns[displaced->count - 1].target = ptr_to_u64(block.exec) + 128;
	codebuf_init(&buf, block.write, ptr_to_u64(block.exec), 128);
	CHECK_EQ(arch_x86_64.relocate.copy(&buf, displaced), 0);
	memcpy(block.write + buf.size, "\xb8\x02\x00\x00\x00\xc3", 6);
	CHECK_EQ(text_commit(&block), 0);
	__asm__ volatile("sub $128, %%rsp\ncall *%2\nadd $128, %%rsp"
			 : "=&a"(result), "+c"(count)
			 : "r"(block.exec)
			 : "memory", "cc");
	text_free(&block);
	return result;
}

static void loops_and_conditions_decide_as_before(void)
{
	struct displaced loop = window("\xe2\x10", 2), jrcxz = window("\xe3\x10", 2);
	struct displaced jecxz = window("\x67\xe3\x10", 3), jcc = window("\x48\x85\xc9\x74\x10", 5);

	add(&loop, (struct displaced_insn){.kind = DISPLACED_LOOP, .length = 2, .condition = 0xe2});
	CHECK_EQ(run_copy(&loop, 2), 1);
	CHECK_EQ(run_copy(&loop, 1), 2);
	add(&jrcxz,
	    (struct displaced_insn){.kind = DISPLACED_LOOP, .length = 2, .condition = 0xe3});
	CHECK_EQ(run_copy(&jrcxz, 0), 1);
	CHECK_EQ(run_copy(&jrcxz, 1ull << 32), 2);
	add(&jecxz,
	    (struct displaced_insn){.kind = DISPLACED_LOOP, .length = 3, .condition = 0xe3});
	CHECK_EQ(run_copy(&jecxz, 1ull << 32), 1);
	add(&jcc, (struct displaced_insn){.offset = 0, .length = 3});
	add(&jcc, (struct displaced_insn){
			  .kind = DISPLACED_JCC, .offset = 3, .length = 2, .condition = 4});
	CHECK_EQ(run_copy(&jcc, 0), 1);
	CHECK_EQ(run_copy(&jcc, 5), 2);
}

/* A callee returns the return address that it sees, and the caller the carry that it passed through the call. */
static void calls_return_behind_the_window(void)
{
	struct displaced displaced = window("\xf9\xe8\x00\x00\x00\x00", 6); /* stc; call */
	static struct text_block block;
	struct codebuf buf;
	u64 seen = 0, carry = 0;

	CHECK_EQ(text_alloc(0, 256, &block), 0);
	/* at 192, behind the window: setc cl; ret. at 128, the target: mov (rsp), rax; ret */
	memcpy(block.write + 192, "\x0f\x92\xc1\xc3", 4);
	memcpy(block.write + 128, "\x48\x8b\x04\x24\xc3", 5);
	displaced.site = ptr_to_u64(block.exec) + 192 - 6;
	add(&displaced, (struct displaced_insn){.length = 1});
	add(&displaced, (struct displaced_insn){.kind = DISPLACED_CALL,
						.offset = 1,
						.length = 5,
						.target = ptr_to_u64(block.exec) + 128});
	codebuf_init(&buf, block.write, ptr_to_u64(block.exec), 128);
	CHECK_EQ(arch_x86_64.relocate.copy(&buf, &displaced), 0);
	CHECK_EQ(text_commit(&block), 0);
	__asm__ volatile("sub $128, %%rsp\nclc\ncall *%2\nlea 128(%%rsp), %%rsp"
			 : "=&a"(seen), "+c"(carry)
			 : "r"(block.exec)
			 : "memory", "cc");
	CHECK_EQ(seen, ptr_to_u64(block.exec) + 192);
	CHECK_EQ(carry, 1);
	text_free(&block);
}
#else
static void loops_and_conditions_decide_as_before(void)
{
	SKIP("not an x86-64 machine");
}

static void calls_return_behind_the_window(void)
{
	SKIP("not an x86-64 machine");
}
#endif

int main(void)
{
	RUN(plain_instructions_are_copied);
	RUN(rip_relative_operands_reach_their_target);
	RUN(short_branches_become_near);
	RUN(calls_must_end_their_window);
	RUN(calls_return_behind_the_window);
	RUN(recipes_that_do_not_add_up_are_refused);
	RUN(loops_and_conditions_decide_as_before);
	return test_done();
}
