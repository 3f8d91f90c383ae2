/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions of executable memory and the blocks cut from them.
 *
 * A region is a private read-execute mapping within reach of some code. It is of a memfd for the sake of its name in
 * /proc/PID/maps alone: all its pages are written at once (with traps), so that they are copies, and the file's own are given
 * back. One without a name begins with TEXT_MARK. Blocks are runs of 16-byte units in a bitmap, handed out next-fit and not wiped when freed. What a block is to hold
 * is prepared in the arena.
 */
#include "base/text.h"

#include <linux/falloc.h>
#include <linux/memfd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/self_mem.h"
#include "base/sys.h"
#include "base/text_gap.h"

#define UNIT		16
#define REGION_ALIGN	(64u << 10)
#define REGION_SIZE	(256u << 10)
#define REGION_MAX_SIZE (12u << 20) /* its pages must fit the low bits of an address (see spans) */
#define MAX_REGIONS	1024
#define PAGE		4096u

#if defined(__x86_64__)
#define TRAP_BYTE 0xcc /* int3 */
#else
#define TRAP_BYTE 0x00 /* udf #0 */
#endif

struct region {
	u8 *exec;
	u32 size;
	u32 index; /* in regions[] and spans[] */
	bool nameless;
	u32 units_free;
	u32 next_unit; /* where the next search begins */
	u64 *used;     /* bitmap */
};

/* Under the lock, but for spans: start address | number of pages, one word so that a signal handler reads both at once. */
static struct region *regions[MAX_REGIONS];
static u64 spans[MAX_REGIONS];
static u32 region_limit; /* indices in use are below */
static u32 text_lock;
static bool want_nameless;

static void lock(void)
{
	while (__atomic_exchange_n(&text_lock, 1, __ATOMIC_ACQUIRE))
		sys_sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&text_lock, 0, __ATOMIC_RELEASE);
}

static void fill_traps(u8 *to, u32 size)
{
	u64 word = TRAP_BYTE * 0x0101010101010101ull;

	for (u32 i = 0; i < size; i += 8)
		__builtin_memcpy(to + i, &word, 8);
}

/* -1 where there can be none: anonymous memory does as well. */
static int open_memory(u32 size)
{
	int fd = sys_memfd_create("inlay-text", MFD_CLOEXEC | MFD_EXEC);

	if (fd == -EINVAL)
		fd = sys_memfd_create("inlay-text", MFD_CLOEXEC);
	if (fd >= 0 && sys_ftruncate(fd, size)) {
		sys_close(fd);
		return -1;
	}
	return MAX(fd, -1);
}

static u8 *map_near(int fd, u64 near, u32 size)
{
	int flags = MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *pages;

	if (near)
		return text_gap_map(fd, near, size);
	pages = sys_mmap(NULL, size, PROT_READ | PROT_EXEC, flags, fd, 0);
	return sys_is_error(pages) ? NULL : pages;
}

/* Every page becomes the process's own. */
static int make_private(u8 *exec, u32 size)
{
	u64 traps[PAGE / 8];
	int err = 0;

	fill_traps((u8 *)traps, PAGE);
	for (u32 at = 0; at < size && !err; at += PAGE)
		err = self_mem_write(ptr_to_u64(exec) + at, traps, PAGE);
	return err;
}

static int map_region(struct region *region, u64 near, u32 size)
{
	int fd = want_nameless ? -1 : open_memory(size);
	int err = 0;

	region->nameless = fd < 0;
	region->exec = map_near(fd, near, size);
	region->size = size;
	if (!region->exec)
		err = near ? -ERANGE : -ENOMEM;
	else
		err = make_private(region->exec, size);
	if (region->nameless && !err)
		err = self_mem_write(ptr_to_u64(region->exec), TEXT_MARK, UNIT);
	if (region->exec && err)
		sys_munmap(region->exec, size);
	/* Unlike truncation, this leaves private copies. Where it fails, the file's pages only cost memory. */
	if (fd >= 0 && !err)
		sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size);
	if (fd >= 0)
		sys_close(fd);
	return err;
}

/* Units that are not handed out. */
static u32 reserved(const struct region *region)
{
	return region->nameless ? 1 : 0;
}

static int region_create(u64 near, u32 block_size, struct region **ret_region)
{
	u32 size = MAX(REGION_SIZE, ALIGN_UP(block_size + UNIT, REGION_ALIGN));
	u32 units = size / UNIT;
	struct region *region;
	u32 index = 0;
	int err;

	while (index < region_limit && regions[index])
		index++;
	if (index == MAX_REGIONS)
		return -ENOMEM;
	region = arena_alloc(sizeof(*region) + units / 8);
	if (!region)
		return -ENOMEM;
	err = map_region(region, near, size);
	if (err) {
		arena_free(region);
		return err;
	}
	region->index = index;
	region->units_free = units - reserved(region);
	region->used = (u64 *)(region + 1);
	region->used[0] = reserved(region);
	regions[index] = region;
	__atomic_store_n(&spans[index], ptr_to_u64(region->exec) | size / PAGE, __ATOMIC_RELEASE);
	if (index == region_limit)
		__atomic_store_n(&region_limit, index + 1, __ATOMIC_RELEASE);
	*ret_region = region;
	return 0;
}

