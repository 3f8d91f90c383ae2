/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/remote.h"
#include "object/object.h"

#define REQUEST_TIMEOUT_MS 60000
/* The agent writes a chunk in well under a millisecond; one that does not must not keep the threads stopped. */
#define STOPPED_TIMEOUT_MS 1000

static void count_stop(struct target *target)
{
	target->stops++;
	target->stop_total_ns += target->stop.last_ns;
	target->stop_max_ns = MAX(target->stop_max_ns, target->stop.last_ns);
	if (target->stop.waited_ns)
		target->hold_max_ns =
			MAX(target->hold_max_ns, target->stop.last_ns - target->stop.waited_ns);
}

static void resume(struct target *target)
{
	if (!target->stopped)
		return;
	stop_resume(&target->stop);
	target->stopped = false;
	count_stop(target);
}

static int answer_stop(struct target *target)
{
	u32 count = target->message.size / sizeof(struct poke);
	struct wire_reply answer = {0};

	resume(target);
	answer.error = stop_all(&target->stop,
				(const struct poke *)(const void *)target->message.payload, count);
	target->stopped = !answer.error;
	if (answer.error)
		count_stop(target); /* an attempt in vain stopped them as well */
	return wire_send(target->fd, WIRE_STOPPED, &answer, sizeof(answer), NULL, 0);
}

static int wait_answer(struct target *target)
{
	for (;;) {
		int error = wire_receive(target->fd, target->pidfd,
					 target->stopped ? STOPPED_TIMEOUT_MS : REQUEST_TIMEOUT_MS,
					 &target->message);

		if (error == -ETIMEDOUT && target->stopped) {
			resume(target);
			continue;
		}
		if (error)
			return error;
		/* Nothing the agent tells us comes with descriptors. */
		wire_close_fds(&target->message);
		if (target->message.kind == WIRE_STOP)
			error = answer_stop(target);
		else if (target->message.kind == WIRE_RESUME)
			resume(target);
		else
			return 0;
		if (error)
			return error;
	}
}

int target_request(struct target *target, u32 kind, const void *payload, u32 size, const int *fds,
		   u32 fd_count)
{
	sigset_t old;
	int error =
		target->exited ? -EPIPE : wire_send(target->fd, kind, payload, size, fds, fd_count);

	inject_defer_suspension(&old);
	if (!error)
		error = wait_answer(target);
	resume(target);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == -EPIPE || error == -ESRCH) {
		target->exited = true;
		return -ESRCH;
	}
	return error;
}

int target_ask(struct target *target, u32 kind, const void *payload, u32 size, const int *fds,
	       u32 fd_count, struct wire_reply *ret_reply)
{
	const struct wire_reply *reply = (const void *)target->message.payload;
	int error;

	memset(ret_reply, 0, sizeof(*ret_reply));
	error = target_request(target, kind, payload, size, fds, fd_count);
	if (error)
		return error;
	if (target->message.kind != WIRE_REPLY || target->message.size != sizeof(*reply))
		return -EPROTO;
	*ret_reply = *reply;
	ret_reply->text[sizeof(ret_reply->text) - 1] = 0;
	return reply->error;
}

/* A thread of the target by the name it has in its own pid namespace; 0: none. */
static u32 find_thread(pid_t pid, u32 inner_tid)
{
	const struct dirent *entry;
	char path[320], line[256];
	u32 found = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && !found && (entry = readdir(tasks))) {
		FILE *status;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, entry->d_name);
		status = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (status && fgets(line, sizeof(line), status)) {
			const char *last = strrchr(line, '\t');

			if (!strncmp(line, "NSpid:", 6) && last &&
			    strtoul(last, NULL, 10) == inner_tid)
				found = (u32)strtoul(entry->d_name, NULL, 10);
		}
		if (status)
			fclose(status);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

