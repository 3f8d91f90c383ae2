/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/children.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/inject.h"
#include "agent/stop.h"

#define MAX_DEPTH 16

#ifndef KCMP_VM
#define KCMP_VM 1
#endif

/* When the process began; 0: it is gone, or a zombie. */
static u64 start_of(pid_t pid)
{
	char path[40], stat[512], state = 0, *at;
	unsigned long long start = 0;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	stat[MAX(got, 0)] = 0;
	at = strrchr(stat, ')');
	/* Field 22, the 20th behind the name. */
	if (!at ||
	    sscanf(at + 1,
		   " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
		   &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

static struct child *find(const struct children *children, pid_t pid, u64 start)
{
	for (u32 i = 0; i < children->count; i++) {
		if (children->rows[i].pid == pid && children->rows[i].start == start)
			return &children->rows[i];
	}
	return NULL;
}

static void meet(struct children *children, pid_t parent, pid_t pid, enum child_state state)
{
	u64 start = start_of(pid);
	struct child *row = start ? find(children, pid, start) : NULL;

	if (!start)
		return;
	if (!row && children->count == children->room) {
		u32 room = children->room ? 2 * children->room : 64;
		struct child *rows = reallocarray(children->rows, room, sizeof(*rows));

		if (!rows)
			return;
		children->rows = rows;
		children->room = room;
	}
	if (!row) {
		row = &children->rows[children->count++];
		*row = (struct child){.pid = pid,
				      .parent = parent,
				      .start = start,
				      .seen_ns = stop_now(),
				      .state = state};
	}
	row->round = children->round;
}

/* The children of one thread, and theirs. */
static void walk(struct children *children, pid_t parent, enum child_state state, u32 depth);

static void walk_thread(struct children *children, pid_t parent, const char *tid,
			enum child_state state, u32 depth)
{
	char path[320];
	FILE *list;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/children", parent, tid);
	list = fopen(path, "re");
	while (list && fscanf(list, "%d", &pid) == 1) {
		meet(children, parent, pid, state);
		walk(children, pid, state, depth + 1);
	}
	if (list)
		fclose(list);
}

static void walk(struct children *children, pid_t parent, enum child_state state, u32 depth)
{
	const struct dirent *entry;
	char path[40];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", parent);
	tasks = depth < MAX_DEPTH ? opendir(path) : NULL;
	while (tasks && (entry = readdir(tasks))) {
		if (entry->d_name[0] != '.')
			walk_thread(children, parent, entry->d_name, state, depth);
	}
	if (tasks)
		closedir(tasks);
}

/* Where the kernel does not tell: yes, and the child is left alone. */
static bool shares_memory(pid_t a, pid_t b)
{
	return syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0) <= 0;
}

static void judge(const struct children *children, struct child *row)
{
	u64 now = stop_now();

	if (row->state != CHILD_YOUNG || now < row->again_ns ||
	    now - row->seen_ns < children->young_ns)
		return;
	/* A parent that is gone cannot be compared with; one that waits in vfork is there. */
	if (start_of(row->parent) && shares_memory(row->parent, row->pid))
		return;
	row->state = inject_has_agent(row->pid) ? CHILD_READY : CHILD_SETTLED;
}

void children_note(struct children *children, pid_t parent)
{
	walk(children, parent, CHILD_SETTLED, 0);
}

void children_scan(struct children *children, const pid_t *parents, u32 count)
{
	u32 kept = 0;

	children->round++;
	for (u32 i = 0; i < count; i++)
		walk(children, parents[i], CHILD_YOUNG, 0);
	for (u32 i = 0; i < children->count; i++) {
		if (children->rows[i].round == children->round ||
		    start_of(children->rows[i].pid) == children->rows[i].start)
			children->rows[kept++] = children->rows[i];
	}
	children->count = kept;
	for (u32 i = 0; i < children->count; i++)
		judge(children, &children->rows[i]);
}

void children_free(struct children *children)
{
	free(children->rows);
	*children = (struct children){0};
}
