/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/rseq.h"

#include "binary/elf_file.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* As the kernel reads it; addresses are written by the dynamic loader where the file can be loaded anywhere. */
struct descriptor {
	u32 version, flags;
	u64 start_ip, post_commit_offset, abort_ip;
};

/* The descriptors of the section at this address. */
struct table {
	u64 address;
	struct rseq_range *ranges;
	size_t count;
};

/* Relocations with addends leave nothing useful in the file's own words. */
static void relocate(void *opaque, u64 address, u64 addend)
{
	const struct table *table = opaque;
	u64 offset = address - table->address;

	if (offset / sizeof(struct descriptor) < table->count &&
	    offset % sizeof(struct descriptor) == offsetof(struct descriptor, start_ip))
		table->ranges[offset / sizeof(struct descriptor)].start = addend;
}

int rseq_read(const struct elf_file *elf, struct rseq_range **ret_ranges, size_t *ret_count)
{
	const Elf64_Shdr *section = elf_file_section_by_name(elf, "__rseq_cs");
	const u8 *bytes = NULL;
	struct rseq_range *ranges;
	u64 size = 0;
	size_t count;

	if (section)
		bytes = elf_file_section_bytes(elf, section, &size);
	count = bytes ? size / sizeof(struct descriptor) : 0;
	ranges = calloc(count + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct descriptor descriptor;

		memcpy(&descriptor, bytes + i * sizeof(descriptor), sizeof(descriptor));
		ranges[i] = (struct rseq_range){descriptor.start_ip, descriptor.post_commit_offset};
	}
	if (count)
		elf_file_each_relative(elf, relocate,
				       &(struct table){section->sh_addr, ranges, count});
	*ret_ranges = ranges;
	*ret_count = count;
	return 0;
}
