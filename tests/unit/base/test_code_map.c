/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/code_map.h"
#include "test.h"

#define START 0x10000ull

static u32 heard, ranges_heard;

static void listen(const struct code_map *map)
{
	heard++;
	ranges_heard = map->count;
}

static int add(u64 start, const char *name)
{
	struct frame_note note = {.at = 3, .kind = FRAME_CFA, .offset = 16};
	const struct frame_notes notes = {&note, 1, 1};

	return code_map_add(start, 0x10, 0, &notes, name);
}

static void ranges_are_found_once_published(void)
{
	CHECK_EQ(add(START + 0x20, "second"), 0);
	CHECK_EQ(add(START, "first"), 0);
	CHECK(!code_map_find(START));
	CHECK_EQ(code_map_publish(), 0);
	CHECK(!strcmp(code_map_find(START)->name, "first"));
	CHECK(!strcmp(code_map_find(START + 0x2f)->name, "second"));
	CHECK_EQ(code_map_find(START)->notes[0].offset, 16);
	CHECK(!code_map_find(START - 1) && !code_map_find(START + 0x10) &&
	      !code_map_find(START + 0x30));
	code_map_remove(START);
	CHECK(code_map_find(START) != NULL);
	CHECK_EQ(code_map_publish(), 0);
	CHECK(!code_map_find(START) && code_map_find(START + 0x20));
	code_map_reap();
}

static void listeners_hear_of_changes_alone(void)
{
	CHECK_EQ(code_map_add_listener(listen), 0);
	CHECK_EQ(code_map_add_listener(listen), 0);
	code_map_publish();
	CHECK_EQ(heard, 1);
	CHECK_EQ(ranges_heard, 1);
	code_map_publish();
	CHECK_EQ(heard, 1);
	add(START, "again");
	code_map_publish();
	CHECK_EQ(heard, 2);
	CHECK_EQ(ranges_heard, 2);
	code_map_reap();
}

/* A process that compiles and frees, and never publishes. */
static void what_nobody_saw_is_freed_at_once(void)
{
	size_t before;

	add(START + 0x100, "grow");
	code_map_remove(START + 0x100);
	before = arena_in_use();
	for (int i = 0; i < 1000; i++) {
		add(START + 0x100, "grow");
		code_map_remove(START + 0x100);
	}
	CHECK_EQ(arena_in_use(), before);
}

static void too_many_notes_are_refused(void)
{
	struct frame_note note;
	const struct frame_notes notes = {&note, 2, 1};

	CHECK_EQ(code_map_add(START + 0x200, 0x10, 0, &notes, "full"), -E2BIG);
}

int main(void)
{
	RUN(ranges_are_found_once_published);
	RUN(listeners_hear_of_changes_alone);
	RUN(what_nobody_saw_is_freed_at_once);
	RUN(too_many_notes_are_refused);
	return test_done();
}
