/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/binary.h"

#include "binary/decode.h"
#include "binary/elf_file.h"
#include "binary/functions.h"
#include "binary/plan.h"
#include "binary/sweep.h"
#include "binary/unwind_table.h"
#include "binary/usdt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a `jmp rel32` takes: the decoder knows one CPU, and this is its arch->limits.patch_size. */
#define PATCH_SIZE 5

struct binary {
	struct elf_file elf;
	struct function_table functions; /* read at first use */
	struct sweep sweep;		 /* run at the first plan */
	struct decoder decoder;
	bool have_functions, have_sweep, have_notes;
	struct usdt_note *notes;
	size_t note_count;
	int unwind_fd; /* + 1; 0: not made yet */
	char build_id[2 * 64 + 1];
	char reason[128];
};

int binary_open(int fd, const char *name, struct binary **ret_binary)
{
	struct binary *binary = calloc(1, sizeof(*binary));
	u32 size = 0;
	const u8 *id;
	int err;

	if (!binary)
		return -ENOMEM;
	err = elf_file_open(fd, name, ELF_FILE_PROGRAM, &binary->elf);
	if (err) {
		free(binary);
		return err;
	}
	id = elf_file_build_id(&binary->elf, &size);
	for (u32 i = 0; id && i < size && i < 64; i++)
		snprintf(binary->build_id + (size_t)2 * i, 3, "%02x", id[i]);
	decode_init(&binary->decoder);
	*ret_binary = binary;
	return 0;
}

void binary_close(struct binary *binary)
{
	if (!binary)
		return;
	if (binary->unwind_fd)
		close(binary->unwind_fd - 1);
	free(binary->notes);
	sweep_free(&binary->sweep);
	functions_free(&binary->functions);
	elf_file_close(&binary->elf);
	free(binary);
}

const char *binary_problem(void)
{
	return elf_file_problem();
}

static bool has_segment(const struct binary *binary, u32 type)
{
	for (u32 i = 0; i < binary->elf.segment_count; i++) {
		if (binary->elf.segments[i].p_type == type)
			return true;
	}
	return false;
}

bool binary_is_static(const struct binary *binary)
{
	/* A static PIE has PT_DYNAMIC; a shared library has no PT_INTERP either, but nobody starts it. */
	return !has_segment(binary, PT_INTERP) &&
	       (!has_segment(binary, PT_DYNAMIC) || binary->elf.header.e_entry);
}

bool binary_is_musl(const struct binary *binary)
{
	const char *interpreter = elf_file_interpreter(&binary->elf);

	return interpreter && strstr(interpreter, "/ld-musl-");
}

const char *binary_build_id(const struct binary *binary)
{
	return binary->build_id[0] ? binary->build_id : NULL;
}

/* The function table, or NULL when there is no memory for it. */
static const struct function_table *functions(struct binary *binary)
{
	if (!binary->have_functions)
		binary->have_functions = !functions_load(&binary->elf, &binary->functions);
	return binary->have_functions ? &binary->functions : NULL;
}

const struct binary_function *binary_functions(struct binary *binary, size_t *ret_count)
{
	const struct function_table *table = functions(binary);

	*ret_count = table ? table->count : 0;
	return table ? table->rows : NULL;
}

const struct binary_function *binary_find(struct binary *binary, const char *name)
{
	const struct function_table *table = functions(binary);

	return table ? functions_find(table, name) : NULL;
}

const struct binary_function *binary_at_offset(struct binary *binary, u64 file_offset)
{
	const struct function_table *table = functions(binary);
	u64 address;

	if (!table || binary_offset_to_address(binary, file_offset, &address))
		return NULL;
	return functions_at(table, address);
}

int binary_offset_to_address(const struct binary *binary, u64 file_offset, u64 *ret_address)
{
	for (u32 i = 0; i < binary->elf.segment_count; i++) {
		const Elf64_Phdr *segment = &binary->elf.segments[i];

		if (segment->p_type == PT_LOAD && file_offset >= segment->p_offset &&
		    file_offset - segment->p_offset < segment->p_filesz) {
			*ret_address = segment->p_vaddr + (file_offset - segment->p_offset);
			return 0;
		}
	}
	return -ENOENT;
}

int binary_address_to_offset(const struct binary *binary, u64 address, u64 *ret_offset)
{
	u64 available;
	const u8 *bytes = elf_file_memory(&binary->elf, address, &available);

	if (!bytes)
		return -ENOENT;
	*ret_offset = (u64)(bytes - binary->elf.bytes);
	return 0;
}

int binary_read(const struct binary *binary, u64 address, void *to, size_t size)
{
	u64 available;
	const u8 *bytes = elf_file_memory(&binary->elf, address, &available);

	if (!bytes || available < size)
		return -ENOENT;
	memcpy(to, bytes, size);
	return 0;
}

