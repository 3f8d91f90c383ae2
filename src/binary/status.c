/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/status.h"

#include "binary/elf_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Field 22 of /proc/PID/stat, the start time: with the pid it names a process for good. 0 when unreadable. */
static u64 start_time(const char *path)
{
	char line[1024];
	FILE *file = fopen(path, "re");
	char *at;
	size_t size;

	if (!file)
		return 0;
	size = fread(line, 1, sizeof(line) - 1, file);
	fclose(file);
	line[size] = '\0';
	at = strrchr(line, ')'); /* the name in front may hold anything */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* Is the process that the target's own /proc shows under this number the target? */
static bool sees_itself_as(const struct process_facts *facts, pid_t candidate)
{
	char ours[64], theirs[96];
	u64 started;

	snprintf(ours, sizeof(ours), "/proc/%d/stat", facts->pid);
	snprintf(theirs, sizeof(theirs), "/proc/%d/root/proc/%d/stat", facts->pid, candidate);
	started = start_time(ours);
	return started && started == start_time(theirs);
}

static bool take_ids(const char *line, struct process_facts *facts)
{
	unsigned int real, effective;

	if (sscanf(line, "Uid:\t%u\t%u", &real, &effective) != 2)
		return false;
	facts->uid = real;
	facts->euid = effective;
	return true;
}

/* NSpid lists the pid in each namespace, ours first, its own last. */
static void take_ns_pids(const char *line, struct process_facts *facts)
{
	const char *at = line;
	char *end;

	for (;; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		facts->ns_pid = (pid_t)pid;
		if (!facts->proc_pid && sees_itself_as(facts, (pid_t)pid))
			facts->proc_pid = (pid_t)pid;
	}
}

static void take_line(const char *line, struct process_facts *facts)
{
	if (take_ids(line, facts))
		return;
	if (!strncmp(line, "NSpid:", 6))
		take_ns_pids(line + 6, facts);
	else if (!strncmp(line, "TracerPid:", 10))
		facts->tracer = (pid_t)strtol(line + 10, NULL, 10);
	else if (!strncmp(line, "Threads:", 8))
		facts->threads = (u32)strtoul(line + 8, NULL, 10);
	else if (!strncmp(line, "Seccomp:", 8))
		facts->seccomp = (u8)strtoul(line + 8, NULL, 10);
	else if (!strncmp(line, "x86_Thread_features:", 20))
		facts->shadow_stack = strstr(line, "shstk") != NULL;
}

int status_read(pid_t pid, struct process_facts *facts)
{
	char path[64], line[512];
	bool zombie = false;
	FILE *file;
	int err;

	*facts = (struct process_facts){.pid = pid, .ns_pid = pid};
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file) {
		err = errno == ENOENT ? -ESRCH : -errno;
		elf_file_set_problem(err == -ESRCH ? "there is no process %d"
						   : "process %d cannot be read",
				     pid);
		return err;
	}
	while (fgets(line, sizeof(line), file)) {
		zombie |= !strncmp(line, "State:\tZ", 8) || !strncmp(line, "State:\tX", 8);
		take_line(line, facts);
	}
	fclose(file);
	if (zombie || !facts->threads) {
		elf_file_set_problem("process %d has exited", pid);
		return -ESRCH;
	}
	return 0;
}
