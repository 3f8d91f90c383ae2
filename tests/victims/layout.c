/* SPDX-License-Identifier: BSD-2-Clause */
/* A program whose struct has other offsets than any probe was compiled with. */
#include <stdint.h>
#include <unistd.h>

enum state { STATE_NEW, STATE_OPEN = 7 };

struct peer {
	char pad[24];
	const char *name;
};

struct conn {
	char added_by_a_later_version[40];
	struct peer *peer;
	uint32_t flags : 3, kind : 5;
	uint32_t id;
	enum state state;
	uint64_t bytes[4];
};

uint64_t handle(struct conn *conn);

__attribute__((noinline, noipa)) uint64_t handle(struct conn *conn)
{
	conn->bytes[2]++;
	return conn->bytes[2] + conn->id;
}

int main(void)
{
	static struct peer peer = {.name = "somebody"};
	static struct conn conn = {
		.peer = &peer, .kind = 19, .id = 4711, .state = STATE_OPEN, .bytes = {0, 0, 1000}};

	for (;;) {
		handle(&conn);
		usleep(1000);
	}
}
