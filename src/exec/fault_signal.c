/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults at our guarded loads go on at their fixups; every other one goes to the program's handler, with the
 * flags, mask and stack that the program asked for.
 *
 * A program may install a handler after us, and that handler may call the one it replaced: ours. So there are several
 * of ours, one per level, each with the action that it replaced:
 *
 *   kernel -> handler 1 -> the program's later handler -> handler 0 -> the program's first handler
 *
 * Whoever calls handler 0, or puts it back, gets what was there before handler 0: nothing loops, and no
 * thread-local state is needed.
 */
#include "exec/fault_signal.h"

#include <errno.h>
#include <signal.h>

#include "arch/guard.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/types.h"
#include "exec/fault.h"

#define LEVELS	4
#define SIGNALS 2

static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};

/* replaced[signal][level]; a level's row is written before its handler is installed, and then constant while it is. */
static struct sys_sigaction replaced[SIGNALS][LEVELS];
static u32 levels_used[SIGNALS];

static u32 row_of(int signal)
{
	return signal == SIGBUS;
}

/* Lets the default action happen: for a fault, by faulting again; for a signal that was sent, by sending it again. */
static void die_by(int signal, siginfo_t *info)
{
	struct sys_sigaction action = {.handler = (void *)SIG_DFL};
	int pid = sys_getpid(), tid = sys_gettid();

	sys_rt_sigaction(signal, &action, NULL);
	if (info->si_code > 0)
		return;
	if (sys_call4(__NR_rt_tgsigqueueinfo, pid, tid, signal, info))
		sys_tgkill(pid, tid, signal);
}

static void pass_on(u32 level, int signal, siginfo_t *info, void *frame)
{
	struct sys_sigaction *next = &replaced[row_of(signal)][level];
	void (*handler)(int, siginfo_t *, void *) =
		(void (*)(int, siginfo_t *, void *))next->handler;

	if (next->handler == (void *)SIG_IGN && info->si_code <= 0)
		return;
	/* The kernel does not let a fault be ignored either. */
	if (next->handler == (void *)SIG_DFL || next->handler == (void *)SIG_IGN) {
		die_by(signal, info);
		return;
	}
	if (next->flags & SA_RESETHAND) {
		struct sys_sigaction action = {.handler = (void *)SIG_DFL};

		sys_rt_sigaction(signal, &action, NULL);
	}
	handler(signal, info, frame);
}

static void handle(u32 level, int signal, siginfo_t *info, void *frame)
{
	u64 *pc = guard_frame_pc(frame);
	u64 fixup = info->si_code > 0 ? guard_fixup(*pc) : 0;

	if (!fixup) {
		pass_on(level, signal, info, frame);
		return;
	}
	*pc = fixup;
	__atomic_store_n(&fault_wants_refresh, 1, __ATOMIC_RELAXED);
}

#define HANDLER(level)                                                                             \
	static void handler_##level(int signal, siginfo_t *info, void *frame)                      \
	{                                                                                          \
		handle(level, signal, info, frame);                                                \
	}

HANDLER(0)
HANDLER(1)
HANDLER(2)
HANDLER(3)

static void *const handlers[LEVELS] = {handler_0, handler_1, handler_2, handler_3};

static bool is_ours(const struct sys_sigaction *action)
{
	for (u32 level = 0; level < LEVELS; level++) {
		if (action->handler == handlers[level])
			return true;
	}
	return false;
}

/* The level whose handler stands in front of this action: the one it had before, or a fresh one. LEVELS: none left. */
static u32 level_for(u32 row, const struct sys_sigaction *action)
{
	for (u32 level = 0; level < levels_used[row]; level++) {
		if (mem_equal(&replaced[row][level], action, sizeof(*action)))
			return level;
	}
	return levels_used[row];
}

/* Same stack, mask and restarting as the action in front of which it stands; only the function differs. */
static struct sys_sigaction in_front_of(const struct sys_sigaction *action, u32 level)
{
	struct sys_sigaction ours = *action;

	if (action->handler == (void *)SIG_DFL || action->handler == (void *)SIG_IGN) {
		ours.flags = SA_ONSTACK | SA_RESTART | SA_NODEFER;
		ours.mask = 0;
	}
	ours.handler = handlers[level];
	ours.flags = (ours.flags | SA_SIGINFO) & ~(unsigned long)(u32)SA_RESETHAND;
	sys_sigaction_return_by(&ours, guard_restorer());
	return ours;
}

static int install(u32 row)
{
	struct sys_sigaction current, ours, was;
	int err = sys_rt_sigaction(signals[row], NULL, &current);
	u32 level;

	if (err || is_ours(&current))
		return err;
	/* Again when the program changed it between our look and our change. */
	for (;;) {
		level = level_for(row, &current);
		if (level == LEVELS)
			return -ENOSPC;
		replaced[row][level] = current;
		levels_used[row] = MAX(levels_used[row], level + 1);
		ours = in_front_of(&current, level);
		err = sys_rt_sigaction(signals[row], &ours, &was);
		if (err || mem_equal(&was, &current, sizeof(was)) || is_ours(&was))
			return err;
		current = was;
	}
}

int fault_signal_install(void)
{
	int err = 0;

	for (u32 row = 0; row < SIGNALS && !err; row++)
		err = install(row);
	return err;
}

void fault_signal_remove(void)
{
	struct sys_sigaction current;

	for (u32 row = 0; row < SIGNALS; row++) {
		if (sys_rt_sigaction(signals[row], NULL, &current))
			continue;
		for (u32 level = 0; level < levels_used[row]; level++) {
			if (current.handler == handlers[level])
				sys_rt_sigaction(signals[row], &replaced[row][level], NULL);
		}
	}
}
