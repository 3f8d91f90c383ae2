/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/elf_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* More than any linker writes; a corrupt count must not make us allocate gigabytes. */
#define MAX_HEADERS 65536

static _Thread_local char problem_text[512] = "no problem";

const char *elf_file_problem(void)
{
	return problem_text;
}

void elf_file_set_problem(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem_text, sizeof(problem_text), format, args);
	va_end(args);
}

const char *elf_file_machine_name(u16 machine)
{
	static _Thread_local char number[24];
	static const struct {
		u16 machine;
		const char *name;
	} names[] = {
		{EM_X86_64, "x86-64"}, {EM_386, "32-bit x86"},	    {EM_AARCH64, "aarch64"},
		{EM_ARM, "arm"},       {EM_RISCV, "riscv"},	    {EM_PPC64, "ppc64"},
		{EM_S390, "s390"},     {EM_MIPS, "mips"},	    {EM_BPF, "bpf"},
		{EM_PPC, "ppc"},       {EM_LOONGARCH, "loongarch"}, {EM_NONE, "no machine"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].machine == machine)
			return names[i].name;
	}
	snprintf(number, sizeof(number), "machine %u", machine);
	return number;
}

const void *elf_file_at(const struct elf_file *elf, u64 offset, u64 size)
{
	if (offset > elf->size || size > elf->size - offset)
		return NULL;
	return elf->bytes + offset;
}

static int map_file(int fd, const char *name, struct elf_file *elf)
{
	struct stat st;

	if (fstat(fd, &st)) {
		elf_file_set_problem("%s cannot be read: %s", name, strerror(errno));
		return -errno;
	}
	if (!S_ISREG(st.st_mode) || st.st_size < EI_NIDENT) {
		elf_file_set_problem("%s is not an ELF file", name);
		return -ENOEXEC;
	}
	elf->size = (size_t)st.st_size;
	elf->bytes = mmap(NULL, elf->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (elf->bytes == MAP_FAILED) {
		elf_file_set_problem("%s cannot be mapped: %s", name, strerror(errno));
		return -errno;
	}
	return 0;
}

static int check_header(struct elf_file *elf, const char *name)
{
	const u8 *ident = elf->bytes;
	const Elf64_Ehdr *header = elf_file_at(elf, 0, sizeof(Elf64_Ehdr));
	u16 machine;

	if (memcmp(ident, ELFMAG, SELFMAG)) {
		elf_file_set_problem("%s is not an ELF file", name);
		return -ENOEXEC;
	}
	if (elf->size < 20 || (ident[EI_CLASS] == ELFCLASS64 && !header)) {
		elf_file_set_problem("%s is cut off in its ELF header", name);
		return -ENOEXEC;
	}
	memcpy(&machine, elf->bytes + offsetof(Elf64_Ehdr, e_machine), sizeof(machine));
	if (ident[EI_CLASS] == ELFCLASS32) {
		elf_file_set_problem("%s is a 32-bit file (%s); only 64-bit ones can be probed",
				     name, elf_file_machine_name(machine));
		return -EOPNOTSUPP;
	}
	if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_VERSION] != EV_CURRENT) {
		elf_file_set_problem("%s is not an ELF file of a known class and version", name);
		return -ENOEXEC;
	}
	if (ident[EI_DATA] != ELFDATA2LSB || machine != EM_X86_64) {
		elf_file_set_problem("%s is for another machine: %s%s", name,
				     elf_file_machine_name(machine),
				     ident[EI_DATA] == ELFDATA2MSB ? ", big-endian" : "");
		return -EOPNOTSUPP;
	}
	memcpy(&elf->header, header, sizeof(*header));
	return 0;
}

/* Copies `count` entries of `size` bytes, as many as the file holds. */
static void *copy_table(const struct elf_file *elf, u64 offset, u64 entry, u64 size, u32 *count)
{
	void *copy;

	if (!*count || entry != size || offset >= elf->size) {
		*count = 0;
		return NULL;
	}
	*count = (u32)MIN(MIN((u64)*count, (elf->size - offset) / size), (u64)MAX_HEADERS);
	copy = calloc(*count ? *count : 1, size);
	if (copy)
		memcpy(copy, elf->bytes + offset, *count * size);
	else
		*count = 0;
	return copy;
}

