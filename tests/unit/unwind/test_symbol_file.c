/* SPDX-License-Identifier: BSD-2-Clause */
#include <elf.h>
#include <string.h>

#include "base/arena.h"
#include "base/code_map.h"
#include "test.h"
#include "unwind/symbol_file.h"

#define NEAR 0x400000ull
#define FAR  0x7f0000000000ull

static const struct unwind_hooked hooked = {NEAR, 8, 16, 24, 0, 8, 16};
static const struct code_map *shown;

static void listen(const struct code_map *map)
{
	shown = map;
}

static void add(u64 start, u32 notes_count, const char *name)
{
	static struct frame_note notes[400];

	for (u32 i = 0; i < notes_count; i++)
		notes[i] = (struct frame_note){64 * i, FRAME_CFA, 4, (s16)(8 + 1024 * (i % 2))};
	CHECK_EQ(code_map_add(start, 0x200, 0,
			      &(struct frame_notes){notes, notes_count, notes_count}, name),
		 0);
}

static const Elf64_Shdr *section(const char *file, const char *name, u32 number)
{
	const Elf64_Ehdr *header = (const void *)file;
	const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
	const char *names = file + sections[header->e_shstrndx].sh_offset;

	for (u32 i = 1; i < header->e_shnum; i++) {
		if (!strcmp(names + sections[i].sh_name, name) && !number--)
			return &sections[i];
	}
	return NULL;
}

static void check_symbol(const char *file, u32 i, u64 value, const char *name, u32 text)
{
	const Elf64_Shdr *table = section(file, ".symtab", 0),
			 *strings = section(file, ".strtab", 0);
	const Elf64_Sym *symbol = (const Elf64_Sym *)(const void *)(file + table->sh_offset) + i;
	const Elf64_Shdr *first =
		(const void *)(file + ((const Elf64_Ehdr *)(const void *)file)->e_shoff);

	CHECK_EQ(symbol->st_value, value);
	CHECK_EQ(symbol->st_size, 0x200);
	CHECK(!strcmp(file + strings->sh_offset + symbol->st_name, name));
	CHECK(&first[symbol->st_shndx] == section(file, ".text", text));
}

/* Code that lies together is one section; debuggers would take all that is between far pieces for ours. */
static void sections_and_symbols(void)
{
	const Elf64_Shdr *frames;
	char *file;
	u64 size;

	code_map_add_listener(listen);
	add(NEAR, 2, "first");
	add(NEAR + 0x400, 2, "second");
	add(NEAR + 0x1600, 2, "a_page_on");
	add(FAR, 2, "far");
	code_map_publish();
	file = symbol_file_make(shown, &hooked, &size);
	CHECK(!memcmp(file, ELFMAG, SELFMAG));
	CHECK_EQ(section(file, ".text", 0)->sh_addr, NEAR);
	CHECK_EQ(section(file, ".text", 0)->sh_size, 0x600);
	CHECK_EQ(section(file, ".text", 1)->sh_addr, NEAR + 0x1600);
	CHECK_EQ(section(file, ".text", 2)->sh_addr, FAR);
	CHECK(!section(file, ".text", 3));
	check_symbol(file, 1, NEAR, "first", 0);
	check_symbol(file, 2, NEAR + 0x400, "second", 0);
	check_symbol(file, 3, NEAR + 0x1600, "a_page_on", 1);
	check_symbol(file, 4, FAR, "far", 2);
	frames = section(file, ".eh_frame", 0);
	CHECK_EQ(frames->sh_offset + frames->sh_size, size);
	CHECK_EQ(frames->sh_addr, (uintptr_t)file + frames->sh_offset);
	arena_free(file);
}

/* More bytes of frames than were guessed: every note takes a long advance. */
static void frames_are_never_cut_off(void)
{
	const Elf64_Shdr *frames;
	u32 length, at = 0;
	char *file;
	u64 size;

	for (u32 i = 0; i < 50; i++)
		add(NEAR + 0x10000 * (i + 1), 400, "large");
	code_map_publish();
	CHECK(shown->count == 54);
	file = symbol_file_make(shown, &hooked, &size);
	frames = section(file, ".eh_frame", 0);
	do {
		memcpy(&length, file + frames->sh_offset + at, 4);
		at += 4 + length;
	} while (length && at < frames->sh_size);
	CHECK_EQ(at, frames->sh_size);
	CHECK(frames->sh_size > eh_frame_guess(shown));
	CHECK_EQ(frames->sh_offset + frames->sh_size, size);
	arena_free(file);
}

int main(void)
{
	RUN(sections_and_symbols);
	RUN(frames_are_never_cut_off);
	return test_done();
}
