/* SPDX-License-Identifier: BSD-2-Clause */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "base/types.h"
#include "test.h"

static u64 here(void)
{
	return (u64)(uintptr_t)here;
}

static long distance(const void *a, u64 b)
{
	return labs((long)((u64)(uintptr_t)a - b));
}

static int count_writable_executable(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	int count = 0;

	while (fgets(line, sizeof(line), maps)) {
		const char *perms = strchr(line, ' ') + 1;

		count += perms[1] == 'w' && perms[2] == 'x';
	}
	fclose(maps);
	return count;
}

#if defined(__aarch64__)
/* movz w0, #n; ret */
static const u8 return_42[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
static const u8 return_7[] = {0xe0, 0x00, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
static const u8 trap = 0;
#else
/* mov $n, %eax; ret */
static const u8 return_42[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};
static const u8 return_7[] = {0xb8, 7, 0, 0, 0, 0xc3};
static const u8 trap = 0xcc;
#endif

static int run_block(struct text_block *block)
{
	memcpy(block->write, return_42, sizeof(return_42));
	if (text_commit(block))
		return -1;
	return ((int (*)(void))(uintptr_t)block->exec)();
}

static void a_block_runs_near_the_code(void)
{
	struct text_block block;

	CHECK_EQ(text_alloc(here(), 100, &block), 0);
	CHECK_EQ(block.size, 112);
	CHECK(((uintptr_t)block.exec & 15) == 0);
	CHECK(distance(block.exec, here()) < (1l << 31));
	CHECK(block.exec[0] == trap && block.exec[99] == trap);
	CHECK_EQ(run_block(&block), 42);
	CHECK(text_contains((u64)(uintptr_t)block.exec));
	CHECK(!text_contains(here()) && !text_contains(0));
	CHECK_EQ(count_writable_executable(), 0);
	text_free(&block);
	CHECK(!text_contains((u64)(uintptr_t)block.exec));
}

static void blocks_reach_whatever_they_are_near_to(void)
{
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 places[] = {here(), (u64)(uintptr_t)printf, 0x400000, (u64)(uintptr_t)page, 0};
	struct text_block blocks[ARRAY_SIZE(places)];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		CHECK_EQ(text_alloc(places[i], 70000, &blocks[i]), 0);
		CHECK(!places[i] || distance(blocks[i].exec, places[i]) < (1l << 31));
		CHECK(!places[i] || distance(blocks[i].exec + 70000, places[i]) < (1l << 31));
	}
	CHECK_EQ(count_writable_executable(), 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		text_free(&blocks[i]);
}

static void freed_ranges_are_reused_and_do_not_overlap(void)
{
	static struct text_block blocks[3000];
	u64 lowest = ~0ull, highest = 0;
	int wrong = 0;

	for (int round = 0; round < 3; round++) {
		for (u32 i = 0; i < 3000; i++) {
			CHECK_EQ(text_alloc(here(), 16 + i % 300, &blocks[i]), 0);
			memset(blocks[i].write, (int)i, blocks[i].size);
			CHECK_EQ(text_commit(&blocks[i]), 0);
			lowest = MIN(lowest, (u64)(uintptr_t)blocks[i].exec);
			highest = MAX(highest, (u64)(uintptr_t)blocks[i].exec);
		}
		for (u32 i = 0; i < 3000; i++)
			wrong += blocks[i].exec[0] != (u8)i ||
				 blocks[i].exec[blocks[i].size - 1] != (u8)i;
		for (u32 i = 1; i < 3000; i++)
			text_free(&blocks[(i * 7) % 3000]);
		text_free(&blocks[0]);
	}
	CHECK_EQ(wrong, 0);
	CHECK(highest - lowest < 16 << 20);
	CHECK_EQ(arena_in_use(), 0);
}

static void impossible_requests_are_refused(void)
{
	struct text_block block;

	CHECK_EQ(text_alloc(0, 0, &block), -12);
	CHECK_EQ(text_alloc(0, 64 << 20, &block), -12);
	/* Nothing can be mapped within 2 GiB of a kernel address. */
	CHECK_EQ(text_alloc(0xffffffff81000000, 100, &block), -34);
	CHECK_EQ(arena_in_use(), 0);
}

/* The parent writes other code to the very place while the child calls what it was forked with. */
static void a_forked_child_keeps_its_code(void)
{
	struct text_block block;
	int go[2], status;
	char byte;
	pid_t child;
	u64 word;

	CHECK_EQ(text_alloc(here(), sizeof(return_42), &block), 0);
	CHECK_EQ(run_block(&block), 42);
	CHECK_EQ(pipe(go), 0);
	child = fork();
	if (!child) {
		int (*code)(void) = (int (*)(void))(uintptr_t)block.exec;

		_exit(read(go[0], &byte, 1) != 1 || code() != 42);
	}
	memcpy(&word, block.exec, sizeof(word));
	memcpy(&word, return_7, sizeof(return_7));
	CHECK_EQ(text_patch(&block, 0, word), 0);
	CHECK_EQ(((int (*)(void))(uintptr_t)block.exec)(), 7);
	CHECK_EQ(write(go[1], "x", 1), 1);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	close(go[0]);
	close(go[1]);
	text_free(&block);
}

/* Neither does a child that writes code change its parent's. */
static void a_forked_child_writes_to_itself(void)
{
	struct text_block block;
	int status;
	pid_t child;

	CHECK_EQ(text_alloc(here(), sizeof(return_42), &block), 0);
	CHECK_EQ(run_block(&block), 42);
	child = fork();
	if (!child)
		_exit(text_patch(&block, 0, trap * 0x0101010101010101ull) || block.exec[0] != trap);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(((int (*)(void))(uintptr_t)block.exec)(), 42);
	text_free(&block);
}

struct mapping {
	unsigned long start, end;
	char line[512];
};

static void find_mapping(const struct text_block *block, struct mapping *ret_mapping)
{
	FILE *maps = fopen("/proc/self/maps", "r");

	while (fgets(ret_mapping->line, sizeof(ret_mapping->line), maps)) {
		if (sscanf(ret_mapping->line, "%lx-%lx ", &ret_mapping->start, &ret_mapping->end) ==
			    2 &&
		    ret_mapping->start <= (u64)(uintptr_t)block->exec &&
		    (u64)(uintptr_t)block->exec < ret_mapping->end)
			break;
	}
	fclose(maps);
}

/* The file that gives the mapping its name holds no second copy of it. */
static void code_is_not_kept_twice(void)
{
	struct text_block block;
	struct mapping mapping;
	char path[64];
	struct stat file;

	CHECK_EQ(text_alloc(here(), 100, &block), 0);
	find_mapping(&block, &mapping);
	CHECK(strstr(mapping.line, "inlay-text"));
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", mapping.start, mapping.end);
	if (stat(path, &file))
		SKIP("needs root");
	CHECK_EQ(file.st_blocks, 0);
	CHECK_EQ(block.exec[0], trap);
	text_free(&block);
}

static void memory_without_a_name_bears_a_mark(void)
{
	struct text_block named, blocks[2];
	struct mapping mapping, other;

	CHECK_EQ(text_alloc(here(), 100, &named), 0);
	text_set_nameless(true);
	CHECK_EQ(text_alloc(here(), 1 << 18, &blocks[0]), 0);
	CHECK_EQ(text_alloc(here(), 100, &blocks[1]), 0);
	text_set_nameless(false);
	find_mapping(&blocks[0], &mapping);
	CHECK(!strchr(mapping.line, '/') && strstr(mapping.line, "r-xp"));
	CHECK(!memcmp((const void *)mapping.start, TEXT_MARK, sizeof(TEXT_MARK)));
	CHECK_EQ(run_block(&blocks[1]), 42);
	find_mapping(&named, &other);
	CHECK(strstr(other.line, "inlay-text"));
	text_free(&blocks[0]);
	text_free(&blocks[1]);
	text_free(&named);
	find_mapping(&blocks[0], &other);
	CHECK(other.start != mapping.start);
}

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static void works_when_memory_may_not_become_executable(void)
{
	struct text_block block;
	int status;
	pid_t child = fork();

	if (!child) {
		if (prctl(PR_SET_MDWE, 1, 0, 0, 0))
			_exit(77);
		_exit(text_alloc(here(), 100, &block) ? 1 : run_block(&block) != 42);
	}
	waitpid(child, &status, 0);
	if (WEXITSTATUS(status) == 77)
		SKIP("the kernel has no PR_SET_MDWE");
	CHECK_EQ(status, 0);
}

int main(void)
{
	RUN(a_block_runs_near_the_code);
	RUN(blocks_reach_whatever_they_are_near_to);
	RUN(freed_ranges_are_reused_and_do_not_overlap);
	RUN(impossible_requests_are_refused);
	RUN(a_forked_child_keeps_its_code);
	RUN(a_forked_child_writes_to_itself);
	RUN(code_is_not_kept_twice);
	RUN(memory_without_a_name_bears_a_mark);
	RUN(works_when_memory_may_not_become_executable);
	return test_done();
}