static void region_destroy(struct region *region)
{
	__atomic_store_n(&spans[region->index], 0, __ATOMIC_RELEASE);
	regions[region->index] = NULL;
	sys_munmap(region->exec, region->size);
	arena_free(region);
}

static bool unit_used(const struct region *region, u32 unit)
{
	return region->used[unit / 64] >> (unit % 64) & 1;
}

static void mark_units(struct region *region, u32 first, u32 count, bool used)
{
	for (u32 unit = first; unit < first + count; unit++) {
		u64 bit = 1ull << (unit % 64);

		if (used)
			region->used[unit / 64] |= bit;
		else
			region->used[unit / 64] &= ~bit;
	}
}

/* First of count free units in [from, to), or `to`. */
static u32 find_run(const struct region *region, u32 from, u32 to, u32 count)
{
	u32 run = 0;

	for (u32 unit = from; unit < to; unit++) {
		if (unit % 64 == 0 && region->used[unit / 64] == ~0ull) {
			unit += 63;
			run = 0;
			continue;
		}
		run = unit_used(region, unit) ? 0 : run + 1;
		if (run == count)
			return unit + 1 - count;
	}
	return to;
}

static bool region_take(struct region *region, u32 size, struct text_block *ret_block)
{
	u32 units = region->size / UNIT, count = size / UNIT, first;

	if (region->units_free < count)
		return false;
	first = find_run(region, region->next_unit, units, count);
	if (first == units) {
		first = find_run(region, 0, units, count);
		if (first == units)
			return false;
	}
	mark_units(region, first, count, true);
	region->units_free -= count;
	region->next_unit = first + count;
	ret_block->exec = region->exec + first * UNIT;
	ret_block->size = size;
	ret_block->region = region;
	return true;
}

static int take_anywhere(u64 near, u32 size, struct text_block *ret_block)
{
	struct region *region;
	int err;

	for (u32 i = 0; i < region_limit; i++) {
		region = regions[i];
		if (!region || (want_nameless && !region->nameless) ||
		    !text_gap_reaches(near, ptr_to_u64(region->exec), region->size))
			continue;
		if (region_take(region, size, ret_block))
			return 0;
	}
	err = region_create(near, size, &region);
	if (!err)
		region_take(region, size, ret_block);
	return err;
}

int text_alloc(u64 near, u32 size, struct text_block *ret_block)
{
	struct text_block block;
	int err;

	if (!size || size > REGION_MAX_SIZE)
		return -ENOMEM;
	size = ALIGN_UP(size, (u32)UNIT);
	block.write = arena_alloc(size);
	if (!block.write)
		return -ENOMEM;
	fill_traps(block.write, size);
	lock();
	err = take_anywhere(near, size, &block);
	unlock();
	if (err)
		arena_free(block.write);
	else
		*ret_block = block;
	return err;
}

/* x86 keeps instruction fetch coherent; threads that may have fetched the old bytes are the poker's to synchronise. */
static void flush_caches(u8 *exec, u32 size)
{
#if defined(__aarch64__)
	__builtin___clear_cache((char *)exec, (char *)exec + size);
#else
	(void)exec;
	(void)size;
#endif
}

int text_commit(struct text_block *block)
{
	int err = self_mem_write(ptr_to_u64(block->exec), block->write, block->size);

	arena_free(block->write);
	block->write = NULL;
	flush_caches(block->exec, block->size);
	return err;
}

int text_patch(struct text_block *block, u32 offset, u64 value)
{
	int err = self_mem_write(ptr_to_u64(block->exec) + offset, &value, sizeof(value));

	flush_caches(block->exec + offset, sizeof(value));
	return err;
}

void text_free(struct text_block *block)
{
	struct region *region = block->region;
	u32 count = block->size / UNIT;

	if (!region)
		return;
	arena_free(block->write);
	lock();
	mark_units(region, (u32)(block->exec - region->exec) / UNIT, count, false);
	region->units_free += count;
	if (region->units_free == region->size / UNIT - reserved(region))
		region_destroy(region);
	unlock();
	block->region = NULL;
}

void text_set_nameless(bool wanted)
{
	lock();
	want_nameless = wanted;
	unlock();
}

bool text_contains(u64 address)
{
	u32 limit = __atomic_load_n(&region_limit, __ATOMIC_ACQUIRE);

	for (u32 i = 0; i < limit; i++) {
		u64 span = __atomic_load_n(&spans[i], __ATOMIC_ACQUIRE);
		u64 start = ALIGN_DOWN(span, (u64)PAGE);

		if (address - start < (span - start) * PAGE)
			return true;
	}
	return false;
}
