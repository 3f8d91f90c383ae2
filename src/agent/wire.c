/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/wire.h"

#include <poll.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/sys.h"

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int) * WIRE_MAX_FDS)];
};

int wire_send(int fd, u32 kind, const void *payload, u32 size, const int *fds, u32 fd_count)
{
	struct wire_header header = {kind, size};
	struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)payload, size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = size ? 2 : 1};
	union control control;
	long sent;

	if (size > WIRE_MAX_PAYLOAD || fd_count > WIRE_MAX_FDS)
		return -EMSGSIZE;
	if (fd_count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		mem_copy(CMSG_DATA(&control.header), fds, sizeof(int) * fd_count);
	}
	do
		sent = sys_sendmsg(fd, &message, MSG_NOSIGNAL);
	while (sent == -EINTR);
	if (sent == -ECONNRESET)
		return -EPIPE;
	return sent < 0 ? (int)sent : 0;
}

static int wait_readable(int fd, int other_fd, int timeout_ms)
{
	struct pollfd polls[2] = {{.fd = fd, .events = POLLIN}, {.fd = other_fd, .events = POLLIN}};
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	int ready;

	do
		ready = sys_ppoll(polls, other_fd < 0 ? 1 : 2, timeout_ms < 0 ? NULL : &timeout);
	while (ready == -EINTR);
	if (ready <= 0)
		return ready ? ready : -ETIMEDOUT;
	/* A packet that was sent before the end is still read. */
	return polls[0].revents & POLLIN ? 0 : polls[0].revents ? -EPIPE : -ESRCH;
}

static void take_fds(struct wire_message *message, const struct msghdr *raw,
		     const union control *control)
{
	u32 count;

	message->fd_count = 0;
	for (u32 i = 0; i < WIRE_MAX_FDS; i++)
		message->fds[i] = -1;
	if (raw->msg_controllen < sizeof(struct cmsghdr) ||
	    control->header.cmsg_level != SOL_SOCKET || control->header.cmsg_type != SCM_RIGHTS)
		return;
	count = (u32)((control->header.cmsg_len - CMSG_LEN(0)) / sizeof(int));
	message->fd_count = MIN(count, (u32)WIRE_MAX_FDS);
	mem_copy(message->fds, CMSG_DATA(&control->header), sizeof(int) * message->fd_count);
}

int wire_receive(int fd, int other_fd, int timeout_ms, struct wire_message *message)
{
	struct wire_header header;
	struct iovec parts[2] = {{&header, sizeof(header)}, {message->payload, WIRE_MAX_PAYLOAD}};
	union control control;
	struct msghdr raw = {.msg_iov = parts,
			     .msg_iovlen = 2,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	long got;
	int error;

	message->fd_count = 0;
	error = wait_readable(fd, other_fd, timeout_ms);
	if (error)
		return error;
	do
		got = sys_recvmsg(fd, &raw, MSG_CMSG_CLOEXEC);
	while (got == -EINTR);
	if (got == 0 || got == -ECONNRESET)
		return -EPIPE;
	if (got < 0)
		return (int)got;
	take_fds(message, &raw, &control);
	if (got < (long)sizeof(header) || header.size != (u64)got - sizeof(header)) {
		wire_close_fds(message);
		return -EPROTO;
	}
	message->kind = header.kind;
	message->size = header.size;
	return 0;
}

void wire_close_fds(struct wire_message *message)
{
	for (u32 i = 0; i < message->fd_count; i++) {
		if (message->fds[i] >= 0)
			sys_close(message->fds[i]);
		message->fds[i] = -1;
	}
	message->fd_count = 0;
}
