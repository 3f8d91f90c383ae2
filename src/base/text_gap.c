/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where to map code: the gaps of /proc/self/maps, nearest below first.
 *
 * Below, because what lies above a program's text is its heap, which wants to grow upwards; when room is
 * only above, the far end of the reach is taken. Without /proc, addresses are tried one by one.
 */
#include "base/text_gap.h"

#include "base/mem.h"
#include "base/proc_maps.h"
#include "base/sys.h"

#define REACH	   ((1ull << 31) - (1ull << 20)) /* a block's own branches start up to 1 MiB into it */
#define STEP	   (64u << 10)
#define LOWEST	   (1u << 20) /* keep clear of vm.mmap_min_addr and of NULL with an offset */
#define HIGHEST	   (1ull << 47)
#define STACK_ROOM (64ull << 20) /* below a mapping that may be a stack that grows down */
#define PROBES	   8192

struct search {
	u64 near;
	u32 size;
	u64 below; /* best places so far; 0: none */
	u64 above;
};

bool text_gap_reaches(u64 near, u64 start, u64 size)
{
	if (!near)
		return true;
	return start + REACH >= near && start + size <= near + REACH;
}

/* [from, to) is free: remember its best place. */
static void consider(struct search *search, u64 from, u64 to)
{
	u64 low = search->near > REACH ? search->near - REACH : 0;
	u64 high = search->near + REACH;
	u64 place;

	from = ALIGN_UP(MAX(MAX(from, low), (u64)LOWEST), (u64)STEP);
	to = MIN(MIN(to, high), HIGHEST);
	if (to < from || to - from < search->size)
		return;
	place = ALIGN_DOWN(to - search->size, (u64)STEP);
	if (place < from)
		return;
	if (place < search->near)
		search->below = MAX(search->below, place);
	else
		search->above = search->above ? MIN(search->above, place) : place;
}

static bool is_stack(const struct proc_mapping *mapping)
{
	return mem_equal(mapping->name, "[stack", 6);
}

static int search_maps(struct search *search)
{
	struct proc_mapping mapping;
	struct proc_maps maps;
	u64 free_from = 0;
	int err = proc_maps_open(&maps);

	if (err)
		return err;
	while (proc_maps_next(&maps, &mapping)) {
		u64 free_to = mapping.start;

		if (is_stack(&mapping) && free_to > STACK_ROOM)
			free_to -= STACK_ROOM;
		if (free_to > free_from)
			consider(search, free_from, free_to);
		free_from = mapping.end;
	}
	proc_maps_close(&maps);
	consider(search, free_from, HIGHEST);
	return 0;
}

/* NOREPLACE is unknown to kernels before 4.17, which take the address as a hint: so look where it went. */
static u8 *map_at(int fd, u64 address, u32 size)
{
	int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *pages = sys_mmap(ptr_from_u64(address), size, PROT_READ | PROT_EXEC, flags, fd, 0);

	if (sys_is_error(pages))
		return NULL;
	if (ptr_to_u64(pages) == address)
		return pages;
	sys_munmap(pages, size);
	return NULL;
}

/* Without /proc: try addresses at growing distance, below first. */
static u8 *map_by_trial(int fd, u64 near, u32 size)
{
	u64 step = ALIGN_UP(REACH / PROBES, (u64)STEP);

	for (u64 distance = ALIGN_UP((u64)size, (u64)STEP); distance < REACH; distance += step) {
		u64 below = ALIGN_DOWN(near - distance, (u64)STEP);
		u64 above = ALIGN_DOWN(near + REACH - distance, (u64)STEP);
		u8 *pages = NULL;

		if (near > distance + LOWEST && text_gap_reaches(near, below, size))
			pages = map_at(fd, below, size);
		if (!pages && text_gap_reaches(near, above, size) && above + size < HIGHEST)
			pages = map_at(fd, above, size);
		if (pages)
			return pages;
	}
	return NULL;
}

u8 *text_gap_map(int fd, u64 near, u32 size)
{
	struct search search = {.near = near, .size = size};
	u8 *pages = NULL;

	if (!search_maps(&search)) {
		if (search.below)
			pages = map_at(fd, search.below, size);
		if (!pages && search.above)
			pages = map_at(fd, search.above, size);
	}
	/* Also when somebody else took the gap meanwhile. */
	return pages ? pages : map_by_trial(fd, near, size);
}
