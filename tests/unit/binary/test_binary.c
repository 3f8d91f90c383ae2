/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/binary.h"

#include "test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A file in memory with the given bytes. */
static int memory_file(const void *bytes, size_t size)
{
	int fd = memfd_create("binary", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		return -1;
	return fd;
}

static u8 *read_file(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	u8 *bytes;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	bytes = malloc((size_t)st.st_size);
	*ret_size = (size_t)st.st_size;
	if (read(fd, bytes, *ret_size) != (ssize_t)*ret_size)
		bytes[0] = 0;
	close(fd);
	return bytes;
}

static void refuse(const void *bytes, size_t size, int error, const char *words)
{
	struct binary *binary = NULL;
	int fd = memory_file(bytes, size);

	CHECK_EQ(binary_open(fd, "some-file", &binary), error);
	CHECK(binary == NULL);
	if (!strstr(binary_problem(), words) || !strstr(binary_problem(), "some-file"))
		printf("# said: %s\n", binary_problem());
	CHECK(strstr(binary_problem(), words) != NULL);
	CHECK(strstr(binary_problem(), "some-file") != NULL);
	close(fd);
}

static void wrong_files_are_named(void)
{
	size_t size = 0;
	u8 *bytes = read_file("/proc/self/exe", &size);
	Elf64_Ehdr *header = (Elf64_Ehdr *)bytes;
	Elf64_Ehdr good;

	CHECK(bytes != NULL);
	memcpy(&good, header, sizeof(good));
	refuse("", 0, -ENOEXEC, "not an ELF file");
	refuse("#!/bin/sh\necho this is a script\n", 32, -ENOEXEC, "not an ELF file");
	refuse(bytes, 17, -ENOEXEC, "cut off");
	refuse(bytes, sizeof(Elf64_Ehdr) - 1, -ENOEXEC, "cut off");
	refuse(bytes, sizeof(Elf64_Ehdr), -ENOEXEC, "no program headers");
	refuse(bytes, 8192, -ENOEXEC, "cut off");
	header->e_machine = EM_AARCH64;
	refuse(bytes, size, -EOPNOTSUPP, "aarch64");
	header->e_machine = 0x1234;
	refuse(bytes, size, -EOPNOTSUPP, "machine 4660");
	header->e_machine = EM_386;
	header->e_ident[EI_CLASS] = ELFCLASS32;
	refuse(bytes, size, -EOPNOTSUPP, "32-bit");
	*header = good;
	header->e_phnum = 0;
	header->e_type = ET_REL;
	refuse(bytes, size, -ENOEXEC, "object file");
	free(bytes);
}

static struct binary *open_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct binary *binary = NULL;

	if (fd < 0)
		return NULL;
	CHECK_EQ(binary_open(fd, path, &binary), 0);
	close(fd);
	return binary;
}

__attribute__((noinline)) int a_global_function(int value);

int a_global_function(int value)
{
	return value * 3;
}

__attribute__((noinline)) static void functions_of_ourselves(void)
{
	struct binary *binary = open_path("/proc/self/exe");
	const struct binary_function *function = binary_find(binary, "a_global_function");
	u64 address = 0, offset = 0;
	u8 bytes[4] = {};

	CHECK(function != NULL && function->size > 0 && function->is_entry && !function->is_local);
	CHECK(binary_at_offset(binary, function->file_offset) == function);
	CHECK(binary_at_offset(binary, function->file_offset + function->size - 1) == function);
	CHECK(binary_at_offset(binary, 1) == NULL);
	CHECK_EQ(binary_offset_to_address(binary, function->file_offset, &address), 0);
	CHECK_EQ(address, function->address);
	CHECK_EQ(binary_address_to_offset(binary, function->address, &offset), 0);
	CHECK_EQ(offset, function->file_offset);
	CHECK_EQ(binary_read(binary, function->address, bytes, sizeof(bytes)), 0);
	CHECK(!memcmp(bytes, (void *)(uintptr_t)a_global_function, sizeof(bytes)));
	CHECK_EQ(binary_read(binary, ~0ULL - 2, bytes, sizeof(bytes)), -ENOENT);
	CHECK(binary_find(binary, "functions_of_ourselves") != NULL);
	CHECK(binary_find(binary, "functions_of_ourselve") == NULL);
	CHECK(binary_find(binary, "") == NULL);
	CHECK(!binary_is_static(binary) && !binary_is_musl(binary));
	binary_close(binary);
}

static void rows_are_sorted_and_distinct(void)
{
	struct binary *binary = open_path("/lib/x86_64-linux-gnu/libc.so.6");
	const struct binary_function *functions;
	size_t count;

	if (!binary)
		SKIP("there is no libc.so.6");
	functions = binary_functions(binary, &count);
	CHECK(count > 2000);
	for (size_t i = 1; i < count; i++) {
		const struct binary_function *a = &functions[i - 1], *b = &functions[i];

		CHECK(a->address <= b->address);
		CHECK(a->address != b->address || !a->name || !b->name || strcmp(a->name, b->name));
	}
	CHECK(binary_find(binary, "strlen")->is_ifunc);
	CHECK(!binary_find(binary, "malloc")->is_ifunc);
	/* memcpy@@GLIBC_2.14 is the one that programs link to, not memcpy@GLIBC_2.2.5. */
	CHECK(!binary_find(binary, "memcpy")->is_compat);
	CHECK(binary_build_id(binary) && strlen(binary_build_id(binary)) == 40);
	binary_close(binary);
}

