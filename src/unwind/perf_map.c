// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/perf_map.h"

#include <errno.h>
#include <fcntl.h>

#include "base/arena.h"
#include "base/code_map.h"
#include "base/symbol_name.h"
#include "base/sys.h"
#include "base/text.h"

#define FIXED_PART 40 /* of a line: two numbers, blanks, the line's end */

/* A line of before. The record of its range may be gone. */
struct line {
	const struct code_range *range;
	u64 start;
};

static u32 users;
static int fd = -1;
static bool ours;
static char path[32];
/* In a file that others write as well: what is in it already. Sorted. */
static struct line *written;
static u32 written_count;

static void spell_path(void)
{
	char digits[10], *at = symbol_put_text(path, "/tmp/perf-", sizeof(path));
	u32 pid = (u32)sys_getpid(), count = 0;

	do
		digits[count++] = (char)('0' + pid % 10);
	while (pid /= 10);
	while (count)
		*at++ = digits[--count];
	*symbol_put_text(at, ".map", 4) = 0;
}

/* perf reads no file but its user's, and nobody's but the process's user can be one. */
static int check_foreign(int file)
{
	struct stat info;
	int err = sys_fstat(file, &info);

	if (err)
		return err;
	return S_ISREG(info.st_mode) && info.st_uid == (u32)sys_call1(__NR_geteuid, 0) ? 0 : -EPERM;
}

static int open_file(void)
{
	const int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int file, err;

	spell_path();
	file = sys_openat(AT_FDCWD, path, flags | O_CREAT | O_EXCL, 0644);
	ours = file >= 0;
	if (file == -EEXIST)
		file = sys_openat(AT_FDCWD, path, flags | O_APPEND, 0);
	if (file < 0)
		return file == -ELOOP ? -EPERM : file;
	err = ours ? 0 : check_foreign(file);
	if (err) {
		sys_close(file);
		return err;
	}
	fd = file;
	return 0;
}

static char *put_line(char *at, const struct code_range *range)
{
	at = symbol_put_hex(at, range->start, 0);
	*at++ = ' ';
	at = symbol_put_hex(at, range->size, 0);
	*at++ = ' ';
	at = symbol_put_text(at, range->name, ~0ul);
	*at++ = '\n';
	return at;
}

static bool is_written(const struct code_range *range)
{
	u32 low = 0, high = written_count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (written[middle].start < range->start)
			low = middle + 1;
		else
			high = middle;
	}
	return low < written_count && written[low].range == range &&
	       written[low].start == range->start;
}

static void note_written(const struct code_map *map)
{
	struct line *lines = arena_alloc((map->count + 1) * sizeof(*lines));

	for (u32 i = 0; lines && i < map->count; i++)
		lines[i] = (struct line){map->ranges[i], map->ranges[i]->start};
	arena_free(written);
	written = lines;
	written_count = lines ? map->count : 0;
}

static void write_all(const char *text, u64 size)
{
	for (u64 done = 0; done < size;) {
		long got = ours ? sys_pwrite(fd, text + done, size - done, done)
				: sys_write(fd, text + done, size - done);

		if (got <= 0)
			return; /* no room: some names are missing */
		done += (u64)got;
	}
}

static void tell(const struct code_map *map)
{
	u64 room = 0;
	char *text, *at;

	if (fd < 0)
		return;
	for (u32 i = 0; i < map->count; i++) {
		for (const char *name = map->ranges[i]->name; *name; name++)
			room++;
		room += FIXED_PART;
	}
	text = at = arena_alloc(room + 1);
	if (!text)
		return;
	for (u32 i = 0; i < map->count; i++) {
		if (ours || !is_written(map->ranges[i]))
			at = put_line(at, map->ranges[i]);
	}
	write_all(text, (u64)(at - text));
	if (ours)
		sys_ftruncate(fd, (u64)(at - text));
	else
		note_written(map);
	arena_free(text);
}

int perf_map_begin(void)
{
	int err = users ? 0 : open_file();

	if (err)
		return err;
	users++;
	text_set_nameless(true);
	code_map_add_listener(tell);
	code_map_publish();
	return 0;
}

/* Is it still the file that we made that has the name? */
static bool is_there(void)
{
	struct stat made, named;
	int file = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	bool same = file >= 0 && !sys_fstat(file, &named) && !sys_fstat(fd, &made) &&
		    made.st_dev == named.st_dev && made.st_ino == named.st_ino;

	if (file >= 0)
		sys_close(file);
	return same;
}

void perf_map_end(void)
{
	if (!users || --users)
		return;
	text_set_nameless(false);
	if (ours && is_there())
		sys_call3(__NR_unlinkat, AT_FDCWD, path, 0);
	sys_close(fd);
	fd = -1;
	arena_free(written);
	written = NULL;
	written_count = 0;
}
