/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/process.h"

#include "binary/elf_file.h"
#include "binary/modules.h"
#include "binary/status.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_IFUNC_SLOTS 8

/* A file's analysis, shared by the processes that map it. */
struct analysis {
	struct analysis *next;
	struct stat file;
	struct binary *binary;
	u32 users;
};

struct opened {
	u64 device, inode;
	struct analysis *analysis;
};

static pthread_mutex_t analyses_lock = PTHREAD_MUTEX_INITIALIZER;
static struct analysis *analyses;

struct process {
	pid_t pid;
	struct process_facts facts;
	struct module *modules;
	struct process_module *rows; /* what callers see: modules[i].public */
	size_t count;
	struct opened *opened;
	size_t opened_count;
};

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int make_analysis(int fd, const char *name, const struct stat *file,
			 struct analysis **ret_analysis)
{
	struct analysis *analysis = calloc(1, sizeof(*analysis));
	int err;

	if (!analysis)
		return -ENOMEM;
	err = binary_open(fd, name, &analysis->binary);
	if (err) {
		free(analysis);
		return err;
	}
	analysis->file = *file;
	analysis->next = analyses;
	analyses = analysis;
	*ret_analysis = analysis;
	return 0;
}

static int get_analysis(int fd, const char *name, struct analysis **ret_analysis)
{
	struct analysis *analysis;
	struct stat file;
	int err = 0;

	if (fstat(fd, &file))
		return -errno;
	pthread_mutex_lock(&analyses_lock);
	analysis = analyses;
	while (analysis && !is_same_file(&analysis->file, &file))
		analysis = analysis->next;
	if (!analysis)
		err = make_analysis(fd, name, &file, &analysis);
	if (analysis) {
		analysis->users++;
		*ret_analysis = analysis;
	}
	pthread_mutex_unlock(&analyses_lock);
	return err;
}

static void put_analysis(struct analysis *analysis)
{
	struct analysis **at = &analyses;

	pthread_mutex_lock(&analyses_lock);
	if (!--analysis->users) {
		while (*at != analysis)
			at = &(*at)->next;
		*at = analysis->next;
		binary_close(analysis->binary);
		free(analysis);
	}
	pthread_mutex_unlock(&analyses_lock);
}

const char *process_problem(void)
{
	return elf_file_problem();
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "libc.so.6", "libc-2.31.so" for stem "libc". */
static bool has_stem(const char *base, const char *stem)
{
	size_t length = strlen(stem);
	const char *rest = base + length;

	return !strncmp(base, stem, length) &&
	       (!strncmp(rest, ".so", 3) || (rest[0] == '-' && strstr(rest, ".so")));
}

/* Class, machine and interpreter of the executable, from the file itself. */
static int read_exe(struct process *process)
{
	struct process_facts *facts = &process->facts;
	struct module_headers headers;
	char path[64];
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/exe", process->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		if (err == -ENOENT)
			elf_file_set_problem("process %d is a kernel thread or has exited",
					     process->pid);
		else
			elf_file_set_problem("process %d belongs to user %u: %s", process->pid,
					     facts->uid, strerror(-err));
		return err == -ENOENT ? -ESRCH : err == -EPERM ? -EACCES : err;
	}
	err = modules_read_headers(fd, 0, &headers);
	close(fd);
	if (err) {
		elf_file_set_problem("the executable of process %d is not an ELF file",
				     process->pid);
		return err;
	}
	facts->elf_class = headers.elf_class;
	facts->machine = headers.machine;
	facts->is_musl = strstr(headers.interpreter, "/ld-musl-") != NULL;
	/* A 32-bit file's headers are not read, so nothing is known of its interpreter. */
	facts->is_static = headers.elf_class == ELFCLASS64 && !headers.interpreter[0];
	return 0;
}

static void name_modules(struct process *process)
{
	struct process_facts *facts = &process->facts;

	facts->exe = facts->libc = facts->interpreter = NULL;
	for (size_t i = 0; i < process->count; i++) {
		const struct process_module *row = &process->rows[i];
		const char *base = base_name(process->modules[i].public.path);

		process->rows[i] = process->modules[i].public;
		if (row->is_exe)
			facts->exe = row;
		else if (!facts->libc && has_stem(base, "libc"))
			facts->libc = row;
		else if (!facts->interpreter &&
			 (!strncmp(base, "ld-", 3) || !strncmp(base, "ld.so", 5)))
			facts->interpreter = row;
	}
	/* Started as `ld.so program`: the executable is ld.so, and has no interpreter of its own. */
	if (facts->libc)
		facts->is_static = false;
}

