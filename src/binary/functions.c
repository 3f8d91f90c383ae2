/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/functions.h"

#include "binary/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEBUG_ROOT     "/usr/lib/debug/.build-id"
#define VERSION_HIDDEN 0x8000

/* A table being filled. */
struct loader {
	const struct elf_file *elf;
	struct function_table table;
	size_t capacity, name_capacity;
};

static int append(struct loader *loader, const struct binary_function *row)
{
	if (loader->table.count == loader->capacity) {
		size_t capacity = loader->capacity ? loader->capacity * 2 : 4096;
		struct binary_function *rows =
			realloc(loader->table.rows, capacity * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		loader->table.rows = rows;
		loader->capacity = capacity;
	}
	loader->table.rows[loader->table.count++] = *row;
	return 0;
}

/* Keeps a copy of the first `length` characters of a name. */
static const char *keep_name(struct loader *loader, const char *name, size_t length)
{
	struct function_table *table = &loader->table;

	if (table->names_count == loader->name_capacity) {
		size_t capacity = loader->name_capacity ? loader->name_capacity * 2 : 256;
		char **names = realloc(table->names, capacity * sizeof(*names));

		if (!names)
			return NULL;
		table->names = names;
		loader->name_capacity = capacity;
	}
	table->names[table->names_count] = strndup(name, length);
	return table->names[table->names_count] ? table->names[table->names_count++] : NULL;
}

/* gcc and clang name the unlikely half of f "f.cold" or "f.cold.N": entered by jumps from f only. */
static bool is_cold_name(const char *name)
{
	const char *cold = strstr(name, ".cold");

	return cold && (cold[5] == '\0' || cold[5] == '.');
}

static int add_symbol(struct loader *loader, const Elf64_Sym *symbol, const char *name, bool hidden)
{
	u8 type = ELF64_ST_TYPE(symbol->st_info);
	struct binary_function row = {
		.name = name,
		.address = symbol->st_value,
		.size = symbol->st_size,
		.is_ifunc = type == STT_GNU_IFUNC,
		.is_local = ELF64_ST_BIND(symbol->st_info) == STB_LOCAL,
		.is_compat = hidden,
		.is_entry = 1,
	};
	const char *version;

	if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF || !name ||
	    !*name || !elf_file_is_text(loader->elf, row.address))
		return 0;
	version = strchr(name, '@');
	if (version) {
		row.is_compat = version[1] != '@';
		row.name = keep_name(loader, name, (size_t)(version - name));
		if (!row.name)
			return -ENOMEM;
	}
	row.is_entry = !is_cold_name(row.name);
	return append(loader, &row);
}

/* All symbols of one table of one file (the binary, or its debug file). */
static int add_table(struct loader *loader, const struct elf_file *file, const Elf64_Shdr *section)
{
	u64 size = 0, name_size = 0, version_size = 0;
	const u8 *symbols = elf_file_section_bytes(file, section, &size);
	const u8 *names, *versions = NULL;

	if (!symbols || section->sh_link >= file->section_count)
		return 0;
	names = elf_file_section_bytes(file, &file->sections[section->sh_link], &name_size);
	if (section->sh_type == SHT_DYNSYM)
		versions = elf_file_section_bytes(
			file, elf_file_section_by_type(file, SHT_GNU_versym), &version_size);
	for (u64 i = 0; i < size / sizeof(Elf64_Sym); i++) {
		Elf64_Sym symbol;
		u16 version = 0;
		int err;

		memcpy(&symbol, symbols + i * sizeof(symbol), sizeof(symbol));
		if (versions && (i + 1) * sizeof(version) <= version_size)
			memcpy(&version, versions + i * sizeof(version), sizeof(version));
		err = add_symbol(loader, &symbol, elf_file_string(names, name_size, symbol.st_name),
				 version & VERSION_HIDDEN);
		if (err)
			return err;
	}
	return 0;
}

/* Opens the separate debug file with the same build-id, if there is one and it is what it says. */
static struct elf_file *open_debug_file(const struct elf_file *elf)
{
	char path[sizeof(DEBUG_ROOT) + 2 * 64 + 16];
	u32 size = 0, other_size = 0;
	const u8 *id = elf_file_build_id(elf, &size), *other;
	struct elf_file *debug;
	int length, fd, err;

