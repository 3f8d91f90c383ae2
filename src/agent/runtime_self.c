/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent was loaded from a descriptor that is closed again: what the dynamic linker has for its name leads to nothing, or to a
 * file of the program's. So the control thread keeps the file open in its own table, and the name says where:
 * /proc/PID/task/TID/fd/N, as the program numbers itself.
 */
#include "agent/runtime.h"

#include "base/symbol_name.h"
#include "base/sys.h"

/* The beginning of the dynamic linker's record, as <link.h> has it. */
struct link_map_start {
	u64 bias;
	const char *name;
};

static struct link_map_start *own_map;
static int file = -1;
/* Who reads the old name meanwhile finds it whole. */
static char names[2][96];
static u32 next_name;

void self_set_link_map(u64 link_map)
{
	own_map = ptr_from_u64(link_map);
}

bool self_wants_file(void)
{
	return own_map && file < 0;
}

static char *put_number(char *at, u32 value)
{
	char digits[10];
	u32 count = 0;

	do
		digits[count++] = (char)('0' + value % 10);
	while (value /= 10);
	while (count)
		*at++ = digits[--count];
	return at;
}

void self_set_file(int fd)
{
	char *name = names[next_name++ % 2], *at = symbol_put_text(name, "/proc/", 6);
	/* PID/task/TID */
	long length = sys_call3(__NR_readlink, "/proc/thread-self", at, 40);

	if (length <= 0 || length == 40) {
		sys_close(fd);
		return;
	}
	file = fd;
	at = symbol_put_text(at + length, "/fd/", 4);
	*put_number(at, (u32)fd) = 0;
	__atomic_store_n(&own_map->name, name, __ATOMIC_RELEASE);
}

void self_close(void)
{
	if (file >= 0)
		sys_close(file);
	file = -1;
}
