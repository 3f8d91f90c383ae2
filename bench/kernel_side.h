/* SPDX-License-Identifier: BSD-2-Clause */
/* What benches share that run one object here and in the kernel. */
#ifndef INLAY_BENCH_KERNEL_SIDE_H
#define INLAY_BENCH_KERNEL_SIDE_H

#include <bpf/libbpf.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int kernel_side_receive(int from)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	int fd;

	if (recvmsg(from, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/*
 * Has another program load the object into the kernel, since this one's bpf(2) is ours. It stays until this one ends: prog arrays
 * are emptied when nobody has them open.
 */
static inline bool kernel_side_load(const char *loader, const char *path, struct bpf_object *object,
				    void (*keep)(const char *name, int fd))
{
	struct bpf_program *each;
	bool complete = true;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return false;
	if (!fork()) {
		dup2(ends[1], 3);
		execl(loader, loader, path, NULL);
		_exit(127);
	}
	close(ends[1]);
	bpf_object__for_each_program(each, object)
	{
		int fd = kernel_side_receive(ends[0]);

		keep(bpf_program__name(each), fd);
		complete = complete && fd >= 0;
	}
	return complete;
}

#endif
