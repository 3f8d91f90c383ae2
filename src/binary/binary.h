/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an ELF file offers: its functions, and how each can be entered. Loader only (libelf, Zydis).
 *
 * Addresses here are the file's virtual addresses (before load bias); the caller adds the bias of the mapping.
 */
#ifndef INLAY_BINARY_BINARY_H
#define INLAY_BINARY_BINARY_H

#include "arch/site.h"
#include "base/types.h"

struct binary;
struct usdt_note;

struct binary_function {
	const char *name; /* owned by the binary; NULL for an FDE without symbol */
	u64 address;	  /* virtual address */
	u64 size;	  /* 0: unknown */
	u64 file_offset;
	u8 is_ifunc; /* address is the resolver's; see process_resolve_ifunc */
	u8 is_local;
	u8 is_compat; /* an old version of the symbol, not the one that new programs link to */
	u8 is_entry;  /* 0: a cold part, a signal frame: nobody calls it */
};

/*
 * Opens a file for reading its functions (.symtab, .dynsym, the separate debug file with its build-id, FDEs). The descriptor is not kept. Errors: -ENOEXEC (not an ELF file, or cut off), -EOPNOTSUPP (other machine or
 * class; binary_problem says which), -errno of reading. Not thread-safe per object.
 */
int binary_open(int fd, const char *name, struct binary **ret_binary);
void binary_close(struct binary *binary);
/* One sentence about the last failure of an open in this thread; never NULL. */
const char *binary_problem(void);

/* Is it linked statically (no PT_INTERP and no PT_DYNAMIC), and which libc does its interpreter mean? */
bool binary_is_static(const struct binary *binary);
bool binary_is_musl(const struct binary *binary);
const char *binary_build_id(const struct binary *binary); /* hex, or NULL */

/* All functions, sorted by address, one row a symbol. Valid until close. */
const struct binary_function *binary_functions(struct binary *binary, size_t *ret_count);
/* By name (a global symbol wins over a local one, the default version over older ones). NULL when there is none. */
const struct binary_function *binary_find(struct binary *binary, const char *name);
/* The function that contains a file offset, or NULL. */
const struct binary_function *binary_at_offset(struct binary *binary, u64 file_offset);
/* File offset <-> virtual address through the program headers; 0 on success or -ENOENT. */
int binary_offset_to_address(const struct binary *binary, u64 file_offset, u64 *ret_address);
int binary_address_to_offset(const struct binary *binary, u64 address, u64 *ret_offset);
/* Copies bytes of the file's text at a virtual address. 0 or -ENOENT. */
int binary_read(const struct binary *binary, u64 address, void *to, size_t size);

/*
 * How the function at address would be entered: fills spec (addresses virtual, bias 0; binary_rebase moves it).
 * Returns 0, or -EOPNOTSUPP with *ret_reason a constant text ("branch into the window at +3", "shorter than 5 bytes", ...;
 * written to a buffer of the binary, valid until the next call).
 */
int binary_plan(struct binary *binary, const struct binary_function *function,
		struct site_spec *spec, const char **ret_reason);
/* The same for an instruction in the middle of a function, as SDT notes name one. */
int binary_plan_point(struct binary *binary, u64 address, struct site_spec *spec,
		      const char **ret_reason);
/* The file's SDT notes, read at the first call. Valid until close. */
const struct usdt_note *binary_usdt_notes(struct binary *binary, size_t *ret_count);
void binary_rebase(struct site_spec *spec, u64 bias);
/*
 * Where the loader keeps the address that an IFUNC resolved to: virtual addresses of the slots of IRELATIVE
 * relocations whose resolver is at `resolver`. Returns how many were found, at most capacity.
 */
size_t binary_ifunc_slots(const struct binary *binary, u64 resolver, u64 *slots, size_t capacity);
/*
 * How to find callers in this file: its unwind table (format/unwind_table.h) in a sealed memfd, made at the first call. The descriptor
 * is the binary's. -errno.
 */
int binary_unwind_fd(struct binary *binary);
/* A word for `inlay list -v`: "nop", "whole instruction", "relocated". */
const char *binary_plan_name(const struct site_spec *spec);

#endif
