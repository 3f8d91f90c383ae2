/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/usdt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "binary/elf_file.h"

#define NOTE_TYPE 3

/* What is at the start of a note's description. */
struct fixed_part {
	u64 address, base, semaphore;
};

/* How far the file's sections have moved since. */
static u64 displacement(const struct elf_file *elf, u64 base)
{
	const Elf64_Shdr *section = elf_file_section_by_name(elf, ".stapsdt.base");

	return section && base ? section->sh_addr - base : 0;
}

/* The next string in [*at, end), or NULL. */
static const char *take_string(const u8 **at, const u8 *end)
{
	const u8 *start = *at, *zero = memchr(start, 0, (size_t)(end - start));

	if (!zero)
		return NULL;
	*at = zero + 1;
	return (const char *)start;
}

static bool read_description(const struct elf_file *elf, const u8 *bytes, u32 size,
			     struct usdt_note *note)
{
	const u8 *at = bytes + sizeof(struct fixed_part), *end = bytes + size;
	struct fixed_part fixed;
	u64 moved;

	if (size < sizeof(fixed))
		return false;
	memcpy(&fixed, bytes, sizeof(fixed));
	moved = displacement(elf, fixed.base);
	note->address = fixed.address + moved;
	note->semaphore = fixed.semaphore ? fixed.semaphore + moved : 0;
	note->provider = take_string(&at, end);
	note->name = note->provider ? take_string(&at, end) : NULL;
	note->arguments = note->name ? take_string(&at, end) : NULL;
	return note->arguments != NULL;
}

static int append(struct usdt_note **notes, size_t *count, const struct usdt_note *note)
{
	struct usdt_note *grown = *notes;

	/* Powers of two. */
	if (!(*count & (*count - 1)))
		grown = reallocarray(*notes, *count ? 2 * *count : 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[(*count)++] = *note;
	*notes = grown;
	return 0;
}

/* One section; stops at the first note that leads outside. */
static int read_section(const struct elf_file *elf, const u8 *bytes, u64 size,
			struct usdt_note **notes, size_t *count)
{
	u64 at = 0;

	while (at + sizeof(Elf64_Nhdr) <= size) {
		struct usdt_note note;
		Elf64_Nhdr header;
		u64 name = at + sizeof(header), description, next;

		memcpy(&header, bytes + at, sizeof(header));
		description = name + ALIGN_UP((u64)header.n_namesz, 4ull);
		next = description + ALIGN_UP((u64)header.n_descsz, 4ull);
		if (description > size || header.n_descsz > size - description)
			return 0;
		if (header.n_type == NOTE_TYPE && header.n_namesz == 8 &&
		    !memcmp(bytes + name, "stapsdt", 8) &&
		    read_description(elf, bytes + description, header.n_descsz, &note)) {
			int err = append(notes, count, &note);

			if (err)
				return err;
		}
		at = next;
	}
	return 0;
}

int usdt_read(const struct elf_file *elf, struct usdt_note **ret_notes, size_t *ret_count)
{
	struct usdt_note *notes = NULL;
	size_t count = 0;
	int err = 0;

	for (u32 i = 0; i < elf->section_count && !err; i++) {
		const Elf64_Shdr *section = &elf->sections[i];
		u64 size = 0;
		const u8 *bytes;

		if (section->sh_type != SHT_NOTE ||
		    strcmp(elf_file_section_name(elf, section), ".note.stapsdt"))
			continue;
		bytes = elf_file_section_bytes(elf, section, &size);
		if (bytes)
			err = read_section(elf, bytes, size, &notes, &count);
	}
	if (err) {
		free(notes);
		return err;
	}
	*ret_notes = notes;
	*ret_count = count;
	return 0;
}
