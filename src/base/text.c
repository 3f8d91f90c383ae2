/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions of executable memory and the blocks cut from them.
 *
 * A region is a memfd mapped read-execute within reach of some code and read-write elsewhere; the descriptor
 * is closed at once. Blocks are runs of 16-byte units in a bitmap, handed out next-fit and not wiped when freed: a
 * child forked while the block was in use shares the memory and may still be running in it, so a range should
 * rest as long as possible before it is reused.
 */
#include "base/text.h"

#include <linux/memfd.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/mem.h"
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
	u8 *write;
	u32 size;
	u32 index; /* in regions[] and spans[] */
	u32 units_free;
	u32 next_unit; /* where the next search begins */
	u64 *used;     /* bitmap */
};

/* Under the lock, but for spans: start address | number of pages, one word so that a signal handler reads both at once. */
static struct region *regions[MAX_REGIONS];
static u64 spans[MAX_REGIONS];
static u32 region_limit; /* indices in use are below */
static u32 text_lock;

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

static int open_memory(u32 size)
{
	int fd = sys_memfd_create("inlay-text", MFD_CLOEXEC | MFD_EXEC);
	int err;

	if (fd == -EINVAL)
		fd = sys_memfd_create("inlay-text", MFD_CLOEXEC);
	if (fd < 0)
		return fd;
	err = sys_ftruncate(fd, size);
	/* Reserved now: a page that cannot be had later would be a SIGBUS in the target. */
	if (!err)
		err = sys_fallocate(fd, 0, 0, size);
	if (err) {
		sys_close(fd);
		return err;
	}
	return fd;
}

static u8 *map_near(int fd, u64 near, u32 size)
{
	void *pages;

	if (near)
		return text_gap_map(fd, near, size);
	pages = sys_mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	return sys_is_error(pages) ? NULL : pages;
}

static int map_region(struct region *region, u64 near, u32 size)
{
	int fd = open_memory(size);
	int err = -ENOMEM;
	void *write;

	if (fd < 0)
		return fd;
	write = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sys_is_error(write))
		goto close_fd;
	fill_traps(write, size);
	region->exec = map_near(fd, near, size);
	if (!region->exec) {
		err = near ? -ERANGE : -ENOMEM;
		goto unmap_write;
	}
	region->write = write;
	region->size = size;
	sys_close(fd);
	return 0;

unmap_write:
	sys_munmap(write, size);
close_fd:
	sys_close(fd);
	return err;
}

static int region_create(u64 near, u32 block_size, struct region **ret_region)
{
	u32 size = MAX(REGION_SIZE, ALIGN_UP(block_size, REGION_ALIGN));
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
	region->units_free = units;
	region->used = (u64 *)(region + 1);
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
	sys_munmap(region->write, region->size);
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
	ret_block->write = region->write + first * UNIT;
	ret_block->size = size;
	ret_block->region = region;
	fill_traps(ret_block->write, size);
	return true;
}

int text_alloc(u64 near, u32 size, struct text_block *ret_block)
{
	struct region *region;
	int err = 0;

	if (!size || size > REGION_MAX_SIZE)
		return -ENOMEM;
	size = ALIGN_UP(size, (u32)UNIT);
	lock();
	for (u32 i = 0; i < region_limit; i++) {
		region = regions[i];
		if (!region || !text_gap_reaches(near, ptr_to_u64(region->exec), region->size))
			continue;
		if (region_take(region, size, ret_block))
			goto out;
	}
	err = region_create(near, size, &region);
	if (!err)
		region_take(region, size, ret_block);
out:
	unlock();
	return err;
}

void text_commit(struct text_block *block)
{
#if defined(__aarch64__)
	__builtin___clear_cache((char *)block->exec, (char *)block->exec + block->size);
#else
	/* x86 keeps instruction fetch coherent; threads that may have fetched the old bytes are the poker's to synchronise. */
	(void)block;
	cpu_compiler_barrier();
#endif
}

void text_free(struct text_block *block)
{
	struct region *region = block->region;
	u32 count = block->size / UNIT;

	if (!region)
		return;
	lock();
	mark_units(region, (u32)(block->exec - region->exec) / UNIT, count, false);
	region->units_free += count;
	if (region->units_free == region->size / UNIT)
		region_destroy(region);
	unlock();
	block->region = NULL;
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
