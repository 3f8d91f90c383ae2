/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An ELF64 little-endian file as bytes, with every access checked against its size.
 *
 * Headers are copied out and clipped at opening, so that whoever holds an elf_file may index its segments and
 * sections without further checks; a section's bytes are only reached through elf_file_section_bytes. Nothing in
 * the file is believed: a count or an offset that leads outside makes the table shorter, not the reader wrong.
 */
#ifndef INLAY_BINARY_ELF_FILE_H
#define INLAY_BINARY_ELF_FILE_H

#include "base/types.h"

#include <elf.h>

struct elf_file {
	const u8 *bytes; /* the whole file, mapped private */
	size_t size;
	Elf64_Ehdr header;
	Elf64_Phdr *segments;
	u32 segment_count;
	Elf64_Shdr *sections;
	u32 section_count;
};

enum elf_file_use {
	ELF_FILE_PROGRAM, /* what it loads must be there */
	ELF_FILE_DEBUG, /* a separate debug file: keeps program headers for contents it does not hold */
};

/*
 * Maps the file behind fd; the descriptor is not kept. 0, -ENOEXEC, -EOPNOTSUPP, -ENOMEM or -errno of reading, with
 * elf_file_problem set.
 */
int elf_file_open(int fd, const char *name, enum elf_file_use use, struct elf_file *ret_elf);
void elf_file_close(struct elf_file *elf);

/* One sentence about the last failure in this thread; set_problem is for the other files of this folder. */
const char *elf_file_problem(void);
void elf_file_set_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "x86-64", "aarch64", ...; for a machine without a name "machine N" (in a static buffer of this thread). */
const char *elf_file_machine_name(u16 machine);

/* size bytes at a file offset, or NULL when they are not all there. */
const void *elf_file_at(const struct elf_file *elf, u64 offset, u64 size);
/* A section's bytes (NULL for SHT_NOBITS or one that leads outside) and their number. */
const u8 *elf_file_section_bytes(const struct elf_file *elf, const Elf64_Shdr *section,
				 u64 *ret_size);
const Elf64_Shdr *elf_file_section_by_type(const struct elf_file *elf, u32 type);
const Elf64_Shdr *elf_file_section_by_name(const struct elf_file *elf, const char *name);
/* "" when the name leads outside. */
const char *elf_file_section_name(const struct elf_file *elf, const Elf64_Shdr *section);
/* A NUL-terminated string in a string table, or NULL. */
const char *elf_file_string(const u8 *table, u64 size, u64 offset);

/* The loaded bytes at a virtual address: pointer and how many follow in its segment's file part; NULL: none. */
const u8 *elf_file_memory(const struct elf_file *elf, u64 address, u64 *ret_available);
/* Is the address in a segment that will be executable? */
bool elf_file_is_text(const struct elf_file *elf, u64 address);
/* An address into which the dynamic loader writes the file's own address addend, moved to where it is loaded. */
typedef void (*elf_file_relative_fn)(void *opaque, u64 address, u64 addend);
/* Calls visit for each relative relocation with an addend (R_*_RELATIVE of the file's machine), in the file's order. */
void elf_file_each_relative(const struct elf_file *elf, elf_file_relative_fn visit, void *opaque);
/* The path in PT_INTERP, or NULL. */
const char *elf_file_interpreter(const struct elf_file *elf);
/* The bytes of the GNU build-id note, or NULL. */
const u8 *elf_file_build_id(const struct elf_file *elf, u32 *ret_size);

#endif