	if (!id || size < 2 || size > 64)
		return NULL;
	length = snprintf(path, sizeof(path), DEBUG_ROOT "/%02x/", id[0]);
	for (u32 i = 1; i < size; i++)
		length += snprintf(path + length, sizeof(path) - (size_t)length, "%02x", id[i]);
	snprintf(path + length, sizeof(path) - (size_t)length, ".debug");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	debug = calloc(1, sizeof(*debug));
	err = debug ? elf_file_open(fd, path, ELF_FILE_DEBUG, debug) : -ENOMEM;
	close(fd);
	if (err) {
		free(debug);
		return NULL;
	}
	other = elf_file_build_id(debug, &other_size);
	if (!other || other_size != size || memcmp(other, id, size)) {
		elf_file_close(debug);
		free(debug);
		return NULL;
	}
	return debug;
}

static int rank(const struct binary_function *row)
{
	return (row->name ? 0 : 8) + (row->is_entry ? 0 : 4) + (row->is_local ? 2 : 0) +
	       (row->is_compat ? 1 : 0);
}

static int compare_rows(const void *a, const void *b)
{
	const struct binary_function *x = a, *y = b;
	int order;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	order = x->name && y->name ? strcmp(x->name, y->name) : 0;
	return rank(x) != rank(y) ? rank(x) - rank(y) : order;
}

/* Sorts, and drops a row whose address and name an earlier one has (the same symbol in several tables). */
static void sort_rows(struct function_table *table)
{
	size_t kept = 0;

	if (!table->count)
		return;
	qsort(table->rows, table->count, sizeof(*table->rows), compare_rows);
	for (size_t i = 0; i < table->count; i++) {
		const struct binary_function *row = &table->rows[i];
		bool seen = false;

		for (size_t k = kept; k-- && table->rows[k].address == row->address && !seen;)
			seen = row->name && table->rows[k].name &&
			       !strcmp(row->name, table->rows[k].name);
		if (!seen)
			table->rows[kept++] = *row;
	}
	table->count = kept;
}

static bool in_linkage_table(const struct elf_file *elf, u64 address)
{
	for (u32 i = 0; i < elf->section_count; i++) {
		const Elf64_Shdr *section = &elf->sections[i];

		if ((section->sh_flags & SHF_EXECINSTR) && address >= section->sh_addr &&
		    address - section->sh_addr < section->sh_size)
			return !strncmp(elf_file_section_name(elf, section), ".plt", 4);
	}
	return false;
}

