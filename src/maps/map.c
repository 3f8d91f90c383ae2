// SPDX-License-Identifier: BSD-2-Clause
#include "maps/map.h"

#include <sys/resource.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"
#include "maps/map_types.h"
#include "sync/percpu.h"

#define NAME_PREFIX "inlay:map:"

/* A map larger than this is refused before the kernel is asked for the memory. */
#define DATA_SIZE_MAX (1ull << 40)
/* Above this the memory that is left is looked at first. */
#define LARGE (16ull << 20)

_Static_assert(sizeof(struct map_shared) <= MAP_PAGE, "the trailer is one page");

u32 map_value_bytes(const struct map *map)
{
	bool percpu = map->ops->type == BPF_MAP_TYPE_PERCPU_ARRAY ||
		      map->ops->type == BPF_MAP_TYPE_PERCPU_HASH;

	return percpu ? map->value_stride * map->cpus : map->spec.value_size;
}

/* "inlay:map:NAME", which /proc/PID/maps then shows. */
static int make_memfd(const struct map_spec *spec)
{
	char name[sizeof(NAME_PREFIX) + BPF_OBJ_NAME_LEN] = NAME_PREFIX;
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd;

	mem_copy(name + sizeof(NAME_PREFIX) - 1, spec->name, BPF_OBJ_NAME_LEN);
	name[sizeof(NAME_PREFIX) - 1 + BPF_OBJ_NAME_LEN - 1] = '\0';
	fd = sys_memfd_create(name, flags | MFD_NOEXEC_SEAL);
	return fd == -EINVAL ? sys_memfd_create(name, flags) : fd;
}

