/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/btf_dwarf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btf.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "binary/elf_file.h"

#define DEBUG_ROOT "/usr/lib/debug"
#define MAX_BYTES  (64u << 20)

extern char **environ;

struct problem {
	char *text;
	size_t size;
};

static int __attribute__((format(printf, 3, 4)))
fail(const struct problem *problem, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem->text, problem->size, format, args);
	va_end(args);
	return error;
}

/* ---- bytes ---- */

static bool looks_like_btf(const void *data, size_t size)
{
	const struct btf_header *header = data;

	return size >= sizeof(*header) && header->magic == BTF_MAGIC;
}

static int read_whole(const char *path, void **ret_data, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = -EINVAL;
	struct stat info;
	char *data = NULL;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &info) && info.st_size > 0 && info.st_size <= MAX_BYTES)
		data = malloc((size_t)info.st_size);
	if (data && read(fd, data, (size_t)info.st_size) == info.st_size &&
	    looks_like_btf(data, (size_t)info.st_size)) {
		*ret_data = data;
		*ret_size = (size_t)info.st_size;
		error = 0;
	} else {
		free(data);
	}
	close(fd);
	return error;
}

static int copy_own(const struct elf_file *elf, void **ret_data, size_t *ret_size)
{
	const Elf64_Shdr *section = elf_file_section_by_name(elf, ".BTF");
	u64 size = 0;
	const u8 *bytes = section ? elf_file_section_bytes(elf, section, &size) : NULL;
	void *data;

	if (!bytes || !looks_like_btf(bytes, size))
		return -ENOENT;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	memcpy(data, bytes, size);
	*ret_data = data;
	*ret_size = size;
	return 0;
}

/* ---- the cache ---- */

static void hex_of(const struct elf_file *elf, char *text, size_t size)
{
	u32 length = 0;
	const u8 *id = elf_file_build_id(elf, &length);

	text[0] = 0;
	for (u32 i = 0; id && i < length && 2 * i + 3 <= size; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

/* Makes the directory. False: there is none to be had. */
static bool cache_directory(char *path, size_t size)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int length;

	if (cache && *cache == '/')
		length = snprintf(path, size, "%s/inlay/btf", cache);
	else if (home && *home == '/')
		length = snprintf(path, size, "%s/.cache/inlay/btf", home);
	else
		return false;
	if (length < 0 || (size_t)length >= size)
		return false;
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
	return !mkdir(path, 0700) || errno == EEXIST;
}

/* ---- where the DWARF is ---- */

static bool has_dwarf(const struct elf_file *elf)
{
	return elf_file_section_by_name(elf, ".debug_info") != NULL;
}

/* A separate file that is this one's (same build-id, where there is one) and has DWARF. */
static bool is_debug_file(const char *path, const char *build_id)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct elf_file elf;
	char hex[129];
	bool good;

	if (fd < 0)
		return false;
	good = !elf_file_open(fd, path, ELF_FILE_DEBUG, &elf);
	close(fd);
	if (!good)
		return false;
	hex_of(&elf, hex, sizeof(hex));
	good = has_dwarf(&elf) && !strcmp(hex, build_id);
	elf_file_close(&elf);
	return good;
}

/* "lib.debug" of .gnu_debuglink, beside the file, in .debug there, and under DEBUG_ROOT. */
static bool find_by_link(const struct elf_file *elf, const char *name, const char *build_id,
			 char *path, size_t size)
{
	const Elf64_Shdr *section = elf_file_section_by_name(elf, ".gnu_debuglink");
	const char *slash = strrchr(name, '/'), *link;
	int directory = slash ? (int)(slash - name) + 1 : 0;
	u64 bytes = 0;
	const u8 *table = section ? elf_file_section_bytes(elf, section, &bytes) : NULL;

	link = table ? elf_file_string(table, bytes, 0) : NULL;
	if (!link || !*link || strchr(link, '/'))
		return false;
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			snprintf(path, size, "%.*s%s", directory, name, link);
		else if (i == 1)
			snprintf(path, size, "%.*s.debug/%s", directory, name, link);
		else
			snprintf(path, size, DEBUG_ROOT "%.*s%s", directory, name, link);
		if (is_debug_file(path, build_id))
			return true;
	}
	return false;
}

