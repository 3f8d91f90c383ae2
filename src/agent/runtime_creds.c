/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libc changes the identity of the threads it knows; ours it does not know. A thread that kept root's identity in a
 * process that gave it up would be a hole, so before each request and each second the agent's threads look at the
 * program's and take on the same.
 */
#include "agent/runtime.h"

#include "base/mem.h"
#include "base/sys.h"

#define MAX_GROUPS 256

struct identity {
	u32 uid[3], gid[3]; /* real, effective, saved */
	u32 group_count;
	u32 groups[MAX_GROUPS];
	char state;
};

struct dirent64_raw {
	u64 ino;
	s64 off;
	u16 length;
	u8 type;
	char name[];
};

static const char *number(const char *at, const char *end, u32 *ret_value)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	if (at == end || *at < '0' || *at > '9')
		return NULL;
	for (*ret_value = 0; at < end && *at >= '0' && *at <= '9'; at++)
		*ret_value = *ret_value * 10 + (u32)(*at - '0');
	return at;
}

static void parse_line(const char *line, const char *end, struct identity *identity)
{
	const char *at = line;
	u32 *ids = NULL;

	while (at < end && *at != ':')
		at++;
	if (at == end)
		return;
	at++;
	if (end - line > 5 && mem_equal(line, "Uid:", 4))
		ids = identity->uid;
	else if (end - line > 5 && mem_equal(line, "Gid:", 4))
		ids = identity->gid;
	for (u32 i = 0; ids && at && i < 3; i++)
		at = number(at, end, &ids[i]);
	if (end - line > 7 && mem_equal(line, "Groups:", 7)) {
		identity->group_count = 0;
		while (identity->group_count < MAX_GROUPS &&
		       (at = number(at, end, &identity->groups[identity->group_count])))
			identity->group_count++;
	}
	if (end - line > 7 && mem_equal(line, "State:", 6))
		identity->state = line[7];
}

/* Reads status of a thread; name is relative to /proc/self. */
static int read_identity(const char *name, struct identity *identity)
{
	char text[4096];
	long got, start = 0;
	int fd = sys_openat(runtime_proc_fd(), name, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	got = sys_read(fd, text, sizeof(text));
	sys_close(fd);
	if (got <= 0)
		return -EIO;
	identity->group_count = 0;
	identity->state = 0;
	for (long i = 0; i < got; i++) {
		if (text[i] != '\n')
			continue;
		parse_line(text + start, text + i, identity);
		start = i + 1;
	}
	return identity->state ? 0 : -EIO;
}

static void task_path(char path[64], const char *tid)
{
	u32 i = 5;

	mem_copy(path, "task/", 5);
	for (; *tid && i < 40; i++)
		path[i] = *tid++;
	mem_copy(path + i, "/status", 8);
}

/* The identity of the first living thread that is not ours. -ESRCH: each was looked at, and none lives. */
static int program_identity(struct identity *identity)
{
	char buffer[2048] __attribute__((aligned(8)));
	int error, unread = 0;
	bool found = false;
	u32 tids[2];
	long got = 0;
	int fd = sys_openat(runtime_proc_fd(), "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	runtime_tids(tids);
	while (!found && (got = sys_call3(__NR_getdents64, fd, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; !found && at < got;) {
			struct dirent64_raw *entry = (struct dirent64_raw *)(buffer + at);
			char path[64];
			u32 tid;

			at += entry->length;
			if (!number(entry->name, entry->name + 12, &tid) || tid == tids[0] ||
			    tid == tids[1])
				continue;
			task_path(path, entry->name);
			error = read_identity(path, identity);
			if (error && error != -ENOENT && error != -ESRCH)
				unread = error;
			found = !error && identity->state != 'Z' && identity->state != 'X';
		}
	}
	sys_close(fd);
	if (found)
		return 0;
	return got < 0 ? (int)got : unread ? unread : -ESRCH;
}

static bool same(const struct identity *a, const struct identity *b)
{
	return mem_equal(a->uid, b->uid, sizeof(a->uid)) &&
	       mem_equal(a->gid, b->gid, sizeof(a->gid)) && a->group_count == b->group_count &&
	       mem_equal(a->groups, b->groups, 4ul * a->group_count);
}

int creds_follow(void)
{
	struct identity theirs, ours;
	char path[64], tid[12], digits[12];
	u32 length = 0, value = (u32)sys_gettid();
	int error = program_identity(&theirs);

	if (error)
		return error;
	do
		digits[length++] = (char)('0' + value % 10);
	while (value /= 10);
	for (u32 i = 0; i < length; i++)
		tid[i] = digits[length - 1 - i];
	tid[length] = 0;
	task_path(path, tid);
	error = read_identity(path, &ours);
	if (error || same(&ours, &theirs))
		return error;
	/* Groups first: without the user's privilege they could not be changed any more. */
	error = (int)sys_call2(__NR_setgroups, theirs.group_count, theirs.groups);
	if (!error)
		error = (int)sys_call3(__NR_setresgid, theirs.gid[0], theirs.gid[1], theirs.gid[2]);
	if (!error)
		error = (int)sys_call3(__NR_setresuid, theirs.uid[0], theirs.uid[1], theirs.uid[2]);
	return error;
}

bool creds_program_alive(void)
{
	struct identity identity;

	return program_identity(&identity) != -ESRCH;
}