static int take_snapshot(struct process *process)
{
	struct module *modules = NULL;
	struct process_module *rows;
	size_t count = 0;
	int err;

	err = modules_read(process->pid, &modules, &count);
	if (err) {
		elf_file_set_problem(err == -ESRCH ? "process %d has exited"
						   : "the mappings of process %d cannot be read",
				     process->pid);
		return err == -EPERM ? -EACCES : err;
	}
	rows = calloc(count + 1, sizeof(*rows));
	if (!rows) {
		modules_free(modules, count);
		return -ENOMEM;
	}
	modules_free(process->modules, process->count);
	free(process->rows);
	process->modules = modules;
	process->rows = rows;
	process->count = count;
	name_modules(process);
	return 0;
}

int process_open(pid_t pid, struct process **ret_process)
{
	struct process *process = calloc(1, sizeof(*process));
	int err;

	if (!process)
		return -ENOMEM;
	process->pid = pid;
	err = status_read(pid, &process->facts);
	if (!err)
		err = read_exe(process);
	if (!err)
		err = take_snapshot(process);
	if (err) {
		process_close(process);
		return err;
	}
	*ret_process = process;
	return 0;
}

void process_close(struct process *process)
{
	if (!process)
		return;
	for (size_t i = 0; i < process->opened_count; i++)
		put_analysis(process->opened[i].analysis);
	free(process->opened);
	free(process->rows);
	modules_free(process->modules, process->count);
	free(process);
}

int process_refresh(struct process *process)
{
	return take_snapshot(process);
}

const struct process_facts *process_facts(const struct process *process)
{
	return &process->facts;
}

const struct process_module *process_modules(const struct process *process, size_t *ret_count)
{
	*ret_count = process->count;
	return process->rows;
}

static const struct process_module *find_by_file(const struct process *process,
						 const struct stat *st)
{
	for (size_t i = 0; i < process->count; i++) {
		if (process->rows[i].inode == st->st_ino && process->rows[i].device == st->st_dev)
			return &process->rows[i];
	}
	return NULL;
}

/* A name with a slash: the path as the target knows it, then what that path leads to there, then here. */
static const struct process_module *find_by_path(const struct process *process, const char *path)
{
	const struct process_module *module = NULL;
	struct stat st;
	int fd;

	for (size_t i = 0; i < process->count; i++) {
		if (!strcmp(process->rows[i].path, path))
			return &process->rows[i];
	}
	fd = path[0] == '/' ? modules_open_in_root(process->pid, path, O_PATH) : -ENOENT;
	if (fd >= 0) {
		if (!fstat(fd, &st))
			module = find_by_file(process, &st);
		close(fd);
	}
	if (!module && !stat(path, &st))
		module = find_by_file(process, &st);
	return module;
}

static const struct process_module *find_by_base(const struct process *process, const char *name)
{
	for (size_t i = 0; i < process->count; i++) {
		if (!strcmp(base_name(process->rows[i].path), name))
			return &process->rows[i];
	}
	for (size_t i = 0; i < process->count; i++) {
		if (has_stem(base_name(process->rows[i].path), name))
			return &process->rows[i];
	}
	return NULL;
}

const struct process_module *process_find_module(const struct process *process, const char *name)
{
	const struct process_module *module;

	if (!*name || !strcmp(name, "exe") || !strcmp(name, "/proc/self/exe"))
		module = process->facts.exe;
	else if (strchr(name, '/'))
		module = find_by_path(process, name);
	else
		module = find_by_base(process, name);
	if (!module)
		elf_file_set_problem("process %d does not map %s", process->pid,
				     *name ? name : "its executable");
	return module;
}

const struct process_module *process_module_at(const struct process *process, u64 address)
{
	for (size_t i = 0; i < process->count; i++) {
		if (address >= process->rows[i].start && address < process->rows[i].end)
			return &process->rows[i];
	}
	return NULL;
}

