/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/modules.h"

#include "binary/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PAGE	4096ULL
#define DELETED " (deleted)"

/* One line of /proc/PID/maps. */
struct mapping {
	u64 start, end, offset, device, inode;
	bool executable;
	const char *path; /* in the line */
};

static bool parse_mapping(char *line, struct mapping *mapping)
{
	unsigned int major, minor;
	char permissions[8];
	int path = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %x:%x %" SCNu64 " %n",
		   &mapping->start, &mapping->end, permissions, &mapping->offset, &major, &minor,
		   &mapping->inode, &path) != 7)
		return false;
	mapping->device = makedev(major, minor);
	mapping->executable = permissions[2] == 'x';
	mapping->path = path ? line + path : "";
	return true;
}

/* A mapping goes on with a module when it is the same file further on: a second copy starts from a lower offset. */
static bool continues(const struct module *module, u64 last_offset, const struct mapping *mapping)
{
	return module->public.device == mapping->device && module->public.inode == mapping->inode &&
	       mapping->offset >= last_offset;
}

static int begin_module(struct module *module, const struct mapping *mapping)
{
	size_t length = strlen(mapping->path), suffix = sizeof(DELETED) - 1;
	bool deleted = length > suffix && !strcmp(mapping->path + length - suffix, DELETED);

	*module = (struct module){
		.public =
			{
				.start = mapping->start,
				.device = mapping->device,
				.inode = mapping->inode,
				.deleted = deleted,
			},
		.first_start = mapping->start,
		.first_end = mapping->end,
		.first_offset = mapping->offset,
	};
	module->public.path = strndup(mapping->path, deleted ? length - suffix : length);
	return module->public.path ? 0 : -ENOMEM;
}

static void extend_module(struct module *module, const struct mapping *mapping)
{
	struct process_module *public = &module->public;

	public->end = mapping->end;
	if (!mapping->executable)
		return;
	if (!public->text_end) {
		public->text_start = mapping->start;
		module->text_offset = mapping->offset;
	}
	public->text_end = mapping->end;
}

/* Reads all lines into modules, those without code included. */
static int fold_mappings(FILE *file, struct module **modules, size_t *count)
{
	size_t capacity = 0, line_size = 0;
	u64 last_offset = 0;
	char *line = NULL;
	int err = 0;

	while (!err && getline(&line, &line_size, file) > 0) {
		struct mapping mapping;

		if (!parse_mapping(line, &mapping) || !mapping.inode || mapping.path[0] != '/')
			continue;
		if (!*count || !continues(&(*modules)[*count - 1], last_offset, &mapping)) {
			if (*count == capacity) {
				struct module *grown;

				capacity = capacity ? capacity * 2 : 64;
				grown = realloc(*modules, capacity * sizeof(*grown));
				if (!grown) {
					err = -ENOMEM;
					break;
				}
				*modules = grown;
			}
			err = begin_module(&(*modules)[*count], &mapping);
			if (err)
				break;
			(*count)++;
		}
		last_offset = mapping.offset;
		extend_module(&(*modules)[*count - 1], &mapping);
	}
	free(line);
	return err;
}

int modules_open_in_root(pid_t pid, const char *path, int flags)
{
	struct open_how how = {.flags = (u64)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT};
	char root[64];
	int fd, dir;

	snprintf(root, sizeof(root), "/proc/%d/root", pid);
	dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	/* Its absolute symbolic links mean its root, not ours. */
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (fd < 0 && errno == ENOSYS)
		fd = openat(dir, path[0] == '/' ? path + 1 : path, flags | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(dir);
	return fd;
}

static bool is_same_file(int fd, const struct module *module)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_ino == module->public.inode &&
	       st.st_dev == module->public.device;
}

/*
 * On overlay and btrfs neither device nor inode in maps need be what stat gives. There the first page, with headers and
 * build-id, must be the same in the file and in memory.
 */