static void read_sections(struct elf_file *elf)
{
	const Elf64_Shdr *first = elf_file_at(elf, elf->header.e_shoff, sizeof(Elf64_Shdr));
	Elf64_Shdr zeroth;

	if (!elf->header.e_shoff || !first)
		return;
	/* Over 65279 sections: the number is in the first one. */
	memcpy(&zeroth, first, sizeof(zeroth));
	elf->section_count = elf->header.e_shnum;
	if (!elf->section_count)
		elf->section_count = (u32)MIN(zeroth.sh_size, (u64)MAX_HEADERS);
	elf->sections = copy_table(elf, elf->header.e_shoff, elf->header.e_shentsize,
				   sizeof(Elf64_Shdr), &elf->section_count);
}

static int check_segments(const struct elf_file *elf, const char *name)
{
	if (!elf->segment_count) {
		elf_file_set_problem("%s has no program headers%s", name,
				     elf->header.e_type == ET_REL
					     ? ": it is an object file, not a program"
					     : "");
		return -ENOEXEC;
	}
	for (u32 i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type == PT_LOAD && segment->p_filesz &&
		    !elf_file_at(elf, segment->p_offset, segment->p_filesz)) {
			elf_file_set_problem(
				"%s is cut off: what it loads ends at byte %llu, the file at %zu",
				name, (unsigned long long)(segment->p_offset + segment->p_filesz),
				elf->size);
			return -ENOEXEC;
		}
	}
	return 0;
}

int elf_file_open(int fd, const char *name, enum elf_file_use use, struct elf_file *ret_elf)
{
	struct elf_file elf = {};
	int err;

	err = map_file(fd, name, &elf);
	if (err)
		return err;
	err = check_header(&elf, name);
	if (err)
		goto unmap;
	elf.segment_count = elf.header.e_phnum;
	elf.segments = copy_table(&elf, elf.header.e_phoff, elf.header.e_phentsize,
				  sizeof(Elf64_Phdr), &elf.segment_count);
	read_sections(&elf);
	err = use == ELF_FILE_PROGRAM ? check_segments(&elf, name) : 0;
	if (err)
		goto free_tables;
	*ret_elf = elf;
	return 0;

free_tables:
	free(elf.segments);
	free(elf.sections);
unmap:
	munmap((void *)(uintptr_t)elf.bytes, elf.size);
	return err;
}

void elf_file_close(struct elf_file *elf)
{
	free(elf->segments);
	free(elf->sections);
	if (elf->bytes)
		munmap((void *)(uintptr_t)elf->bytes, elf->size);
	*elf = (struct elf_file){};
}

const u8 *elf_file_section_bytes(const struct elf_file *elf, const Elf64_Shdr *section,
				 u64 *ret_size)
{
	const u8 *bytes;

	if (!section || section->sh_type == SHT_NOBITS || section->sh_type == SHT_NULL)
		return NULL;
	bytes = elf_file_at(elf, section->sh_offset, section->sh_size);
	if (bytes)
		*ret_size = section->sh_size;
	return bytes;
}

const Elf64_Shdr *elf_file_section_by_type(const struct elf_file *elf, u32 type)
{
	for (u32 i = 0; i < elf->section_count; i++) {
		if (elf->sections[i].sh_type == type)
			return &elf->sections[i];
	}
	return NULL;
}

const char *elf_file_string(const u8 *table, u64 size, u64 offset)
{
	if (!table || offset >= size || !memchr(table + offset, 0, size - offset))
		return NULL;
	return (const char *)table + offset;
}

const char *elf_file_section_name(const struct elf_file *elf, const Elf64_Shdr *section)
{
	const char *name;
	u64 size = 0;
	const u8 *names;

	if (elf->header.e_shstrndx >= elf->section_count)
		return "";
	names = elf_file_section_bytes(elf, &elf->sections[elf->header.e_shstrndx], &size);
	name = elf_file_string(names, size, section->sh_name);
	return name ? name : "";
}

