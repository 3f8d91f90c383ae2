/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/objects.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "maps/map.h"
#include "object/prog_array.h"

#define HIDDEN_FD_MIN 512
#define CLIENT_FD_MAX 65536

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct object *all;
static bool rows_missing; /* this is a child of fork, and objects have no rows yet */
/* By descriptor number: whose client descriptor it is. A hint for close; recognition goes by inode. Changes under the
 * lock; looked at without, since every close of the program's asks. */
static struct object *clients[CLIENT_FD_MAX];

static const struct {
	int (*import)(struct object *object, int fd);
	void (*release)(struct object *object);
} kinds[OBJECT_KINDS] = {
	[OBJECT_MAP] = {NULL, object_release_map},
	[OBJECT_PROG] = {object_import_program, object_release_program},
	[OBJECT_BTF] = {object_import_btf, object_release_btf},
	[OBJECT_LINK] = {object_import_link, object_release_link},
};

/* The order in which objects_adopt takes them. */
static void lock_at_fork(void)
{
	pthread_mutex_lock(&mutex);
	registry_fork_begin();
}

static void unlock_at_fork(void)
{
	registry_fork_end();
	pthread_mutex_unlock(&mutex);
}

/* The child has the descriptors, but no rows: the parent's may go before it does. */
static void unlock_in_child(void)
{
	for (struct object *object = all; object; object = object->next)
		object->row = -1;
	rows_missing = all != NULL;
	unlock_at_fork();
}

__attribute__((constructor)) static void handle_fork(void)
{
	pthread_atfork(lock_at_fork, unlock_at_fork, unlock_in_child);
}

int objects_hide_fd(int fd)
{
	int hidden = sys_fcntl(fd, F_DUPFD_CLOEXEC, HIDDEN_FD_MIN);

	if (hidden < 0)
		return fd;
	sys_close(fd);
	return hidden;
}

static struct object *client_at(int fd)
{
	return __atomic_load_n(&clients[fd], __ATOMIC_RELAXED);
}

static void set_client(int fd, struct object *object)
{
	__atomic_store_n(&clients[fd], object, __ATOMIC_RELAXED);
}

static void unlink_object(struct object *object)
{
	for (struct object **at = &all; *at; at = &(*at)->next) {
		if (*at == object) {
			*at = object->next;
			return;
		}
	}
}

struct object *objects_ref(struct object *object)
{
	pthread_mutex_lock(&mutex);
	object->refs++;
	pthread_mutex_unlock(&mutex);
	return object;
}

void objects_discard(struct object *object)
{
	kinds[object->kind].release(object);
	/* A map's view owns its descriptors. */
	if (object->kind != OBJECT_MAP)
		sys_close(object->fd);
	free(object);
}

void objects_put(struct object *object)
{
	bool last;

	if (!object)
		return;
	pthread_mutex_lock(&mutex);
	last = !--object->refs;
	if (last)
		unlink_object(object);
	pthread_mutex_unlock(&mutex);
	if (!last)
		return;
	registry_remove(object->row);
	objects_discard(object);
}

/* The number of clients counts as one reference. */
static void add_client(struct object *object, int fd)
{
	if (fd >= CLIENT_FD_MAX || client_at(fd) == object)
		return;
	set_client(fd, object);
	if (!object->clients++)
		object->refs++;
}

static int event_fd_of(const struct object *object)
{
	return object->kind == OBJECT_MAP ? object->map->event_fd : -1;
}

/* What a descriptor refers to; both 0: nothing that could be ours. */
struct identity {
	u64 inode, event_id;
};

static struct identity identity_of(int fd, const struct stat *info)
{
	struct identity identity = {0};

	if (S_ISREG(info->st_mode))
		identity.inode = info->st_ino;
	else if (!(info->st_mode & S_IFMT)) /* an anonymous inode: eventfd, epoll, ... */
		identity.event_id = registry_event_id(fd);
	return identity;
}

static bool is_same(const struct object *object, const struct identity *identity)
{
	return (identity->inode && identity->inode == object->inode) ||
	       (identity->event_id && identity->event_id == object->event_id);
}

/* Another descriptor of the object that the client made without our seeing (dup, fcntl); -1: none. */
static int find_unseen(const struct object *object)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1;

	if (!directory)
		return -1;
	while (found < 0 && (entry = readdir(directory))) {
		int fd = atoi(entry->d_name);
		struct identity identity;
		struct stat info;

		if (entry->d_name[0] == '.' || fd == object->fd || fd == event_fd_of(object) ||
		    fd >= HIDDEN_FD_MIN || fd >= CLIENT_FD_MAX || client_at(fd) ||
		    sys_fstat(fd, &info))
			continue;
		/* Asking what an eventfd is costs an open: only where that can be the answer. */
		if (!S_ISREG(info.st_mode) && !object->event_id)
			continue;
		identity = identity_of(fd, &info);
		if (is_same(object, &identity))
			found = fd;
	}
	closedir(directory);
	return found;
}

