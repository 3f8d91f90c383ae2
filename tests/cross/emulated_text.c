/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Code written through /proc/self/mem, where qemu runs the program: before qemu 8.1 nothing tells it (neither the cache
 * maintenance nor its own protection of translated pages), and it goes on with what it translated before. It forgets pages that
 * stop being executable, so here they do for a moment. Linked with --wrap=self_mem_write; for programs of one thread.
 */
#include <sys/mman.h>

#include "base/self_mem.h"
#include "base/text.h"

#define PAGE 4096ull

int __real_self_mem_write(u64 address, const void *from, u32 size);
int __wrap_self_mem_write(u64 address, const void *from, u32 size);

int __wrap_self_mem_write(u64 address, const void *from, u32 size)
{
	int err = __real_self_mem_write(address, from, size);
	u64 start = ALIGN_DOWN(address, PAGE), length = ALIGN_UP(address + size, PAGE) - start;

	if (!err && text_contains(address)) {
		mprotect(ptr_from_u64(start), length, PROT_READ);
		mprotect(ptr_from_u64(start), length, PROT_READ | PROT_EXEC);
	}
	return err;
}
