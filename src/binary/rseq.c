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

static bool is_relative(const struct elf_file *elf, const Elf64_Rela *rela)
{
	u32 type = (u32)ELF64_R_TYPE(rela->r_info);

	return type == (elf->header.e_machine == EM_AARCH64 ? (u32)R_AARCH64_RELATIVE
							    : (u32)R_X86_64_RELATIVE);
}

/* Relocations with addends leave nothing useful in the file's own words. */
static void relocate(const struct elf_file *elf, const Elf64_Shdr *section,
		     struct rseq_range *ranges, size_t count)
{
	for (u32 s = 0; s < elf->section_count; s++) {
		u64 size = 0;
		const u8 *bytes = elf_file_section_bytes(elf, &elf->sections[s], &size);

		if (elf->sections[s].sh_type != SHT_RELA || !bytes)
			continue;
		for (u64 at = 0; at + sizeof(Elf64_Rela) <= size; at += sizeof(Elf64_Rela)) {
			Elf64_Rela rela;
			u64 offset;

			memcpy(&rela, bytes + at, sizeof(rela));
			offset = rela.r_offset - section->sh_addr;
			if (is_relative(elf, &rela) && offset / sizeof(struct descriptor) < count &&
			    offset % sizeof(struct descriptor) ==
				    offsetof(struct descriptor, start_ip))
				ranges[offset / sizeof(struct descriptor)].start =
					(u64)rela.r_addend;
		}
	}
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
		relocate(elf, section, ranges, count);
	*ret_ranges = ranges;
	*ret_count = count;
	return 0;
}