static int say_hello(struct target *target, u64 stack, bool *ret_wants_self)
{
	struct wire_hello hello = {
		.stack = stack, .stack_size = REMOTE_STACK, .version = WIRE_VERSION};
	const struct wire_hello *answer = (const void *)target->message.payload;
	int error = target_request(target, WIRE_HELLO, &hello, sizeof(hello), NULL, 0);

	if (error)
		return error;
	if (target->message.kind != WIRE_HELLO || target->message.size != sizeof(*answer))
		return -EPROTO;
	for (u32 i = 0; i < 2; i++)
		target->stop.skip[i] = find_thread(target->pid, answer->agent_tids[i]);
	*ret_wants_self = answer->wants_self;
	return answer->error;
}

/* Sends a descriptor that is the agent's from then on. */
static int send_fd(struct target *target, u32 kind, int fd)
{
	struct wire_reply reply;
	int error = fd < 0 ? fd : target_ask(target, kind, NULL, 0, &fd, 1, &reply);

	if (fd >= 0)
		close(fd);
	return error;
}

static int open_memory(pid_t pid)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int set_up(struct target *target, u64 stack, const struct problem *problem)
{
	bool wants_self = false;
	int error = say_hello(target, stack, &wants_self);

	if (!error)
		error = send_fd(target, WIRE_MEM, open_memory(target->pid));
	if (!error)
		error = send_fd(target, WIRE_REGISTRY, object_registry_fd());
	/* Without it debuggers see less; that is all. */
	if (!error && wants_self && send_fd(target, WIRE_SELF, inject_self_fd()) == -ESRCH)
		error = -ESRCH;
	if (error)
		problem_set(problem, error,
			    error == -ESRCH
				    ? "process %d exited"
				    : "the agent in process %d does not answer as it should",
			    target->pid);
	return error;
}

/* Why a process cannot be looked at: gone, or somebody else's. */
static int explain_open(pid_t pid, int error, const struct problem *problem)
{
	char owner[64];
	uid_t uid;

	if ((error != -EACCES && error != -EPERM) ||
	    inject_owner(pid, &uid, owner, sizeof(owner)) || uid == geteuid())
		return problem_set(problem, error, "%s", process_problem());
	return problem_set(problem, -EPERM,
			   "process %d belongs to %s: run as that user, or as root", pid, owner);
}

static int open_session(pid_t pid, pid_t held, pid_t *ret_kept, const struct problem *problem,
			struct target **ret_target)
{
	struct target *target = calloc(1, sizeof(*target));
	u64 stack = 0;
	int error;

	if (!target)
		return problem_set(problem, -ENOMEM, "out of memory");
	target->pid = pid;
	target->fd = -1;
	target->stop.pid = pid;
	target->stop.held_tid = held;
	target->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	error = process_open(pid, &target->process);
	if (error)
		error = explain_open(pid, error, problem);
	else
		error = target->fd =
			inject_session(target->process, held, problem, &stack, ret_kept);
	if (error >= 0 && ret_kept)
		target->kept = target->stop.held_tid = *ret_kept;
	if (error >= 0)
		error = set_up(target, stack, problem);
	if (error) {
		target_close(target);
		return error;
	}
	*ret_target = target;
	return 0;
}

int target_open(pid_t pid, pid_t held, const struct problem *problem, struct target **ret_target)
{
	return open_session(pid, held, NULL, problem, ret_target);
}

int target_open_kept(pid_t pid, const struct problem *problem, struct target **ret_target)
{
	pid_t kept = 0;

	return open_session(pid, 0, &kept, problem, ret_target);
}

void target_release(struct target *target)
{
	if (!target->kept)
		return;
	ptrace(PTRACE_DETACH, target->kept, NULL, NULL);
	target->kept = target->stop.held_tid = 0;
}

bool target_is_gone(struct target *target)
{
	struct pollfd session = {.fd = target->fd};

	if (poll(&session, 1, 0) > 0 && session.revents)
		target->exited = true;
	return target->exited;
}

void target_close(struct target *target)
{
	resume(target);
	target_release(target);
	if (target->fd >= 0)
		close(target->fd);
	if (target->pidfd >= 0)
		close(target->pidfd);
	process_close(target->process);
	target_free_maps(target);
	free(target->tables);
	free(target);
}