void objects_closed(int fd)
{
	struct object *object;
	int unseen;

	if (!objects_is_client(fd))
		return;
	pthread_mutex_lock(&mutex);
	object = client_at(fd);
	set_client(fd, NULL);
	if (object && !--object->clients) {
		/* The descriptor is still open: keep it from being found. */
		set_client(fd, object);
		unseen = find_unseen(object);
		set_client(fd, NULL);
		if (unseen >= 0) {
			set_client(unseen, object);
			object->clients = 1;
			object = NULL;
		}
	} else {
		object = NULL;
	}
	pthread_mutex_unlock(&mutex);
	if (object && object->kind == OBJECT_MAP)
		prog_array_abandoned(object);
	objects_put(object);
}

bool objects_is_client(int fd)
{
	return fd >= 0 && fd < CLIENT_FD_MAX && client_at(fd);
}

int objects_client_fd(struct object *object)
{
	int event_fd = event_fd_of(object);
	int fd = sys_fcntl(event_fd >= 0 ? event_fd : object->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	objects_closed(fd); /* somebody closed that number behind our back */
	pthread_mutex_lock(&mutex);
	add_client(object, fd);
	pthread_mutex_unlock(&mutex);
	return fd;
}

static int enter_row(struct object *object, const char *name)
{
	struct registry_row row = {
		.id = object->id,
		.kind = object->kind,
		.fd = object->fd,
		.event_fd = event_fd_of(object),
		.inode = object->inode,
		.event_id = object->event_id,
	};

	snprintf(row.name, sizeof(row.name), "%s", name);
	return registry_add(&row);
}

void objects_adopt(void)
{
	if (!__atomic_load_n(&rows_missing, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&mutex);
	for (struct object *object = all; rows_missing && object; object = object->next) {
		if (object->row < 0)
			object->row = enter_row(object, "");
	}
	__atomic_store_n(&rows_missing, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&mutex);
}

int objects_enter(struct object *object, int fd, const char *name)
{
	struct stat info;
	int row, error;

	object->fd = fd;
	error = sys_fstat(fd, &info);
	if (error)
		return error;
	object->fd = objects_hide_fd(fd);
	object->inode = info.st_ino;
	object->refs = 1;
	object->row = -1;
	if (object->kind == OBJECT_MAP) {
		object->map->fd = object->fd;
		if (object->map->event_fd >= 0) {
			object->map->event_fd = objects_hide_fd(object->map->event_fd);
			object->event_id = registry_event_id(object->map->event_fd);
		}
	}
	row = enter_row(object, name);
	if (row < 0)
		return row;
	object->row = row;
	pthread_mutex_lock(&mutex);
	object->next = all;
	all = object;
	pthread_mutex_unlock(&mutex);
	return 0;
}

/* What is in this file? Kind and id, or -EINVAL. */
static int identify(int fd, const struct stat *info, enum object_kind *ret_kind, u32 *ret_id)
{
	union {
		u64 magic;
		struct image_header image;
		struct object_header object;
		struct map_shared map;
	} head;

	if (!S_ISREG(info->st_mode) || sys_fcntl(fd, F_GET_SEALS, 0) < 0)
		return -EINVAL;
	if (info->st_size >= 4096 &&
	    sys_pread(fd, &head, sizeof(head.map), (u64)info->st_size - 4096) == sizeof(head.map) &&
	    head.magic == MAP_MAGIC) {
		*ret_kind = OBJECT_MAP;
		*ret_id = head.map.map_id;
		return 0;
	}
	memset(&head, 0, sizeof(head));
	if (sys_pread(fd, &head, sizeof(head.image), 0) < (long)sizeof(head.object))
		return -EINVAL;
	if (head.magic == IMAGE_MAGIC) {
		*ret_kind = OBJECT_PROG;
		*ret_id = head.image.prog_id;
		return 0;
	}
	if (head.magic != OBJECT_MAGIC || head.object.kind >= OBJECT_KINDS)
		return -EINVAL;
	*ret_kind = (enum object_kind)head.object.kind;
	*ret_id = head.object.id;
	return 0;
}

/* Makes an object of memory that another process made. Takes both descriptors. Returns it with one reference. */
static int import(enum object_kind kind, u32 id, int fd, int event_fd, struct object **ret_object)
{
	struct object *object = calloc(1, sizeof(*object));
	int error = object ? 0 : -ENOMEM;

	if (!error) {
		object->kind = kind;
		object->id = id;
		error = kind == OBJECT_MAP ? object_import_map(object, fd, event_fd)
					   : kinds[kind].import(object, fd);
	}
	if (error) {
		free(object);
		sys_close(fd);
		if (event_fd >= 0)
			sys_close(event_fd);
		return error;
	}
	error = objects_enter(object, fd, "");
	if (error) {
		objects_discard(object);
		return error;
	}
	if (kind == OBJECT_MAP)
		prog_array_appeared(object);
	*ret_object = object;
	return 0;
}

/* A ring buffer's pollable descriptor came without its memory: whoever entered it has both. */
static int import_by_event(u64 event_id, struct object **ret_object)
{
	enum object_kind kind;
	int fd, event_fd;
	struct stat info;
	u32 id;

	if (registry_fetch(OBJECT_MAP, 0, event_id, &fd, &event_fd))
		return -EINVAL;
	if (sys_fstat(fd, &info) || identify(fd, &info, &kind, &id) || kind != OBJECT_MAP) {
		sys_close(fd);
		if (event_fd >= 0)
			sys_close(event_fd);
		return -EINVAL;
	}
	return import(kind, id, fd, event_fd, ret_object);
}

static int import_client(int fd, const struct stat *info, u64 event_id, struct object **ret_object)
{
	enum object_kind kind;
	int own, error;
	u32 id;

	if (event_id)
		return import_by_event(event_id, ret_object);
	error = identify(fd, info, &kind, &id);
	if (error)
		return error;
	own = sys_fcntl(fd, F_DUPFD_CLOEXEC, HIDDEN_FD_MIN);
	return own < 0 ? own : import(kind, id, own, -1, ret_object);
}

int objects_get_any(int fd, struct object **ret_object)
{
	struct identity identity;
	struct object *object;
	struct stat info;
	int error;

	if (sys_fstat(fd, &info))
		return -EBADF;
	identity = identity_of(fd, &info);
	pthread_mutex_lock(&mutex);
	for (object = all; object; object = object->next) {
		if (is_same(object, &identity)) {
			object->refs++;
			add_client(object, fd);
			break;
		}
	}
	pthread_mutex_unlock(&mutex);
	if (!object) {
		error = import_client(fd, &info, identity.event_id, &object);
		if (error)
			return error;
		pthread_mutex_lock(&mutex);
		add_client(object, fd);
		pthread_mutex_unlock(&mutex);
	}
	*ret_object = object;
	return 0;
}

int objects_get(enum object_kind kind, int fd, struct object **ret_object)
{
	struct object *object;
	int error = objects_get_any(fd, &object);

	if (error)
		return error;
	if (object->kind != kind) {
		objects_put(object);
		return -EINVAL;
	}
	*ret_object = object;
	return 0;
}

int objects_get_id(enum object_kind kind, u32 id, struct object **ret_object)
{
	int error, fd, event_fd;
	struct object *object;

	if (!id)
		return -ENOENT;
	pthread_mutex_lock(&mutex);
	for (object = all; object; object = object->next) {
		if (object->kind == kind && object->id == id) {
			object->refs++;
			break;
		}
	}
	pthread_mutex_unlock(&mutex);
	if (object) {
		*ret_object = object;
		return 0;
	}
	error = registry_fetch(kind, id, 0, &fd, &event_fd);
	if (!error)
		error = import(kind, id, fd, event_fd, ret_object);
	/* Of another version of inlay, or cut off by its holder's death: clients go on to the next id at this error only. */
	return error == -EINVAL ? -ENOENT : error;
}

int objects_make_memory(const char *name, const struct object_header *header, const void *body)
{
	int fd = sys_memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	long done;

	if (fd < 0)
		return fd;
	done = sys_pwrite(fd, header, sizeof(*header), 0);
	if (done == (long)sizeof(*header) && header->size)
		done = sys_pwrite(fd, body, header->size, sizeof(*header)) == (long)header->size
			       ? done
			       : -ENOMEM;
	if (done != (long)sizeof(*header)) {
		sys_close(fd);
		return -ENOMEM;
	}
	sys_fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	return fd;
}

int objects_map_memory(int fd, const void **ret_memory, size_t *ret_size)
{
	long size = sys_lseek(fd, 0, SEEK_END);
	void *memory;

	if (size <= 0)
		return -EINVAL;
	/* Private: before Linux 6.7 a write-sealed file cannot be mapped shared, not even for reading. */
	memory = sys_mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (sys_is_error(memory))
		return (int)(long)memory;
	*ret_memory = memory;
	*ret_size = (size_t)size;
	return 0;
}
