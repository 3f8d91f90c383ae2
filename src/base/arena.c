/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small blocks come in power-of-two classes with a free list each, cut from 256 KiB chunks that are never
 * unmapped; a block above the largest class is a mapping of its own. Every block has a header in front.
 */
#include "base/arena.h"

#include "base/mem.h"
#include "base/sys.h"

#define HEADER_SIZE	  16
#define CLASS_MIN_SHIFT	  5  /* 32 bytes, header included */
#define CLASS_COUNT	  12 /* up to 64 KiB */
#define CLASS_OWN_MAPPING CLASS_COUNT
#define CHUNK_SIZE	  (256u << 10)

struct header {
	u64 size; /* bytes of the whole block, header included */
	u32 class;
	u32 pad;
};

struct free_block {
	struct header header;
	struct free_block *next;
};

_Static_assert(sizeof(struct header) == HEADER_SIZE, "blocks stay 16-aligned");

static struct {
	u32 lock;
	u8 *chunk;
	size_t chunk_left;
	struct free_block *free[CLASS_COUNT];
	size_t in_use;
} arena;

static void lock(void)
{
	while (__atomic_exchange_n(&arena.lock, 1, __ATOMIC_ACQUIRE))
		sys_sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&arena.lock, 0, __ATOMIC_RELEASE);
}

static void *map_pages(size_t size)
{
	void *pages =
		sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return sys_is_error(pages) ? NULL : pages;
}

static u32 class_of(size_t whole)
{
	u32 class = 0;

	while (class < CLASS_COUNT && ((size_t)1 << (class + CLASS_MIN_SHIFT)) < whole)
		class ++;
	return class;
}

/* Under the lock. What is left of the old chunk is lost: at most the largest class. */
static struct header *cut(size_t size)
{
	struct header *block;

	if (arena.chunk_left < size) {
		u8 *chunk = map_pages(CHUNK_SIZE);

		if (!chunk)
			return NULL;
		arena.chunk = chunk;
		arena.chunk_left = CHUNK_SIZE;
	}
	block = (struct header *)arena.chunk;
	arena.chunk += size;
	arena.chunk_left -= size;
	return block;
}

static struct header *take(u32 class)
{
	struct free_block *block = arena.free[class];

	if (!block)
		return cut((size_t)1 << (class + CLASS_MIN_SHIFT));
	arena.free[class] = block->next;
	return &block->header;
}

void *arena_alloc(size_t size)
{
	size_t whole = size + HEADER_SIZE;
	u32 class = class_of(whole);
	struct header *block;

	if (whole < size || whole > SIZE_MAX / 2)
		return NULL;
	whole = class == CLASS_OWN_MAPPING ? ALIGN_UP(whole, (size_t)4096)
					   : (size_t)1 << (class + CLASS_MIN_SHIFT);
	lock();
	block = class == CLASS_OWN_MAPPING ? map_pages(whole) : take(class);
	if (block)
		arena.in_use += whole;
	unlock();
	if (!block)
		return NULL;
	block->size = whole;
	block->class = class;
	if (class != CLASS_OWN_MAPPING)
		mem_zero(block + 1, whole - HEADER_SIZE);
	return block + 1;
}

void arena_free(void *memory)
{
	struct header *block;

	if (!memory)
		return;
	block = (struct header *)memory - 1;
	lock();
	arena.in_use -= block->size;
	if (block->class == CLASS_OWN_MAPPING) {
		sys_munmap(block, block->size);
	} else {
		struct free_block *free = (struct free_block *)block;

		free->next = arena.free[block->class];
		arena.free[block->class] = free;
	}
	unlock();
}

void *arena_resize(void *memory, size_t size)
{
	size_t keep;
	void *fresh;

	if (!memory)
		return arena_alloc(size);
	fresh = arena_alloc(size);
	if (!fresh)
		return NULL;
	keep = ((struct header *)memory - 1)->size - HEADER_SIZE;
	mem_copy(fresh, memory, MIN(keep, size));
	arena_free(memory);
	return fresh;
}

size_t arena_in_use(void)
{
	return __atomic_load_n(&arena.in_use, __ATOMIC_RELAXED);
}
