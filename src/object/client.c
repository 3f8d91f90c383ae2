/* SPDX-License-Identifier: BSD-2-Clause */
/* What clients do to descriptors besides bpf(2): map them, poll them, close them. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "maps/ringbuf.h"
#include "object/command.h"
#include "object/map.h"
#include "object/object.h"

/* Could the descriptor be a map's at all? Programs map files all the time. */
static bool worth_asking(int fd)
{
	struct stat info;

	if (fd < 0)
		return false;
	if (objects_is_client(fd))
		return true;
	if (sys_fstat(fd, &info) || info.st_nlink)
		return false;
	return (S_ISREG(info.st_mode) && sys_fcntl(fd, F_GET_SEALS, 0) >= 0) ||
	       !(info.st_mode & S_IFMT);
}

/* The kernel's checks on mmap of an array's values. */
static int check_array(const struct map *map, size_t length, int prot, int flags, off_t offset)
{
	u64 size = ALIGN_UP((u64)map->value_stride * map->spec.max_entries, (u64)MAP_PAGE);

	if (map->spec.type != BPF_MAP_TYPE_ARRAY || !(map->spec.flags & BPF_F_MMAPABLE))
		return -ABI_ENOTSUPP;
	if ((flags & MAP_TYPE) != MAP_SHARED && (flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if ((prot & PROT_WRITE) && (map->shared->frozen || (map->spec.flags & BPF_F_RDONLY_PROG)))
		return map->shared->frozen ? -EPERM : -EACCES;
	if ((u64)offset > size || ALIGN_UP(length, (size_t)MAP_PAGE) > size - (u64)offset)
		return -EINVAL;
	return 0;
}

static void *map_values(struct map *map, void *addr, size_t length, int prot, int flags,
			off_t offset)
{
	int error;

	if (map->spec.type == BPF_MAP_TYPE_RINGBUF)
		return ringbuf_client_map(map, addr, length, prot, flags, (u64)offset);
	error = check_array(map, length, prot, flags, offset);
	if (error)
		return ptr_from_u64((u64)error);
	return sys_mmap(addr, length, prot, flags, map->fd, (u64)offset);
}

bool object_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset,
		 void **ret_result)
{
	struct object *object;
	void *result;

	if ((flags & MAP_ANONYMOUS) || !worth_asking(fd) || objects_get(OBJECT_MAP, fd, &object))
		return false;
	result = map_values(object->map, addr, length, prot, flags, offset);
	objects_put(object);
	if (sys_is_error(result)) {
		errno = -(int)(long)result;
		result = MAP_FAILED;
	}
	*ret_result = result;
	return true;
}

/*
 * A ring buffer is polled through its eventfd. Nobody reads that one's count down, as nobody has to with the kernel's, so
 * readiness is by edge: each wake-up of a producer is told once.
 */
bool object_epoll_ctl(int epfd, int op, int fd, void *event, int *ret_result)
{
	struct epoll_event edge;
	int result;

	if (op == EPOLL_CTL_DEL || !objects_is_client(fd) ||
	    user_read(&edge, ptr_to_u64(event), sizeof(edge)))
		return false;
	edge.events |= EPOLLET;
	result = (int)sys_call4(__NR_epoll_ctl, epfd, op, fd, &edge);
	if (result < 0)
		errno = -result;
	*ret_result = result < 0 ? -1 : result;
	return true;
}

void object_close(int fd)
{
	if (objects_is_client(fd))
		objects_closed(fd);
}