/* The number after "MemAvailable:" in /proc/meminfo, in bytes; all there could be where it cannot be read. */
static u64 memory_available(void)
{
	static const char label[] = "MemAvailable:";
	char text[512];
	u64 kilobytes = 0;
	long size, at;
	int fd = sys_openat(AT_FDCWD, "/proc/meminfo", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return UINT64_MAX;
	size = sys_read(fd, text, sizeof(text));
	sys_close(fd);
	for (at = 0; at + (long)sizeof(label) < size; at++) {
		if (mem_equal(text + at, label, sizeof(label) - 1))
			break;
	}
	if (at + (long)sizeof(label) >= size)
		return UINT64_MAX;
	for (at += (long)sizeof(label) - 1; at < size && text[at] == ' '; at++)
		;
	for (; at < size && text[at] >= '0' && text[at] <= '9'; at++)
		kilobytes = kilobytes * 10 + (u64)(text[at] - '0');
	return kilobytes << 10;
}

/*
 * Would reserving do harm? A memfd has no size limit of its own: without this an absurd max_entries meets the OOM
 * killer rather than -ENOMEM, and one over RLIMIT_FSIZE SIGXFSZ.
 */
static bool too_large(u64 size)
{
	u64 limit[2] = {UINT64_MAX, UINT64_MAX};

	if (size > DATA_SIZE_MAX)
		return true;
	sys_call4(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, limit);
	if (size > limit[0])
		return true;
	return size > LARGE && size > memory_available() / 4 * 3;
}

/* Reserves every page now: a hit must never meet a full file system. */
static int reserve(int fd, u64 size)
{
	int error = sys_ftruncate(fd, size);

	if (!error)
		error = sys_fallocate(fd, 0, 0, size);
	if (!error)
		error = sys_fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	return error == -ENOSPC || error == -EFBIG ? -ENOMEM : error;
}

/* Maps the whole file, data and trailer, into a new view that does not own fd yet. */
static int make_view(int fd, const struct map_ops *ops, const struct map_shared *like,
		     struct map **ret_map)
{
	u64 data_size = like->data_size;
	struct map *map = arena_alloc(sizeof(*map));

	if (!map)
		return -ENOMEM;
	map->data = sys_mmap(NULL, data_size + MAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sys_is_error(map->data)) {
		arena_free(map);
		return -ENOMEM;
	}
	map->ops = ops;
	map->data_size = data_size;
	map->shared = (struct map_shared *)(map->data + data_size);
	map->spec = like->spec;
	map->cpus = like->cpus;
	map->value_stride = map_stride(&like->spec);
	map->fd = -1;
	map->event_fd = -1;
	*ret_map = map;
	return 0;
}

static void free_view(struct map *map)
{
	sys_munmap(map->data, map->data_size + MAP_PAGE);
	arena_free(map);
}

static int fill(struct map *map, const struct map_shared *trailer)
{
	int error;

	*map->shared = *trailer;
	error = map->ops->init ? map->ops->init(map) : 0;
	if (!error && map->ops->open)
		error = map->ops->open(map);
	if (!error)
		__atomic_store_n(&map->shared->magic, MAP_MAGIC, __ATOMIC_RELEASE);
	return error;
}

/* Ring buffers are polled by an eventfd, since a memfd cannot be. -1 for other types, or -errno. */
static int make_event_fd(u32 type)
{
	return type == BPF_MAP_TYPE_RINGBUF ? sys_eventfd2(0, O_CLOEXEC | O_NONBLOCK) : -1;
}

int map_create(const struct map_spec *spec, u32 map_id, struct map **ret_map)
{
	const struct map_ops *ops = map_ops_of(spec->type);
	struct map_shared trailer = {
		.spec = *spec,
		.map_id = map_id,
		.cpus = percpu_count(),
		.owner_uid = (u32)sys_call0(__NR_getuid),
	};
	struct map *map;
	int fd, event_fd, error;

	if (!ops)
		return -EINVAL;
	error = ops->check(spec);
	if (error)
		return error;
	trailer.data_size = ALIGN_UP(ops->data_size(spec, trailer.cpus), (u64)MAP_PAGE);
	if (too_large(trailer.data_size + MAP_PAGE))
		return -ENOMEM;
	fd = make_memfd(spec);
	if (fd < 0)
		return fd;
	error = reserve(fd, trailer.data_size + MAP_PAGE);
	if (error)
		goto close_fd;
	event_fd = make_event_fd(spec->type);
	if (event_fd < -1) {
		error = event_fd;
		goto close_fd;
	}
	error = make_view(fd, ops, &trailer, &map);
	if (error)
		goto close_event_fd;
	map->fd = fd;
	map->event_fd = event_fd;
	error = fill(map, &trailer);
	if (error)
		goto free_map;
	*ret_map = map;
	return 0;

free_map:
	free_view(map);
close_event_fd:
	if (event_fd >= 0)
		sys_close(event_fd);
close_fd:
	sys_close(fd);
	return error;
}

/* The file is sealed, whole, and its trailer describes it. */
static int read_trailer(int fd, struct map_shared *ret_copy)
{
	s64 size = sys_lseek(fd, 0, SEEK_END);
	int seals = sys_fcntl(fd, F_GET_SEALS, 0);

	if (size < (s64)MAP_PAGE || size % MAP_PAGE || seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EINVAL;
	if (sys_pread(fd, ret_copy, sizeof(*ret_copy), (u64)size - MAP_PAGE) != sizeof(*ret_copy))
		return -EINVAL;
	if (ret_copy->magic != MAP_MAGIC || ret_copy->data_size + MAP_PAGE != (u64)size)
		return -EINVAL;
	return 0;
}

int map_open(int fd, int event_fd, struct map **ret_map)
{
	struct map_shared copy;
	const struct map_ops *ops;
	struct map *map;
	int error;

	error = read_trailer(fd, &copy);
	if (error)
		return error;
	ops = map_ops_of(copy.spec.type);
	if (!ops || ops->check(&copy.spec) || !copy.cpus || copy.cpus > PERCPU_MAX ||
	    ALIGN_UP(ops->data_size(&copy.spec, copy.cpus), (u64)MAP_PAGE) != copy.data_size)
		return -EINVAL;
	error = make_view(fd, ops, &copy, &map);
	if (error)
		return error;
	map->fd = fd;
	map->event_fd = event_fd;
	error = ops->open ? ops->open(map) : 0;
	if (error) {
		free_view(map);
		return error;
	}
	*ret_map = map;
	return 0;
}

void map_close(struct map *map)
{
	if (!map)
		return;
	if (map->ops->close)
		map->ops->close(map);
	if (map->event_fd >= 0)
		sys_close(map->event_fd);
	if (map->fd >= 0)
		sys_close(map->fd);
	free_view(map);
}
