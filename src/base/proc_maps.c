/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/proc_maps.h"

#include "base/sys.h"

int proc_maps_open(struct proc_maps *maps)
{
	maps->at = 0;
	maps->filled = 0;
	maps->fd = sys_openat(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	return maps->fd < 0 ? maps->fd : 0;
}

void proc_maps_close(struct proc_maps *maps)
{
	sys_close(maps->fd);
}

static int next_char(struct proc_maps *maps)
{
	if (maps->at == maps->filled) {
		long got = sys_read(maps->fd, maps->buffer, sizeof(maps->buffer));

		if (got <= 0)
			return -1;
		maps->at = 0;
		maps->filled = (u32)got;
	}
	return (u8)maps->buffer[maps->at++];
}

/* Returns the character behind the number, -1 at the end. */
static int read_hex(struct proc_maps *maps, u64 *ret_value)
{
	u64 value = 0;

	for (;;) {
		int c = next_char(maps);

		if (c >= '0' && c <= '9') {
			value = value << 4 | (u64)(c - '0');
		} else if (c >= 'a' && c <= 'f') {
			value = value << 4 | (u64)(c - 'a' + 10);
		} else {
			*ret_value = value;
			return c;
		}
	}
}

static int read_decimal(struct proc_maps *maps, u64 *ret_value)
{
	u64 value = 0;

	for (;;) {
		int c = next_char(maps);

		if (c < '0' || c > '9') {
			*ret_value = value;
			return c;
		}
		value = value * 10 + (u64)(c - '0');
	}
}

/* "offset major:minor inode". Returns the character behind. */
static int read_file(struct proc_maps *maps, struct proc_mapping *mapping)
{
	u64 major, minor;

	next_char(maps);
	read_hex(maps, &mapping->offset);
	read_hex(maps, &major);
	read_hex(maps, &minor);
	mapping->device = major << 32 | minor;
	return read_decimal(maps, &mapping->inode);
}

/* The rest of a line, c being its first character. */
static void read_name(struct proc_maps *maps, struct proc_mapping *mapping, int c)
{
	u32 length = 0;

	while (c == ' ')
		c = next_char(maps);
	for (; c >= 0 && c != '\n'; c = next_char(maps)) {
		if (length + 1 < sizeof(mapping->name))
			mapping->name[length++] = (char)c;
	}
	mapping->name[length] = 0;
}

bool proc_maps_next(struct proc_maps *maps, struct proc_mapping *mapping)
{
	if (read_hex(maps, &mapping->start) != '-' || read_hex(maps, &mapping->end) != ' ')
		return false;
	mapping->readable = next_char(maps) == 'r';
	mapping->writable = next_char(maps) == 'w';
	mapping->executable = next_char(maps) == 'x';
	mapping->shared = next_char(maps) == 's';
	read_name(maps, mapping, read_file(maps, mapping));
	return true;
}