/* Without section headers the program headers still lead to the call frame information. */
static void stripped_of_sections(void)
{
	size_t size = 0, whole, bare;
	u8 *bytes = read_file("/proc/self/exe", &size);
	Elf64_Ehdr *header = (Elf64_Ehdr *)bytes;
	const struct binary_function *functions;
	struct binary *binary = NULL;
	u64 address;
	bool found = false;
	int fd;

	binary = open_path("/proc/self/exe");
	address = binary_find(binary, "a_global_function")->address;
	binary_functions(binary, &whole);
	binary_close(binary);
	header->e_shoff = 0;
	header->e_shnum = 0;
	fd = memory_file(bytes, size);
	CHECK_EQ(binary_open(fd, "bare", &binary), 0);
	functions = binary_functions(binary, &bare);
	for (size_t i = 0; i < bare; i++)
		found |= functions[i].address == address && functions[i].size > 0;
	CHECK(found);
	CHECK(bare > whole / 4);
	binary_close(binary);
	close(fd);
	free(bytes);
}

static void use_everything(struct binary *binary)
{
	size_t count;
	const struct binary_function *functions = binary_functions(binary, &count);
	u64 slots[4];

	for (size_t i = 0; i < count; i += 1 + count / 64) {
		struct site_spec spec;
		const char *reason;

		if (binary_plan(binary, &functions[i], &spec, &reason))
			CHECK(strlen(reason) > 0);
		if (functions[i].name)
			CHECK(binary_find(binary, functions[i].name) != NULL);
		binary_at_offset(binary, functions[i].file_offset);
		binary_ifunc_slots(binary, functions[i].address, slots, ARRAY_SIZE(slots));
	}
	binary_is_musl(binary);
	binary_is_static(binary);
}

static u64 next_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Damages headers more often than the rest: there a flipped bit leads somewhere. */
static void damage(u8 *bytes, size_t size, u64 *random)
{
	u32 flips = 1 + (u32)(next_random(random) % 12);
	u64 sections = ((Elf64_Ehdr *)bytes)->e_shoff;

	for (u32 i = 0; i < flips; i++) {
		u64 kind = next_random(random) % 4, at = next_random(random);

		if (kind == 0)
			at = at % 1024;
		else if (kind == 1 && sections < size)
			at = sections + at % (size - sections);
		else
			at = at % size;
		/* The identity stays, or every file would be refused at once. */
		if (at < EI_NIDENT || (at >= 18 && at < 20))
			continue;
		bytes[at] = (u8)(next_random(random) % 3 ? bytes[at] ^ (1u << (at % 8))
							 : next_random(random));
	}
}

static void damaged_files_never_crash(void)
{
	size_t size = 0;
	u8 *good = read_file("/bin/true", &size), *bytes;
	u64 random = 0x9e3779b97f4a7c15;
	u32 opened = 0, refused = 0;

	if (!good)
		SKIP("there is no /bin/true");
	bytes = malloc(size);
	for (u32 round = 0; round < 1500; round++) {
		size_t length = round % 3 ? size : next_random(&random) % size;
		struct binary *binary = NULL;
		int fd;

		memcpy(bytes, good, size);
		damage(bytes, size, &random);
		fd = memory_file(bytes, length);
		if (binary_open(fd, "damaged", &binary)) {
			refused++;
		} else {
			opened++;
			use_everything(binary);
			binary_close(binary);
		}
		close(fd);
	}
	printf("# %u opened, %u refused\n", opened, refused);
	CHECK(opened > 100 && refused > 100);
	free(bytes);
	free(good);
}

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* One row of the table: what share of a real program's functions can be entered. -1 when it is not installed. */
static double table_row(const char *path)
{
	u32 total = 0, kinds[3] = {};
	double started = milliseconds(), share;
	struct binary *binary = open_path(path);
	const struct binary_function *functions;
	size_t count;

	if (!binary)
		return -1;
	functions = binary_functions(binary, &count);
	for (size_t i = 0; i < count; i++) {
		struct site_spec spec;
		const char *reason;

		if (!functions[i].is_entry ||
		    (i && functions[i].address == functions[i - 1].address))
			continue;
		total++;
		if (!binary_plan(binary, &functions[i], &spec, &reason))
			kinds[spec.kind]++;
	}
	binary_close(binary);
	share = 100.0 * (kinds[0] + kinds[1] + kinds[2]) / (total ? total : 1);
	printf("# %-44s %6u %6u %6u %6u %7.2f %% %6.0f\n", path, total, kinds[SITE_NOP],
	       kinds[SITE_WHOLE], kinds[SITE_PROLOGUE], share, milliseconds() - started);
	return share;
}

static void real_programs_are_attachable(void)
{
	static const char *const paths[] = {
		"/lib/x86_64-linux-gnu/libc.so.6",
		"/usr/bin/python3.11",
		"/lib/x86_64-linux-gnu/libsqlite3.so.0",
		"/usr/bin/redis-server",
		"/usr/sbin/nginx",
	};
	u32 seen = 0;

	printf("# %-44s %6s %6s %6s %6s %9s %6s\n", "file", "funcs", "nop", "whole", "moved",
	       "in all", "ms");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		double share = table_row(paths[i]);

		CHECK(share < 0 || share >= 98.0);
		seen += share >= 0;
	}
	if (!seen)
		SKIP("none of the programs is installed");
}

int main(void)
{
	RUN(wrong_files_are_named);
	RUN(functions_of_ourselves);
	RUN(rows_are_sorted_and_distinct);
	RUN(stripped_of_sections);
	RUN(damaged_files_never_crash);
	RUN(real_programs_are_attachable);
	return test_done();
}
