/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent's tests share: victims, looks into /proc, and a program attached without bpf(2) in between. */
#ifndef INLAY_TESTS_UNIT_AGENT_LAB_H
#define INLAY_TESTS_UNIT_AGENT_LAB_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/target.h"
#include "exec/raw_image.h"
#include "test.h"

static char lab_text[512];
static const struct problem lab_problem = {lab_text, sizeof(lab_text)};

static void lab_sleep_ms(long ms)
{
	struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

static bool lab_victim_path(const char *name, char *path, size_t size)
{
	const char *build = getenv("INLAY_BUILD");

	snprintf(path, size, "%s/tests/victims/%s", build ? build : ".", name);
	return access(path, X_OK) == 0;
}

/* Starts a victim and waits until it runs its own code. 0: it was not built. */
static pid_t lab_start(const char *name, const char *mode)
{
	char path[512];
	pid_t pid;

	if (!lab_victim_path(name, path, sizeof(path)))
		return 0;
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		execl(path, name, mode, NULL);
		_exit(127);
	}
	lab_sleep_ms(150);
	return pid;
}

/* Its exit status (256 + signal when killed); -1 when it still runs after `ms`. */
static int lab_wait(pid_t pid, int ms)
{
	int status;

	for (int waited = 0; waited <= ms; waited += 5) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
		lab_sleep_ms(5);
	}
	return -1;
}

/* It must still run: then it is ended. */
static void lab_end(pid_t pid)
{
	CHECK_EQ(lab_wait(pid, 0), -1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Descriptors (with what they are), threads and signal state of a process as one text. */
static void lab_describe(pid_t pid, char *to, size_t size)
{
	const struct dirent *entry;
	char path[320], link[256], line[256];
	size_t used = 0;
	DIR *fds;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	while (fds && (entry = readdir(fds))) {
		ssize_t got;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, entry->d_name);
		got = readlink(path, link, sizeof(link) - 1);
		if (got < 0)
			continue;
		link[got] = 0;
		used += (size_t)snprintf(to + used, size - used, "%s -> %s\n", entry->d_name, link);
	}
	if (fds)
		closedir(fds);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status)) {
		if ((!strncmp(line, "Sig", 3) && strncmp(line, "SigQ", 4)) ||
		    !strncmp(line, "Threads", 7))
			used += (size_t)snprintf(to + used, size - used, "%s", line);
	}
	if (status)
		fclose(status);
}

static pid_t lab_tracer(pid_t pid)
{
	char path[40], line[128];
	pid_t tracer = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "TracerPid: %d", &tracer);
	if (status)
		fclose(status);
	return tracer;
}

static int lab_threads(pid_t pid)
{
	char path[64];
	int count = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && readdir(tasks))
		count++;
	if (tasks)
		closedir(tasks);
	return count - 2;
}

static int lab_mappings(pid_t pid)
{
	char path[40], line[512];
	int count = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "r");
	while (maps && fgets(line, sizeof(line), maps))
		count++;
	if (maps)
		fclose(maps);
	return count;
}

/* Waits until only the program's own threads are left. */
static bool lab_agent_left(pid_t pid, int threads)
{
	for (int i = 0; i < 600; i++) {
		if (lab_threads(pid) == threads)
			return true;
		lab_sleep_ms(5);
	}
	return false;
}

/* How sites are changed: forced on each attachment. */
static enum poke_protocol lab_protocol = POKE_AUTO;

/* One program that counts (by its runs) on one function of the victim's executable. */
struct lab_probe {
	struct target *target;
	u64 address; /* of the function */
	u8 before[16];
	u32 program, link;
};

static bool lab_read(pid_t pid, u64 address, void *to, size_t size)
{
	struct iovec local = {to, size}, remote = {ptr_from_u64(address), size};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static int lab_send_program(struct lab_probe *probe)
{
	const struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
					 {.code = BPF_JMP | BPF_EXIT}};
	struct wire_prog request = {.prog_id = 1, .near = probe->address};
	struct image_header *image;
	struct wire_reply reply;
	int fd = memfd_create("image", MFD_CLOEXEC), error = raw_image_create(insns, 2, &image);

	if (error)
		return error;
	image->ctx_words = image->facts = 0;
	if (write(fd, image, image->total_size) != (ssize_t)image->total_size)
		error = -errno;
	raw_image_free(image);
	if (!error)
		error = target_ask(probe->target, WIRE_PROG, &request, sizeof(request), &fd, 1,
				   &reply);
	close(fd);
	probe->program = (u32)reply.value;
	return error;
}

static int lab_plan(struct lab_probe *probe, const char *name, struct wire_site *site)
{
	const struct process_module *exe = process_facts(probe->target->process)->exe;
	const struct binary_function *function;
	struct binary *binary;
	const char *reason;
	int error = process_binary(probe->target->process, exe, &binary);

	if (error)
		return error;
	function = binary_find(binary, name);
	if (!function)
		return -ENOENT;
	memset(site, 0, sizeof(*site));
	error = binary_plan(binary, function, &site->site, &reason);
	binary_rebase(&site->site, exe->bias);
	site->site.protocol = (u8)lab_protocol;
	probe->address = site->site.function;
	return error;
}

/* Opens a session and attaches. 0 or -errno; the problem is in lab_text. */
static int lab_attach(pid_t pid, const char *name, enum hook_side side, struct lab_probe *probe)
{
	struct wire_attach attach = {.side = side, .count = 1};
	struct wire_reply reply = {0};
	struct wire_site site;
	int error;

	memset(probe, 0, sizeof(*probe));
	lab_text[0] = 0;
	error = target_open(pid, 0, &lab_problem, &probe->target);
	if (error)
		return error;
	error = lab_plan(probe, name, &site);
	if (!error && !lab_read(pid, probe->address, probe->before, sizeof(probe->before)))
		error = -EFAULT;
	if (!error)
		error = lab_send_program(probe);
	attach.program = probe->program;
	if (!error)
		error = target_ask(probe->target, WIRE_SITES, &site, sizeof(site), NULL, 0, &reply);
	if (!error)
		error = target_ask(probe->target, WIRE_ATTACH, &attach, sizeof(attach), NULL, 0,
				   &reply);
	probe->link = (u32)reply.value;
	if (error)
		printf("# attach: %d %s\n", error, lab_text);
	return error;
}

static u64 lab_hits(struct lab_probe *probe)
{
	const struct wire_stats *answer = (const void *)probe->target->message.payload;
	struct wire_handle request = {probe->program};

	if (target_request(probe->target, WIRE_STATS, &request, sizeof(request), NULL, 0))
		return 0;
	return answer->hits;
}

/* Waits until more hits came than `more`. */
static bool lab_hits_grow(struct lab_probe *probe, u64 more)
{
	for (int i = 0; i < 400; i++) {
		if (lab_hits(probe) > more)
			return true;
		lab_sleep_ms(5);
	}
	return false;
}

static int lab_detach(struct lab_probe *probe)
{
	struct wire_handle request = {probe->link};
	struct wire_reply reply;
	int error =
		target_ask(probe->target, WIRE_DETACH, &request, sizeof(request), NULL, 0, &reply);

	target_close(probe->target);
	return error;
}

static bool lab_text_restored(pid_t pid, const struct lab_probe *probe)
{
	u8 now[sizeof(probe->before)];

	return lab_read(pid, probe->address, now, sizeof(now)) &&
	       !memcmp(now, probe->before, sizeof(now));
}

#endif