/* What plans are made of; -EOPNOTSUPP without memory for it. The reason of a refusal goes to the binary's buffer. */
static int begin_plan(struct binary *binary, struct plan_input *input, const char **ret_reason)
{
	const struct function_table *table = functions(binary);

	*ret_reason = binary->reason;
	snprintf(binary->reason, sizeof(binary->reason), "out of memory");
	if (!table)
		return -EOPNOTSUPP;
	if (!binary->have_sweep) {
		if (sweep_run(&binary->elf, table, &binary->decoder, &binary->sweep))
			return -EOPNOTSUPP;
		binary->have_sweep = true;
	}
	*input = (struct plan_input){
		.elf = &binary->elf,
		.table = table,
		.sweep = &binary->sweep,
		.decoder = &binary->decoder,
		.patch_size = PATCH_SIZE,
		.reason = binary->reason,
		.reason_size = sizeof(binary->reason),
	};
	return 0;
}

int binary_plan(struct binary *binary, const struct binary_function *function,
		struct site_spec *spec, const char **ret_reason)
{
	struct plan_input input;
	int err = begin_plan(binary, &input, ret_reason);

	return err ? err : plan_function(&input, function, spec);
}

int binary_plan_point(struct binary *binary, u64 address, struct site_spec *spec,
		      const char **ret_reason)
{
	const struct binary_function *function;
	struct plan_input input;
	int err = begin_plan(binary, &input, ret_reason);

	if (err)
		return err;
	function = functions_at(input.table, address);
	if (!function) {
		*ret_reason = "no known function has it";
		return -EOPNOTSUPP;
	}
	/* With nothing in front of it, it is entered as functions are, which costs less. */
	if (function->address == address && function->is_entry && !function->is_ifunc)
		return plan_function(&input, function, spec);
	return plan_point(&input, function, address, spec);
}

const struct usdt_note *binary_usdt_notes(struct binary *binary, size_t *ret_count)
{
	if (!binary->have_notes)
		binary->have_notes = !usdt_read(&binary->elf, &binary->notes, &binary->note_count);
	*ret_count = binary->note_count;
	return binary->notes;
}

void binary_rebase(struct site_spec *spec, u64 bias)
{
	spec->function += bias;
	spec->address += bias;
	if (spec->semaphore)
		spec->semaphore += bias;
	spec->displaced.site += bias;
	for (u32 i = 0; i < spec->displaced.count; i++) {
		if (spec->displaced.insns[i].kind != DISPLACED_PLAIN)
			spec->displaced.insns[i].target += bias;
	}
}

size_t binary_ifunc_slots(const struct binary *binary, u64 resolver, u64 *slots, size_t capacity)
{
	size_t found = 0;

	for (u32 s = 0; s < binary->elf.section_count; s++) {
		const Elf64_Shdr *section = &binary->elf.sections[s];
		u64 size = 0;
		const u8 *bytes = elf_file_section_bytes(&binary->elf, section, &size);

		if (section->sh_type != SHT_RELA || !bytes)
			continue;
		for (u64 at = 0; at + sizeof(Elf64_Rela) <= size && found < capacity;
		     at += sizeof(Elf64_Rela)) {
			Elf64_Rela rela;

			memcpy(&rela, bytes + at, sizeof(rela));
			if (ELF64_R_TYPE(rela.r_info) == R_X86_64_IRELATIVE &&
			    (u64)rela.r_addend == resolver)
				slots[found++] = rela.r_offset;
		}
	}
	return found;
}

static int seal_table(const struct unwind_table *table, size_t size)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	int fd = memfd_create("inlay-unwind", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;
	ssize_t put = 1;

	if (fd < 0)
		return -errno;
	while (done < size && put > 0) {
		put = write(fd, (const char *)table + done, size - done);
		done += put > 0 ? (size_t)put : 0;
	}
	if (done == size && !fcntl(fd, F_ADD_SEALS, seals))
		return fd;
	close(fd);
	return -ENOMEM;
}

int binary_unwind_fd(struct binary *binary)
{
	struct unwind_table *table;
	size_t size;
	int fd;

	if (!binary->unwind_fd) {
		fd = unwind_table_build(&binary->elf, &table, &size);
		if (fd)
			return fd;
		fd = seal_table(table, size);
		free(table);
		if (fd < 0)
			return fd;
		binary->unwind_fd = fd + 1;
	}
	return binary->unwind_fd - 1;
}

const char *binary_plan_name(const struct site_spec *spec)
{
	switch (spec->kind) {
	case SITE_NOP:
		return "nop";
	case SITE_WHOLE:
		return "whole instruction";
	default:
		return "relocated";
	}
}
