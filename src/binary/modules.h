/* SPDX-License-Identifier: BSD-2-Clause */
/* The ELF files a process maps: /proc/PID/maps folded into modules, and the very files behind them. */
#ifndef INLAY_BINARY_MODULES_H
#define INLAY_BINARY_MODULES_H

#include "binary/process.h"

#include <elf.h>

/* A module, and how to reach its file again. */
struct module {
	struct process_module public; /* path is owned */
	u64 first_start, first_end;   /* its first mapping, the name of its link in map_files */
	u64 first_offset;	      /* file offset of that mapping */
	u64 text_offset;	      /* of its first executable mapping */
};

/* The part of an ELF header and its program headers that any class has. */
struct module_headers {
	u16 machine;
	u8 elf_class;
	u16 count;
	Elf64_Phdr segments[64];
	char interpreter[256]; /* "" without PT_INTERP */
};

/* 0, -EACCES or -errno. The caller frees by modules_free. Files that are no ELF are left out. */
int modules_read(pid_t pid, struct module **ret_modules, size_t *ret_count);
void modules_free(struct module *modules, size_t count);
/* The mapped file itself: a descriptor, or -ENOENT when its path names another file now and no other way leads to it. */
int modules_open(pid_t pid, const struct module *module);
/*
 * Reads the headers of an ELF file that begins at `base` of an open file or of a process's memory (32-bit ones: class
 * and machine only). 0 or -ENOEXEC.
 */
int modules_read_headers(int fd, u64 base, struct module_headers *ret_headers);
/* Opens a path as the target sees it. Descriptor or -errno. */
int modules_open_in_root(pid_t pid, const char *path, int flags);

#endif