static bool looks_same(pid_t pid, int fd, const struct module *module)
{
	u8 ours[PAGE], theirs[PAGE];
	char path[64];
	ssize_t size, got;
	int memory;

	if (module->public.deleted || module->first_offset)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	memory = open(path, O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return false;
	size = pread(memory, theirs, sizeof(theirs), (off_t)module->first_start);
	close(memory);
	got = pread(fd, ours, sizeof(ours), 0);
	return got > 0 && size >= got && !memcmp(ours, theirs, (size_t)got);
}

/* By its name, in the target's root or in ours: which of the two maps speaks of depends on mount namespaces. */
static int open_by_path(pid_t pid, const struct module *module)
{
	for (int ours = 0; ours < 2; ours++) {
		int fd = ours ? open(module->public.path, O_RDONLY | O_CLOEXEC)
			      : modules_open_in_root(pid, module->public.path, O_RDONLY);

		if (fd < 0)
			continue;
		if (is_same_file(fd, module) || looks_same(pid, fd, module))
			return fd;
		close(fd);
	}
	return -ENOENT;
}

int modules_open(pid_t pid, const struct module *module)
{
	char path[96];
	int fd;

	/* The link is the mapped file whatever happened to its name, but following it takes a capability. */
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid,
		 module->first_start, module->first_end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (module->public.is_exe) {
		snprintf(path, sizeof(path), "/proc/%d/exe", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return open_by_path(pid, module);
}

static void read_interpreter(int fd, u64 base, struct module_headers *headers)
{
	for (u16 i = 0; i < headers->count; i++) {
		const Elf64_Phdr *segment = &headers->segments[i];
		ssize_t got;

		if (segment->p_type != PT_INTERP)
			continue;
		got = pread(fd, headers->interpreter,
			    MIN(segment->p_filesz, sizeof(headers->interpreter) - 1),
			    (off_t)(base + segment->p_offset));
		headers->interpreter[got > 0 ? got : 0] = '\0';
	}
}

int modules_read_headers(int fd, u64 base, struct module_headers *ret_headers)
{
	Elf64_Ehdr header = {};
	ssize_t got = pread(fd, &header, sizeof(header), (off_t)base);

	*ret_headers = (struct module_headers){};
	if (got < (ssize_t)sizeof(Elf32_Ehdr) || memcmp(header.e_ident, ELFMAG, SELFMAG))
		return -ENOEXEC;
	ret_headers->machine = header.e_machine; /* at the same place in both classes */
	ret_headers->elf_class = header.e_ident[EI_CLASS];
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
		return 0;
	ret_headers->count = (u16)MIN(header.e_phnum, ARRAY_SIZE(ret_headers->segments));
	got = pread(fd, ret_headers->segments, ret_headers->count * sizeof(Elf64_Phdr),
		    (off_t)(base + header.e_phoff));
	ret_headers->count = (u16)(got > 0 ? (size_t)got / sizeof(Elf64_Phdr) : 0);
	read_interpreter(fd, base, ret_headers);
	return 0;
}

/* The bias that puts the file's executable segment where its first executable mapping is. */
static u64 bias_of(const struct module *module, const struct module_headers *headers)
{
	for (u16 i = 0; i < headers->count; i++) {
		const Elf64_Phdr *segment = &headers->segments[i];

		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) &&
		    ALIGN_DOWN(segment->p_offset, PAGE) <= module->text_offset &&
		    module->text_offset < segment->p_offset + segment->p_filesz)
			return module->public.text_start -
			       (segment->p_vaddr - segment->p_offset + module->text_offset);
	}
	return 0;
}

/* Headers from the mapped file, or, when nothing leads to it any more, from memory. -ENOEXEC: it is no ELF file. */
static int read_module_headers(pid_t pid, const struct module *module,
			       struct module_headers *headers)
{
	char path[64];
	u64 base = 0;
	int fd, err;

	fd = modules_open(pid, module);
	if (fd < 0 && !module->first_offset) {
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		base = module->first_start;
	}
	if (fd < 0)
		return -ENOENT;
	err = modules_read_headers(fd, base, headers);
	close(fd);
	return err;
}

static bool is_link_to(const char *link, const char *path)
{
	size_t length = strlen(path);

	return !strncmp(link, path, length) && (!link[length] || !strcmp(link + length, DELETED));
}

/* Marks the module that is the executable: the same file, or the same name where files cannot be compared. */
static void mark_exe(pid_t pid, struct module *modules, size_t count)
{
	char link[64], path[4096] = "";
	struct stat st = {};

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	if (stat(link, &st) || readlink(link, path, sizeof(path) - 1) < 0)
		return;
	for (int by_name = 0; by_name < 2; by_name++) {
		for (size_t i = 0; i < count; i++) {
			struct process_module *public = &modules[i].public;

			if (public->text_end &&
			    (by_name ? is_link_to(path, public->path)
				     : public->inode == st.st_ino && public->device == st.st_dev)) {
				public->is_exe = true;
				return;
			}
		}
	}
}

/* Keeps the modules that have code and are ELF files, with their bias. */
static size_t keep_elf(pid_t pid, struct module *modules, size_t count)
{
	struct module_headers headers;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct module module = modules[i];
		int err = module.public.text_end ? read_module_headers(pid, &module, &headers)
						 : -ENOEXEC;

		/* A file that cannot be reached keeps its row: it is named in an error rather than not found. */
		if (err == -ENOEXEC) {
			free((char *)(uintptr_t)module.public.path);
			continue;
		}
		if (!err) {
			module.public.machine = headers.machine;
			module.public.elf_class = headers.elf_class;
			module.public.bias = bias_of(&module, &headers);
		}
		modules[kept++] = module;
	}
	return kept;
}

int modules_read(pid_t pid, struct module **ret_modules, size_t *ret_count)
{
	struct module *modules = NULL;
	size_t count = 0;
	char path[64];
	FILE *file;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	err = fold_mappings(file, &modules, &count);
	if (!err && ferror(file))
		err = -EACCES;
	fclose(file);
	if (err) {
		modules_free(modules, count);
		return err;
	}
	mark_exe(pid, modules, count);
	*ret_count = keep_elf(pid, modules, count);
	*ret_modules = modules;
	return 0;
}

void modules_free(struct module *modules, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((char *)(uintptr_t)modules[i].public.path);
	free(modules);
}
