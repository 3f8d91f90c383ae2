/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/wire.h"
#include "test.h"

static struct wire_message message;

static bool open_pair(int fds[2])
{
	return !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}

static void packet_arrives_with_descriptors(void)
{
	int fds[2], pipe_fds[2];
	char byte = 0;

	CHECK(open_pair(fds) && !pipe(pipe_fds));
	CHECK_EQ(wire_send(fds[0], WIRE_PROG, "twelve bytes", 12, pipe_fds, 2), 0);
	CHECK_EQ(wire_receive(fds[1], -1, 1000, &message), 0);
	CHECK_EQ(message.kind, WIRE_PROG);
	CHECK_EQ(message.size, 12);
	CHECK(!memcmp(message.payload, "twelve bytes", 12));
	CHECK_EQ(message.fd_count, 2);
	CHECK(fcntl(message.fds[0], F_GETFD) & FD_CLOEXEC);
	/* They are the pipe: what goes in at one comes out at the other. */
	CHECK_EQ(write(message.fds[1], "x", 1), 1);
	CHECK_EQ(read(pipe_fds[0], &byte, 1), 1);
	CHECK_EQ(byte, 'x');
	wire_close_fds(&message);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(pipe_fds[i]);
	}
}

static void largest_packet_fits_the_socket_buffer(void)
{
	static u8 payload[WIRE_MAX_PAYLOAD + 1];
	int fds[2];

	CHECK(open_pair(fds));
	memset(payload, 0x5a, sizeof(payload));
	CHECK_EQ(wire_send(fds[0], WIRE_SITES, payload, WIRE_MAX_PAYLOAD, NULL, 0), 0);
	CHECK_EQ(wire_receive(fds[1], -1, 1000, &message), 0);
	CHECK_EQ(message.size, WIRE_MAX_PAYLOAD);
	CHECK(!memcmp(message.payload, payload, WIRE_MAX_PAYLOAD));
	CHECK_EQ(wire_send(fds[0], WIRE_SITES, payload, WIRE_MAX_PAYLOAD + 1, NULL, 0), -EMSGSIZE);
	close(fds[0]);
	close(fds[1]);
}

static void last_packet_is_read_before_the_end(void)
{
	int fds[2];

	CHECK(open_pair(fds));
	CHECK_EQ(wire_send(fds[0], WIRE_REPLY, NULL, 0, NULL, 0), 0);
	close(fds[0]);
	CHECK_EQ(wire_receive(fds[1], -1, 1000, &message), 0);
	CHECK_EQ(message.kind, WIRE_REPLY);
	CHECK_EQ(wire_receive(fds[1], -1, 1000, &message), -EPIPE);
	CHECK_EQ(wire_send(fds[1], WIRE_REPLY, NULL, 0, NULL, 0), -EPIPE);
	close(fds[1]);
}

static void wait_ends_at_its_limit_and_at_the_other_descriptor(void)
{
	int fds[2], pipe_fds[2];

	CHECK(open_pair(fds) && !pipe(pipe_fds));
	CHECK_EQ(wire_receive(fds[1], pipe_fds[0], 10, &message), -ETIMEDOUT);
	CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
	CHECK_EQ(wire_receive(fds[1], pipe_fds[0], 1000, &message), -ESRCH);
	close(fds[0]);
	close(fds[1]);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void foreign_packet_is_refused_and_its_descriptors_closed(void)
{
	struct wire_header lie = {WIRE_REPLY, 100};
	int fds[2];

	CHECK(open_pair(fds));
	CHECK_EQ(send(fds[0], &lie, sizeof(lie), 0), (long)sizeof(lie));
	CHECK_EQ(wire_receive(fds[1], -1, 1000, &message), -EPROTO);
	CHECK_EQ(send(fds[0], "abc", 3, 0), 3);
	CHECK_EQ(wire_receive(fds[1], -1, 1000, &message), -EPROTO);
	CHECK_EQ(message.fd_count, 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	RUN(packet_arrives_with_descriptors);
	RUN(largest_packet_fits_the_socket_buffer);
	RUN(last_packet_is_read_before_the_end);
	RUN(wait_ends_at_its_limit_and_at_the_other_descriptor);
	RUN(foreign_packet_is_refused_and_its_descriptors_closed);
	return test_done();
}