int process_open_module(const struct process *process, const struct process_module *module)
{
	int fd = modules_open(process->pid, &process->modules[module - process->rows]);

	if (fd < 0)
		elf_file_set_problem(
			"%s of process %d was replaced or deleted and cannot be opened: %s",
			module->path, process->pid, strerror(-fd));
	return fd;
}

int process_binary(struct process *process, const struct process_module *module,
		   struct binary **ret_binary)
{
	struct analysis *analysis = NULL;
	struct opened *opened;
	int fd, err;

	for (size_t i = 0; i < process->opened_count; i++) {
		opened = &process->opened[i];
		if (opened->device == module->device && opened->inode == module->inode) {
			*ret_binary = opened->analysis->binary;
			return 0;
		}
	}
	opened = realloc(process->opened, (process->opened_count + 1) * sizeof(*opened));
	if (!opened)
		return -ENOMEM;
	process->opened = opened;
	fd = process_open_module(process, module);
	if (fd < 0)
		return fd;
	err = get_analysis(fd, module->path, &analysis);
	close(fd);
	if (!analysis)
		return err;
	opened[process->opened_count++] = (struct opened){module->device, module->inode, analysis};
	*ret_binary = analysis->binary;
	return 0;
}

int process_resolve_ifunc(struct process *process, const struct process_module *module,
			  const struct binary_function *function, u64 *ret_address)
{
	u64 slots[MAX_IFUNC_SLOTS];
	struct binary *binary;
	size_t count;
	int err;

	err = process_binary(process, module, &binary);
	if (err)
		return err;
	count = binary_ifunc_slots(binary, function->address, slots, ARRAY_SIZE(slots));
	for (size_t i = 0; i < count; i++) {
		const struct process_module *where;
		u64 address;

		if (process_read(process, slots[i] + module->bias, &address, sizeof(address)))
			continue;
		where = process_module_at(process, address);
		/* Not resolved yet, it still holds the resolver's address or that of a linkage stub. */
		if (where && address >= where->text_start && address < where->text_end &&
		    address != function->address + module->bias) {
			*ret_address = address;
			return 0;
		}
	}
	elf_file_set_problem("which implementation of %s process %d uses is not in its tables",
			     function->name, process->pid);
	return -ENOENT;
}

int process_find_function(struct process *process, const struct process_module *module,
			  const char *name, u64 *ret_address)
{
	const struct binary_function *function;
	struct binary *binary;
	int err;

	err = process_binary(process, module, &binary);
	if (err)
		return err;
	function = binary_find(binary, name);
	if (!function) {
		elf_file_set_problem("%s has no function %s", module->path, name);
		return -ENOENT;
	}
	if (function->is_ifunc)
		return process_resolve_ifunc(process, module, function, ret_address);
	*ret_address = function->address + module->bias;
	return 0;
}

int process_offset_to_address(struct process *process, const struct process_module *module,
			      u64 file_offset, u64 *ret_address)
{
	struct binary *binary;
	u64 address;
	int err;

	err = process_binary(process, module, &binary);
	if (err)
		return err;
	err = binary_offset_to_address(binary, file_offset, &address);
	address = err ? 0 : address + module->bias;
	if (err || address < module->text_start || address >= module->text_end) {
		elf_file_set_problem("offset 0x%llx of %s is not mapped as code",
				     (unsigned long long)file_offset, module->path);
		return -ENOENT;
	}
	*ret_address = address;
	return 0;
}

/* For processes whose memory may not be read by the system call but through the file (or the other way round). */
static int read_through_file(const struct process *process, u64 address, void *to, size_t size)
{
	char path[64];
	ssize_t got;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/mem", process->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = pread(fd, to, size, (off_t)address);
	err = got == (ssize_t)size ? 0 : got < 0 && errno != EIO ? -errno : -EFAULT;
	close(fd);
	return err;
}

int process_read(const struct process *process, u64 address, void *to, size_t size)
{
	struct iovec local = {.iov_base = to, .iov_len = size};
	struct iovec remote = {.iov_base = ptr_from_u64(address), .iov_len = size};
	ssize_t got = process_vm_readv(process->pid, &local, 1, &remote, 1, 0);

	return got == (ssize_t)size ? 0 : read_through_file(process, address, to, size);
}