static const struct binary_function *row_at(const struct function_table *table, size_t count,
					    u64 address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->rows[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && table->rows[low].address == address ? &table->rows[low] : NULL;
}

/* Adds what only call frame information knows, and what it knows better than the symbols. */
static int merge_fdes(struct loader *loader)
{
	struct function_table *table = &loader->table;
	size_t symbols = table->count;

	for (size_t i = 0; i < symbols; i++) {
		struct binary_function *row = &table->rows[i];
		const struct fde *fde = fde_find(table->fdes, table->fde_count, row->address);

		if (!fde)
			continue;
		if (!row->size)
			row->size = fde->end - row->address;
		if (fde->is_signal || (fde->start == row->address && !fde->is_entry))
			row->is_entry = 0;
	}
	for (size_t i = 0; i < table->fde_count; i++) {
		const struct fde *fde = &table->fdes[i];
		struct binary_function row = {
			.address = fde->start, .size = fde->end - fde->start, .is_entry = 1};
		int err;

		if (!fde->is_entry || fde->is_signal || row_at(table, symbols, fde->start) ||
		    !elf_file_is_text(loader->elf, fde->start) ||
		    in_linkage_table(loader->elf, fde->start))
			continue;
		err = append(loader, &row);
		if (err)
			return err;
	}
	return 0;
}

static int compare_addresses(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static int collect_starts(struct function_table *table)
{
	size_t count = 0, kept = 0;

	table->starts = calloc(table->count + table->fde_count + 1, sizeof(u64));
	if (!table->starts)
		return -ENOMEM;
	for (size_t i = 0; i < table->count; i++)
		table->starts[count++] = table->rows[i].address;
	for (size_t i = 0; i < table->fde_count; i++)
		table->starts[count++] = table->fdes[i].start;
	qsort(table->starts, count, sizeof(u64), compare_addresses);
	for (size_t i = 0; i < count; i++) {
		if (!kept || table->starts[kept - 1] != table->starts[i])
			table->starts[kept++] = table->starts[i];
	}
	table->start_count = kept;
	return 0;
}

static int compare_names(const void *a, const void *b, void *opaque)
{
	const struct binary_function *rows = opaque;
	const struct binary_function *x = &rows[*(const u32 *)a], *y = &rows[*(const u32 *)b];
	int order = strcmp(x->name, y->name);

	if (order)
		return order;
	return rank(x) != rank(y) ? rank(x) - rank(y)
				  : (x->address > y->address) - (x->address < y->address);
}

static int index_names(struct function_table *table)
{
	table->by_name = calloc(table->count + 1, sizeof(u32));
	if (!table->by_name)
		return -ENOMEM;
	for (size_t i = 0; i < table->count; i++) {
		if (table->rows[i].name)
			table->by_name[table->name_count++] = (u32)i;
	}
	qsort_r(table->by_name, table->name_count, sizeof(u32), compare_names, table->rows);
	return 0;
}

static void set_offsets(const struct elf_file *elf, struct function_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		u64 available;
		const u8 *bytes = elf_file_memory(elf, table->rows[i].address, &available);

		table->rows[i].file_offset = bytes ? (u64)(bytes - elf->bytes) : 0;
	}
}

static int add_symbols(struct loader *loader)
{
	const struct elf_file *elf = loader->elf, *debug;
	int err;

	err = add_table(loader, elf, elf_file_section_by_type(elf, SHT_DYNSYM));
	if (err)
		return err;
	if (elf_file_section_by_type(elf, SHT_SYMTAB))
		return add_table(loader, elf, elf_file_section_by_type(elf, SHT_SYMTAB));
	debug = loader->table.debug = open_debug_file(elf);
	return debug ? add_table(loader, debug, elf_file_section_by_type(debug, SHT_SYMTAB)) : 0;
}

int functions_load(const struct elf_file *elf, struct function_table *ret_table)
{
	struct loader loader = {.elf = elf};
	struct function_table *table = &loader.table;
	int err;

	err = fde_read_all(elf, &table->fdes, &table->fde_count);
	if (!err)
		err = add_symbols(&loader);
	if (err)
		goto free_table;
	sort_rows(table);
	err = merge_fdes(&loader);
	if (err)
		goto free_table;
	sort_rows(table);
	set_offsets(elf, table);
	err = collect_starts(table);
	if (!err)
		err = index_names(table);
	if (err)
		goto free_table;
	*ret_table = *table;
	return 0;

free_table:
	functions_free(table);
	return err;
}

void functions_free(struct function_table *table)
{
	for (size_t i = 0; i < table->names_count; i++)
		free(table->names[i]);
	free(table->names);
	free(table->rows);
	free(table->by_name);
	free(table->starts);
	free(table->fdes);
	if (table->debug)
		elf_file_close(table->debug);
	free(table->debug);
	*table = (struct function_table){};
}

const struct binary_function *functions_find(const struct function_table *table, const char *name)
{
	size_t low = 0, high = table->name_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(table->rows[table->by_name[middle]].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == table->name_count || strcmp(table->rows[table->by_name[low]].name, name))
		return NULL;
	return &table->rows[table->by_name[low]];
}

const struct binary_function *functions_at(const struct function_table *table, u64 address)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->rows[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	/* Aliases of an address stand best first; a short function may lie inside a longer one. */
	for (size_t steps = 0; low && steps < 16; steps++) {
		const struct binary_function *row = &table->rows[--low];

		if (address != row->address && address - row->address >= row->size)
			continue;
		while (low && table->rows[low - 1].address == row->address)
			row = &table->rows[--low];
		return row;
	}
	return NULL;
}

u64 functions_next_start(const struct function_table *table, u64 address)
{
	size_t low = 0, high = table->start_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->starts[middle] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < table->start_count ? table->starts[low] : ~0ULL;
}
