/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/arena.h"
#include "base/types.h"
#include "test.h"

static void blocks_are_zeroed_and_aligned(void)
{
	for (size_t size = 1; size < 300000; size = size * 3 + 1) {
		u8 *block = arena_alloc(size);
		size_t nonzero = 0;

		CHECK(block && ((uintptr_t)block & 15) == 0);
		for (size_t i = 0; i < size; i++)
			nonzero += block[i] != 0;
		CHECK_EQ(nonzero, 0);
		memset(block, 0xff, size);
		arena_free(block);
	}
}

static void a_freed_block_comes_back_zeroed(void)
{
	u8 *first = arena_alloc(100);
	u8 *again;

	memset(first, 0xee, 100);
	arena_free(first);
	again = arena_alloc(100);
	CHECK(again == first);
	CHECK(again[0] == 0 && again[99] == 0);
	arena_free(again);
}

static void blocks_do_not_overlap(void)
{
	u8 *blocks[200];
	size_t wrong = 0;

	for (u32 i = 0; i < 200; i++) {
		blocks[i] = arena_alloc(i * 17 + 1);
		memset(blocks[i], (int)i, i * 17 + 1);
	}
	for (u32 i = 0; i < 200; i++) {
		for (u32 k = 0; k < i * 17 + 1; k++)
			wrong += blocks[i][k] != (u8)i;
	}
	CHECK_EQ(wrong, 0);
	for (u32 i = 0; i < 200; i++)
		arena_free(blocks[i]);
}

static void resize_keeps_contents(void)
{
	u8 *block = arena_resize(NULL, 10);

	memset(block, 7, 10);
	block = arena_resize(block, 100000);
	CHECK(block[0] == 7 && block[9] == 7 && block[10] == 0 && block[99999] == 0);
	block = arena_resize(block, 5);
	CHECK(block[0] == 7 && block[4] == 7);
	arena_free(block);
}

static void nothing_is_left_in_use(void)
{
	CHECK_EQ(arena_in_use(), 0);
	CHECK(arena_alloc((size_t)1 << 62) == NULL);
	CHECK(arena_alloc(SIZE_MAX) == NULL);
	CHECK_EQ(arena_in_use(), 0);
}

int main(void)
{
	RUN(blocks_are_zeroed_and_aligned);
	RUN(a_freed_block_comes_back_zeroed);
	RUN(blocks_do_not_overlap);
	RUN(resize_keeps_contents);
	RUN(nothing_is_left_in_use);
	return test_done();
}
