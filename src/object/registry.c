/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "sync/participant.h"

#define REGISTRY_MAGIC 0x79616c6e69520001ull
#define ROWS	       8192
#define LOCK_BYTE      (PARTICIPANT_MAX + 16) /* behind the participants' bytes */
#define ID_MAX	       0x7fffffffu

/* Below PARTICIPANT_FILE_OFFSET; what is there and behind belongs to sync/participant.h. */
struct registry_file {
	u64 magic; /* written last at creation */
	u32 next_id[8];
	struct registry_row rows[ROWS] __attribute__((aligned(64)));
};

_Static_assert(sizeof(struct registry_file) <= PARTICIPANT_FILE_OFFSET,
	       "rows reach into the participants");

static struct {
	pthread_mutex_t
		mutex; /* before the file's lock: that one belongs to the description, not the thread */
	struct registry_file *file;
	int fd;	   /* the participant's description; also carries the file's lock */
	pid_t pid; /* whose state this is: a forked child opens its own */
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static bool directory_is_ours(const char *path)
{
	struct stat info;

	if (mkdir(path, 0700) && errno != EEXIST)
		return false;
	return !lstat(path, &info) && S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
	       !(info.st_mode & 077);
}

static int open_in(const char *directory)
{
	char path[512];
	int fd;

	if (!directory_is_ours(directory))
		return -EACCES;
	if ((size_t)snprintf(path, sizeof(path), "%s/registry", directory) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static int open_file(void)
{
	const char *run = getenv("XDG_RUNTIME_DIR"), *tmp = getenv("TMPDIR"),
		   *own = getenv("INLAY_REGISTRY");
	char directory[400];
	int fd;

	if (own && *own)
		return open_in(own);
	snprintf(directory, sizeof(directory), "/dev/shm/inlay-%u", geteuid());
	fd = open_in(directory);
	if (fd < 0 && run && *run) {
		snprintf(directory, sizeof(directory), "%s/inlay", run);
		fd = open_in(directory);
	}
	if (fd < 0) {
		snprintf(directory, sizeof(directory), "%s/inlay-%u", tmp && *tmp ? tmp : "/tmp",
			 geteuid());
		fd = open_in(directory);
	}
	return fd;
}

static int set_lock(int fd, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = LOCK_BYTE, .l_len = 1};
	int result;

	do {
		result = sys_fcntl(fd, F_OFD_SETLKW, (unsigned long)&lock);
	} while (result == -EINTR);
	return result;
}

static int map_file(int fd, struct registry_file **ret_file)
{
	struct registry_file *file;
	struct stat info;
	int error = sys_fstat(fd, &info);

	if (error)
		return error;
	if (info.st_size < (off_t)sizeof(*file)) {
		/* Reserved now: a write through the mapping must not find the file system full. */
		error = sys_fallocate(fd, 0, 0, sizeof(*file));
		if (error == -EOPNOTSUPP)
			error = sys_ftruncate(fd, sizeof(*file));
	}
	if (error)
		return error;
	file = sys_mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sys_is_error(file))
		return (int)(long)file;
	if (file->magic != REGISTRY_MAGIC) {
		for (size_t i = 0; i < ARRAY_SIZE(file->next_id); i++)
			file->next_id[i] = 1;
		__atomic_store_n(&file->magic, REGISTRY_MAGIC, __ATOMIC_RELEASE);
	}
	*ret_file = file;
	return 0;
}

static int open_locked(void)
{
	struct registry_file *file = NULL;
	int fd, error, id;

	if (state.file && state.pid == getpid())
		return 0;
	if (state.file) {
		/* After fork: the description is shared with the parent, whose index and rows are not ours. */
		sys_munmap(state.file, sizeof(*state.file));
		state.file = NULL;
	}
	fd = open_file();
	if (fd < 0)
		return fd;
	error = set_lock(fd, F_WRLCK);
	if (error)
		goto close_fd;
	error = map_file(fd, &file);
	if (error)
		goto unlock;
	id = participant_join(fd);
	if (id < 0) {
		error = id;
		sys_munmap(file, sizeof(*file));
		goto unlock;
	}
	state.file = file;
	state.fd = fd;
	state.pid = getpid();
	set_lock(fd, F_UNLCK);
	return 0;
unlock:
	set_lock(fd, F_UNLCK);
close_fd:
	sys_close(fd);
	return error;
}

/* Takes both locks. 0 or -errno (then none is held). */
static int lock_registry(void)
{
	int error;

	pthread_mutex_lock(&state.mutex);
	error = open_locked();
	if (!error)
		error = set_lock(state.fd, F_WRLCK);
	if (error)
		pthread_mutex_unlock(&state.mutex);
	return error;
}

static void unlock_registry(void)
{
	set_lock(state.fd, F_UNLCK);
	pthread_mutex_unlock(&state.mutex);
}

void registry_fork_begin(void)
{
	pthread_mutex_lock(&state.mutex);
}

void registry_fork_end(void)
{
	pthread_mutex_unlock(&state.mutex);
}

int registry_open(void)
{
	int error;

	pthread_mutex_lock(&state.mutex);
	error = open_locked();
	pthread_mutex_unlock(&state.mutex);
	return error;
}

int registry_new_id(enum object_kind kind)
{
	int error = lock_registry();
	u32 *next, id;

	if (error)
		return error;
	next = &state.file->next_id[kind];
	id = *next;
	*next = id >= ID_MAX ? 1 : id + 1;
	unlock_registry();
	return (int)id;
}

static bool row_is_alive(const struct registry_row *row)
{
	return row->participant == participant_self() || participant_alive(row->participant);
}

static int free_row(struct registry_file *file)
{
	for (int i = 0; i < ROWS; i++) {
		if (!file->rows[i].id)
			return i;
	}
	for (int i = 0; i < ROWS; i++) {
		if (!row_is_alive(&file->rows[i])) {
			file->rows[i].id = 0;
			return i;
		}
	}
	return -ENOSPC;
}

int registry_add(const struct registry_row *row)
{
	int error = lock_registry();
	struct registry_row *to;
	int index;

	if (error)
		return error;
	index = free_row(state.file);
	if (index >= 0) {
		to = &state.file->rows[index];
		*to = *row;
		to->id = 0;
		to->participant = participant_self();
		to->pid = getpid();
		__atomic_store_n(&to->id, row->id, __ATOMIC_RELEASE);
	}
	unlock_registry();
	return index;
}

void registry_remove(int index)
{
	struct registry_row *row;

	if (index < 0 || lock_registry())
		return;
	row = &state.file->rows[index];
	if (row->participant == participant_self() && row->pid == getpid())
		row->id = 0;
	unlock_registry();
}

u32 registry_next(enum object_kind kind, u32 id)
{
	u32 best;

	if (lock_registry())
		return 0;
	for (;;) {
		struct registry_row *row = NULL;

		for (u32 i = 0; i < ROWS; i++) {
			struct registry_row *each = &state.file->rows[i];

			if (each->id > id && each->kind == kind && (!row || each->id < row->id))
				row = each;
		}
		best = row ? row->id : 0;
		if (!row || row_is_alive(row))
			break;
		row->id = 0;
	}
	unlock_registry();
	return best;
}

bool registry_held_elsewhere(enum object_kind kind, u32 id)
{
	bool held = false;

	if (lock_registry())
		return false;
	for (u32 i = 0; i < ROWS && !held; i++) {
		struct registry_row *row = &state.file->rows[i];

		held = row->id == id && row->kind == kind &&
		       row->participant != participant_self() && row_is_alive(row);
	}
	unlock_registry();
	return held;
}

static bool is_inode(int fd, u64 inode)
{
	struct stat info;

	return !sys_fstat(fd, &info) && info.st_ino == inode;
}

static int fetch_descriptor(s32 pid, s32 fd)
{
	char path[64];
	int pidfd, got;

	pidfd = (int)sys_call2(__NR_pidfd_open, pid, 0);
	if (pidfd >= 0) {
		got = (int)sys_call3(__NR_pidfd_getfd, pidfd, fd, 0);
		sys_close(pidfd);
		if (got >= 0)
			return got;
	}
	/* Where the holder may be read but not attached to (Yama), its memory can still be opened by name. */
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	got = open(path, O_RDWR | O_CLOEXEC);
	if (got < 0 && (errno == EACCES || errno == EPERM))
		got = open(path, O_RDONLY | O_CLOEXEC);
	return got < 0 ? -errno : got;
}

static int fetch_row(const struct registry_row *row, int *ret_fd, int *ret_event_fd)
{
	int fd = fetch_descriptor(row->pid, row->fd), event_fd = -1;

	if (fd < 0)
		return fd == -EPERM || fd == -EACCES ? -EPERM : -ENOENT;
	if (!is_inode(fd, row->inode)) {
		sys_close(fd);
		return -ENOENT;
	}
	if (row->event_fd >= 0) {
		event_fd = fetch_descriptor(row->pid, row->event_fd);
		if (event_fd >= 0 && registry_event_id(event_fd) != row->event_id) {
			sys_close(event_fd);
			event_fd = -1;
		}
	}
	*ret_fd = fd;
	*ret_event_fd = event_fd < 0 ? -1 : event_fd;
	return 0;
}

int registry_fetch(enum object_kind kind, u32 id, u64 event_id, int *ret_fd, int *ret_event_fd)
{
	int error = lock_registry();
	int result = -ENOENT;

	if (error)
		return error;
	for (u32 i = 0; i < ROWS && result; i++) {
		struct registry_row *row = &state.file->rows[i];

		if (!row->id || row->kind != kind ||
		    (id ? row->id != id : row->event_id != event_id))
			continue;
		error = fetch_row(row, ret_fd, ret_event_fd);
		if (!error || error == -EPERM)
			result = error;
		else if (!row_is_alive(row))
			row->id = 0;
	}
	unlock_registry();
	return result;
}

int registry_fd(void)
{
	int error = registry_open();

	return error ? error : open_file();
}

u64 registry_event_id(int fd)
{
	char path[64], text[512];
	const char *found;
	long length;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return 0;
	length = sys_read(info, text, sizeof(text) - 1);
	sys_close(info);
	if (length <= 0)
		return 0;
	text[length] = 0;
	found = strstr(text, "eventfd-id:");
	/* Counted from 0 by the kernel; 0 is "none" here. */
	return found ? strtoull(found + strlen("eventfd-id:"), NULL, 10) + 1 : 0;
}