static bool find_dwarf(const struct elf_file *elf, int fd, const char *name, const char *build_id,
		       char *path, size_t size)
{
	if (has_dwarf(elf)) {
		snprintf(path, size, "/proc/%d/fd/%d", getpid(), fd);
		return true;
	}
	if (strlen(build_id) > 2) {
		snprintf(path, size, DEBUG_ROOT "/.build-id/%.2s/%s.debug", build_id, build_id + 2);
		if (is_debug_file(path, build_id))
			return true;
	}
	return find_by_link(elf, name, build_id, path, size);
}

/* ---- pahole ---- */

/* 0; -ENOENT: there is no pahole; -EIO: it failed. */
static int run_pahole(const char *dwarf, const char *to, const char *option)
{
	char detached[PATH_MAX + 64];
	const char *words[] = {"pahole", detached, option ? option : dwarf, option ? dwarf : NULL,
			       NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int error, status;

	snprintf(detached, sizeof(detached), "--btf_encode_detached=%s", to);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	error = posix_spawnp(&pid, words[0], &actions, NULL, (char **)(uintptr_t)words, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (error)
		return -error;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -EIO;
	}
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

/* With floating types where pahole can: it gives up on complex ones. Then they come as integers with their names. */
static int encode(const char *dwarf, const char *to, const struct problem *problem,
		  const char *name)
{
	static const char *const options[] = {"--btf_gen_floats", NULL, "--btf_encode_force"};
	int error = -EIO;

	for (size_t i = 0; i < ARRAY_SIZE(options) && error == -EIO; i++)
		error = run_pahole(dwarf, to, options[i]);
	if (error == -ENOENT)
		return fail(problem, error,
			    "the types of %s are needed, and pahole, which makes BTF of them, is "
			    "not installed",
			    name);
	if (error)
		return fail(
			problem, error,
			"pahole cannot make BTF of the types of %s (it knows those of C, not all of C++)",
			name);
	return 0;
}

/* Into the cache where there is one, by way of a name of our own: others may do the same. */
static int make_btf(const char *dwarf, const char *name, const char *cached, void **ret_data,
		    size_t *ret_size, const struct problem *problem)
{
	char to[PATH_MAX + 32];
	int fd, error;

	snprintf(to, sizeof(to), "%s.XXXXXX", *cached ? cached : "/tmp/inlay-btf");
	fd = mkstemp(to);
	if (fd < 0 && *cached) {
		cached = "";
		snprintf(to, sizeof(to), "/tmp/inlay-btf.XXXXXX");
		fd = mkstemp(to);
	}
	if (fd < 0)
		return fail(problem, -errno, "%s: %s", to, strerror(errno));
	close(fd);
	error = encode(dwarf, to, problem, name);
	if (!error) {
		error = read_whole(to, ret_data, ret_size);
		if (error)
			fail(problem, error, "pahole made no BTF of the types of %s", name);
	}
	if (error || !*cached || rename(to, cached))
		unlink(to);
	return error;
}

static int read_types(const struct elf_file *elf, int fd, const char *name, void **ret_data,
		      size_t *ret_size, const struct problem *problem)
{
	char build_id[129], directory[PATH_MAX - 256], cached[PATH_MAX] = "", dwarf[PATH_MAX];

	if (!copy_own(elf, ret_data, ret_size))
		return 0;
	hex_of(elf, build_id, sizeof(build_id));
	if (*build_id && cache_directory(directory, sizeof(directory)))
		snprintf(cached, sizeof(cached), "%s/%s.btf", directory, build_id);
	if (*cached && !read_whole(cached, ret_data, ret_size))
		return 0;
	if (!find_dwarf(elf, fd, name, build_id, dwarf, sizeof(dwarf)))
		return fail(problem, -ENOENT,
			    "%s has no types: neither BTF nor DWARF, nor a separate debug file "
			    "(compile it with -g, or install its -dbgsym package)",
			    name);
	return make_btf(dwarf, name, cached, ret_data, ret_size, problem);
}

int btf_dwarf_read(int fd, const char *name, void **ret_data, size_t *ret_size, char *problem_text,
		   size_t problem_size)
{
	struct problem problem = {problem_text, problem_size};
	struct elf_file elf;
	int error = elf_file_open(fd, name, ELF_FILE_PROGRAM, &elf);

	if (error)
		return fail(&problem, error, "%s: %s", name, elf_file_problem());
	error = read_types(&elf, fd, name, ret_data, ret_size, &problem);
	elf_file_close(&elf);
	return error;
}
