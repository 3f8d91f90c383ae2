/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The functions by which BPF clients reach the kernel, defined in front of libc's. Linked into the inlay executable, where
 * they catch libbpf's calls, and into the library that `inlay run` preloads into unmodified tools.
 *
 * Everything that is not about our objects goes on to the kernel unchanged, with libc's conventions (-1 and errno).
 */
/* mmap and mmap64 are two symbols to be defined here, not one function under two names. */
#undef _FILE_OFFSET_BITS

#include <errno.h>
#include <stdarg.h>
#include <sys/types.h>

#include "base/sys.h"
#include "object/object.h"

#define EXPORTED __attribute__((visibility("default")))

/* libc's own close under its internal name: ours must stay a cancellation point. */
extern int __close(int fd);

EXPORTED long syscall(long number, ...);
EXPORTED void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
EXPORTED void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
struct epoll_event;
EXPORTED int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
EXPORTED int close(int fd);

static long libc_result(long result)
{
	if (result >= 0 || result < -4095)
		return result;
	errno = -(int)result;
	return -1;
}

EXPORTED long syscall(long number, ...)
{
	long args[6];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = va_arg(list, long);
	va_end(list);
	switch (number) {
	case __NR_bpf:
		return libc_result(object_bpf((int)args[0], ptr_from_u64((u64)args[1]),
					      (unsigned int)args[2]));
	case __NR_perf_event_open:
		/* The kernel's events and ours do not mix: clients fall back to what they do without. */
		errno = EOPNOTSUPP;
		return -1;
	case __NR_close:
		object_close((int)args[0]);
		break;
	default:
		break;
	}
	return libc_result(sys_call6(number, args[0], args[1], args[2], args[3], args[4], args[5]));
}

EXPORTED void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	void *result;

	if (fd >= 0 && object_mmap(addr, length, prot, flags, fd, offset, &result))
		return result;
	return ptr_from_u64(
		(u64)libc_result((long)sys_mmap(addr, length, prot, flags, fd, (u64)offset)));
}

EXPORTED void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return mmap(addr, length, prot, flags, fd, offset);
}

EXPORTED int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	int result;

	if (object_epoll_ctl(epfd, op, fd, event, &result))
		return result;
	return (int)libc_result(sys_call4(__NR_epoll_ctl, epfd, op, fd, event));
}

EXPORTED int close(int fd)
{
	object_close(fd);
	return __close(fd);
}
