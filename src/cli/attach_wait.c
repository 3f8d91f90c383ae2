/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_wait.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "helpers/helpers.h"
#include "maps/ringbuf.h"
#include "object/object.h"

#define PRINTK_RING_SIZE (1u << 20)
#define SOURCES		 5
#define TICK_MS		 10
#define TICK_SHARE	 4 /* of the time, so much is left after a tick that took long */
#define GONE_MS		 200

struct printk {
	FILE *out;
	int map_fd;
	struct ring_buffer *ring;
};

static sigset_t ending_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	return set;
}

void attach_wait_prepare(void)
{
	sigset_t set = ending_signals();

	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int timer_open(double seconds)
{
	struct itimerspec when = {0};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	when.it_value.tv_sec = (time_t)seconds;
	when.it_value.tv_nsec = (long)((seconds - (double)when.it_value.tv_sec) * 1e9);
	if (!when.it_value.tv_sec && !when.it_value.tv_nsec)
		when.it_value.tv_nsec = 1;
	timerfd_settime(fd, 0, &when, NULL);
	return fd;
}

/* The session ends a little before the process does; with the process still there, it has executed another program. */
static enum attach_end session_end(int pidfd)
{
	struct pollfd process = {pidfd, POLLIN, 0};

	return poll(&process, 1, GONE_MS) > 0 ? ATTACH_END_EXIT : ATTACH_END_EXEC;
}

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000u + (u64)now.tv_nsec;
}

/* Does what is to be done while nothing happens. Returns when to come again, in milliseconds; -1: never. */
static int tick(const struct attach_watch *watch)
{
	u64 began = now_ns();

	if (!watch->tick)
		return -1;
	watch->tick(watch->opaque);
	return MAX(TICK_MS, (int)((now_ns() - began) * TICK_SHARE / 1000000));
}

static int run_periodic(const struct pollfd *fds, const struct attach_watch *watch)
{
	int err = 0;

	for (u32 i = 0; i < watch->periodic_count && !err; i++) {
		if (fds[i].revents)
			err = attach_tick_run(&watch->periodic[i]);
	}
	return err;
}

/* fds: SOURCES of them, and behind these one a periodic program. */
static int wait_loop(struct pollfd *fds, const struct attach_watch *watch, enum attach_end *ret_end)
{
	for (;;) {
		int err;

		if (poll(fds, SOURCES + watch->periodic_count, tick(watch)) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		err = run_periodic(fds + SOURCES, watch);
		if (err)
			return err;
		if (fds[3].revents && watch->printk)
			printk_drain(watch->printk);
		if (fds[0].revents)
			*ret_end = ATTACH_END_SIGNAL;
		else if (fds[1].revents)
			*ret_end = ATTACH_END_EXIT;
		else if (fds[4].revents)
			*ret_end = session_end(watch->pidfd);
		else if (fds[2].revents)
			*ret_end = ATTACH_END_DURATION;
		else
			continue;
		return 0;
	}
}

int attach_wait(const struct attach_watch *watch, enum attach_end *ret_end)
{
	sigset_t set = ending_signals();
	int signals = signalfd(-1, &set, SFD_CLOEXEC);
	int timer = watch->seconds >= 0 ? timer_open(watch->seconds) : -1;
	const struct pollfd sources[SOURCES] = {
		{signals, POLLIN, 0},
		{watch->pidfd, POLLIN, 0},
		{timer, POLLIN, 0},
		{watch->printk ? ring_buffer__epoll_fd(watch->printk->ring) : -1, POLLIN, 0},
		{watch->session_fd, POLLRDHUP, 0},
	};
	struct pollfd *fds = calloc(SOURCES + watch->periodic_count, sizeof(*fds));
	int err = signals < 0 ? -errno : fds ? 0 : -ENOMEM;

	if (!err) {
		memcpy(fds, sources, sizeof(sources));
		for (u32 i = 0; i < watch->periodic_count; i++)
			fds[SOURCES + i] = (struct pollfd){watch->periodic[i].timer, POLLIN, 0};
		err = wait_loop(fds, watch, ret_end);
	}
	free(fds);

	if (timer >= 0)
		close(timer);
	if (signals >= 0)
		close(signals);
	return err;
}

/* PIDFD_GET_INFO of Linux 6.13, with the exit status that 6.15 added. */
struct pidfd_status {
	u64 mask;
	u64 cgroup_id;
	u32 ids[11];
	s32 exit_code;
};

#define PIDFD_STATUS	  _IOWR(0xFF, 11, struct pidfd_status)
#define PIDFD_STATUS_EXIT (1ull << 3)

/* The wait status of an ended process; false: nobody tells. */
static bool end_status(pid_t pid, int pidfd, bool is_child, int *ret_status)
{
	struct pidfd_status status = {.mask = PIDFD_STATUS_EXIT};

	if (is_child)
		return waitpid(pid, ret_status, 0) == pid;
	/* Its parent may take a moment to reap it, and only then is there an answer. */
	for (int i = 0; i < 20; i++) {
		if (!ioctl(pidfd, PIDFD_STATUS, &status) && status.mask & PIDFD_STATUS_EXIT) {
			*ret_status = status.exit_code;
			return true;
		}
		status.mask = PIDFD_STATUS_EXIT;
		usleep(5000);
	}
	return false;
}

void attach_wait_fate(pid_t pid, int pidfd, bool is_child, char *text, size_t size, bool *ret_clean)
{
	int status = 0;

	*ret_clean = false;
	if (!end_status(pid, pidfd, is_child, &status)) {
		snprintf(text, size, "is gone (exited or killed)");
	} else if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));

		snprintf(text, size, "was killed by SIG%s", name ? name : "?");
	} else if (WEXITSTATUS(status)) {
		snprintf(text, size, "exited with status %d", WEXITSTATUS(status));
	} else {
		snprintf(text, size, "exited");
		*ret_clean = true;
	}
}

static int print_record(void *opaque, void *data, size_t size)
{
	const struct printk_record *record = data;
	const struct printk *printk = opaque;
	size_t length = size > sizeof(*record) ? size - sizeof(*record) : 0;

	length = MIN(length, record->length);
	fwrite(record->text, 1, length, printk->out);
	if (!length || record->text[length - 1] != '\n')
		fputc('\n', printk->out);
	return 0;
}

struct printk *printk_open(FILE *out)
{
	struct printk *printk = calloc(1, sizeof(*printk));

	if (!printk)
		return NULL;
	printk->out = out;
	printk->map_fd =
		bpf_map_create(BPF_MAP_TYPE_RINGBUF, "inlay_printk", 0, 0, PRINTK_RING_SIZE, NULL);
	if (printk->map_fd < 0)
		goto free_printk;
	printk->ring = ring_buffer__new(printk->map_fd, print_record, printk, NULL);
	if (!printk->ring)
		goto close_map;
	return printk;

close_map:
	close(printk->map_fd);
free_printk:
	free(printk);
	return NULL;
}

int printk_map_fd(const struct printk *printk)
{
	return printk->map_fd;
}

void printk_drain(struct printk *printk)
{
	struct map *map = object_map_view(printk->map_fd);

	ring_buffer__consume(printk->ring);
	/* Behind a record whose writer was killed there may be more. */
	if (map && ringbuf_reap(map))
		ring_buffer__consume(printk->ring);
	fflush(printk->out);
}

void printk_close(struct printk *printk)
{
	if (!printk)
		return;
	ring_buffer__free(printk->ring);
	close(printk->map_fd);
	free(printk);
}
