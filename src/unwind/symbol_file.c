// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/symbol_file.h"

#include <elf.h>

#include "arch/arch.h"
#include "base/arena.h"
#include "base/code_map.h"
#include "base/mem.h"

/* Ranges that are less than a page apart have no other mapping between them: one section. Those in sections beyond have no name. */
#define PAGE	     4096
#define MAX_SECTIONS 1024

static const char section_names[] = "\0.text\0.eh_frame\0.symtab\0.strtab\0.shstrtab";

/* Offsets in there. */
enum name {
	NAME_NONE,
	NAME_TEXT,
	NAME_EH_FRAME = 7,
	NAME_SYMTAB = 17,
	NAME_STRTAB = 25,
	NAME_SHSTRTAB = 33,
};

struct file {
	const struct code_map *map;
	u32 texts; /* sections of code */
	u32 named; /* ranges in them */
	u64 strings, frames;
	u8 *bytes;
	Elf64_Shdr *sections;
	u32 section_count;
	u64 end; /* of what has been placed */
};

static bool begins_section(const struct code_map *map, u32 i)
{
	const struct code_range *range = map->ranges[i], *before;

	if (!i)
		return true;
	before = map->ranges[i - 1];
	return range->start - (before->start + before->size) >= PAGE;
}

static u64 length_of(const char *name)
{
	u64 length = 0;

	while (name[length])
		length++;
	return length;
}

static void measure(struct file *file)
{
	const struct code_map *map = file->map;

	file->strings = 1;
	for (u32 i = 0; i < map->count; i++) {
		if (begins_section(map, i) && ++file->texts > MAX_SECTIONS) {
			file->texts--;
			break;
		}
		file->strings += length_of(map->ranges[i]->name) + 1;
		file->named++;
	}
}

/* A section with contents of its own, of which it returns the place. */
static void *place(struct file *file, enum name name, u32 type, u64 size)
{
	Elf64_Shdr *section = &file->sections[file->section_count++];

	*section = (Elf64_Shdr){
		.sh_name = name,
		.sh_type = type,
		.sh_offset = file->end,
		.sh_size = size,
		.sh_addralign = 8,
	};
	file->end += ALIGN_UP(size, 8ull);
	return file->bytes + section->sh_offset;
}

static void put_texts(struct file *file)
{
	Elf64_Shdr *section = NULL;

	for (u32 i = 0; i < file->named; i++) {
		const struct code_range *range = file->map->ranges[i];

		if (begins_section(file->map, i)) {
			section = &file->sections[file->section_count++];
			*section = (Elf64_Shdr){
				.sh_name = NAME_TEXT,
				.sh_type = SHT_NOBITS,
				.sh_flags = SHF_ALLOC | SHF_EXECINSTR,
				.sh_addr = range->start,
				.sh_offset = sizeof(Elf64_Ehdr),
				.sh_addralign = 1,
			};
		}
		section->sh_size = range->start + range->size - section->sh_addr;
	}
}

static void put_symbols(struct file *file)
{
	Elf64_Sym *symbols =
		place(file, NAME_SYMTAB, SHT_SYMTAB, (file->named + 1) * sizeof(*symbols));
	Elf64_Shdr *section = &file->sections[file->section_count - 1];
	char *strings = place(file, NAME_STRTAB, SHT_STRTAB, file->strings);
	u16 text = 0;
	u64 at = 1;

	section->sh_link = file->section_count - 1;
	section->sh_info = 1;
	section->sh_entsize = sizeof(*symbols);
	for (u32 i = 0; i < file->named; i++) {
		const struct code_range *range = file->map->ranges[i];
		u64 length = length_of(range->name);

		text = (u16)(text + begins_section(file->map, i));
		symbols[i + 1] = (Elf64_Sym){
			.st_name = (u32)at,
			.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
			.st_shndx = text,
			.st_value = range->start,
			.st_size = range->size,
		};
		mem_copy(strings + at, range->name, length);
		at += length + 1;
	}
}

/* At the end of the file. Returns how many bytes they take, more than there is room for perhaps. */
static u64 put_frames(struct file *file, const struct unwind_hooked *hooked)
{
	struct eh_frame out = {.capacity = file->frames};
	Elf64_Shdr *section = &file->sections[file->section_count];

	out.bytes = place(file, NAME_EH_FRAME, SHT_PROGBITS, 0);
	section->sh_flags = SHF_ALLOC;
	section->sh_addr = ptr_to_u64(out.bytes);
	eh_frame_write(&out, file->map, hooked);
	section->sh_size = out.size;
	return out.size;
}

static void put_header(const struct file *file)
{
	*(Elf64_Ehdr *)(void *)file->bytes = (Elf64_Ehdr){
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = arch_host()->elf_machine,
		.e_version = EV_CURRENT,
		.e_shoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = (u16)file->section_count,
		.e_shstrndx = (u16)(file->section_count - 2), /* before the frames */
	};
}

/* With room for so many bytes of frames. Returns whether that was enough; *ret_size is the file's. */
static bool write_file(struct file *file, const struct unwind_hooked *hooked, u64 *ret_size)
{
	/* The headers: none, texts, symbols, two of strings, frames. */
	u64 frames, end = sizeof(Elf64_Ehdr) + (file->texts + 5) * sizeof(Elf64_Shdr);

	file->section_count = 1;
	file->end = end;
	file->bytes = arena_alloc(end + (file->named + 1) * sizeof(Elf64_Sym) +
				  ALIGN_UP(file->strings, 8ull) +
				  ALIGN_UP(sizeof(section_names), 8ull) + file->frames);
	if (!file->bytes)
		return true;
	file->sections = (Elf64_Shdr *)(void *)(file->bytes + sizeof(Elf64_Ehdr));
	put_texts(file);
	put_symbols(file);
	mem_copy(place(file, NAME_SHSTRTAB, SHT_STRTAB, sizeof(section_names)), section_names,
		 sizeof(section_names));
	frames = put_frames(file, hooked);
	put_header(file);
	*ret_size = file->end + frames;
	if (frames <= file->frames)
		return true;
	file->frames = frames;
	arena_free(file->bytes);
	return false;
}

void *symbol_file_make(const struct code_map *map, const struct unwind_hooked *hooked,
		       u64 *ret_size)
{
	struct file file = {.map = map, .frames = eh_frame_guess(map)};

	measure(&file);
	while (!write_file(&file, hooked, ret_size))
		;
	return file.bytes;
}