const Elf64_Shdr *elf_file_section_by_name(const struct elf_file *elf, const char *name)
{
	for (u32 i = 0; i < elf->section_count; i++) {
		if (!strcmp(elf_file_section_name(elf, &elf->sections[i]), name))
			return &elf->sections[i];
	}
	return NULL;
}

static const Elf64_Phdr *segment_at(const struct elf_file *elf, u64 address)
{
	for (u32 i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
		    address - segment->p_vaddr < segment->p_filesz)
			return segment;
	}
	return NULL;
}

const u8 *elf_file_memory(const struct elf_file *elf, u64 address, u64 *ret_available)
{
	const Elf64_Phdr *segment = segment_at(elf, address);
	u64 offset, available;
	const u8 *bytes;

	if (!segment)
		return NULL;
	offset = address - segment->p_vaddr;
	available = segment->p_filesz - offset;
	if (segment->p_offset > elf->size || offset >= elf->size - segment->p_offset)
		return NULL;
	offset += segment->p_offset;
	bytes = elf->bytes + offset;
	*ret_available = MIN(available, elf->size - offset);
	return bytes;
}

bool elf_file_is_text(const struct elf_file *elf, u64 address)
{
	const Elf64_Phdr *segment = segment_at(elf, address);

	return segment && (segment->p_flags & PF_X);
}

const char *elf_file_interpreter(const struct elf_file *elf)
{
	for (u32 i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type == PT_INTERP)
			return elf_file_string(
				elf_file_at(elf, segment->p_offset, segment->p_filesz),
				segment->p_filesz, 0);
	}
	return NULL;
}

/* Walks one block of notes for the build-id. */
static const u8 *find_build_id(const u8 *notes, u64 size, u32 *ret_size)
{
	u64 at = 0;

	while (notes && size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		u64 name, end;

		memcpy(&note, notes + at, sizeof(note));
		name = at + sizeof(note);
		end = name + ALIGN_UP((u64)note.n_namesz, 4ULL);
		if (end > size || note.n_descsz > size - end)
			return NULL;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    !memcmp(notes + name, "GNU", 4)) {
			*ret_size = note.n_descsz;
			return notes + end;
		}
		at = end + ALIGN_UP((u64)note.n_descsz, 4ULL);
		if (at > size)
			return NULL;
	}
	return NULL;
}

const u8 *elf_file_build_id(const struct elf_file *elf, u32 *ret_size)
{
	for (u32 i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		const u8 *id;

		if (segment->p_type != PT_NOTE)
			continue;
		id = find_build_id(elf_file_at(elf, segment->p_offset, segment->p_filesz),
				   segment->p_filesz, ret_size);
		if (id)
			return id;
	}
	/* A debug file's segments point at text it does not hold; its note section is real. */
	for (u32 i = 0; i < elf->section_count; i++) {
		u64 size = 0;
		const u8 *notes, *id;

		if (elf->sections[i].sh_type != SHT_NOTE)
			continue;
		notes = elf_file_section_bytes(elf, &elf->sections[i], &size);
		id = find_build_id(notes, size, ret_size);
		if (id)
			return id;
	}
	return NULL;
}

void elf_file_each_relative(const struct elf_file *elf, elf_file_relative_fn visit, void *opaque)
{
	u32 relative = elf->header.e_machine == EM_AARCH64 ? R_AARCH64_RELATIVE : R_X86_64_RELATIVE;

	for (u32 s = 0; s < elf->section_count; s++) {
		u64 size = 0;
		const u8 *bytes = elf_file_section_bytes(elf, &elf->sections[s], &size);

		if (elf->sections[s].sh_type != SHT_RELA || !bytes)
			continue;
		for (u64 at = 0; at + sizeof(Elf64_Rela) <= size; at += sizeof(Elf64_Rela)) {
			Elf64_Rela rela;

			memcpy(&rela, bytes + at, sizeof(rela));
			if (ELF64_R_TYPE(rela.r_info) == relative)
				visit(opaque, rela.r_offset, (u64)rela.r_addend);
		}
	}
}
