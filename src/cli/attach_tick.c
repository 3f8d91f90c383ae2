/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_tick.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* What the context of a raw tracepoint holds: all 0 here. */
#define CONTEXT_WORDS 12

int attach_tick_start(int program, u64 period_ns, struct attach_tick *ret_tick)
{
	const struct timespec period = {.tv_sec = (time_t)(period_ns / 1000000000),
					.tv_nsec = (long)(period_ns % 1000000000)};
	const struct itimerspec when = {.it_interval = period, .it_value = period};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (timer < 0)
		return -errno;
	if (timerfd_settime(timer, 0, &when, NULL)) {
		int err = -errno;

		close(timer);
		return err;
	}
	*ret_tick = (struct attach_tick){.timer = timer, .program = program};
	return 0;
}

int attach_tick_run(struct attach_tick *tick)
{
	u64 context[CONTEXT_WORDS] = {0}, due;
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = sizeof(context));

	if (read(tick->timer, &due, sizeof(due)) != sizeof(due))
		return errno == EAGAIN ? 0 : -errno;
	tick->missed += due - 1;
	if (bpf_prog_test_run_opts(tick->program, &options))
		return -errno;
	tick->runs++;
	return 0;
}

void attach_tick_stop(struct attach_tick *tick)
{
	if (tick->timer >= 0)
		close(tick->timer);
	tick->timer = -1;
}
