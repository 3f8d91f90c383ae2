/* SPDX-License-Identifier: BSD-2-Clause */
#include <sys/mman.h>

#include "base/proc_maps.h"
#include "test.h"

static bool find(u64 address, struct proc_mapping *ret_mapping)
{
	struct proc_maps maps;
	bool found = false;

	CHECK_EQ(proc_maps_open(&maps), 0);
	while (!found && proc_maps_next(&maps, ret_mapping))
		found = address >= ret_mapping->start && address < ret_mapping->end;
	proc_maps_close(&maps);
	return found;
}

static void permissions_and_names_are_read(void)
{
	struct proc_mapping mapping;
	int local = 0;
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(find((u64)(uintptr_t)find, &mapping));
	CHECK(mapping.readable && mapping.executable && !mapping.writable && !mapping.shared);
	CHECK(mapping.name[0] == '/');
	CHECK(find((u64)(uintptr_t)&local, &mapping));
	CHECK(!strcmp(mapping.name, "[stack]") && mapping.writable);
	CHECK(find((u64)(uintptr_t)page, &mapping));
	CHECK(!mapping.readable && mapping.shared);
	CHECK(!find(0, &mapping));
}

static void lines_beyond_one_buffer_are_read(void)
{
	struct proc_mapping mapping;
	struct proc_maps maps;
	u64 before = 0;
	int count = 0, unsorted = 0;
	char *pages = mmap(NULL, 400 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 400; i += 2)
		mprotect(pages + i * 4096, 4096, PROT_NONE);
	CHECK_EQ(proc_maps_open(&maps), 0);
	for (; proc_maps_next(&maps, &mapping); count++, before = mapping.end)
		unsorted += mapping.start < before || mapping.end <= mapping.start;
	proc_maps_close(&maps);
	CHECK(count >= 400);
	CHECK_EQ(unsorted, 0);
	munmap(pages, 400 * 4096);
}

int main(void)
{
	RUN(permissions_and_names_are_read);
	RUN(lines_beyond_one_buffer_are_read);
	return test_done();
}
