/* SPDX-License-Identifier: BSD-2-Clause */
#include "hook/poke_trap.h"

#include <errno.h>
#include <signal.h>

#include "arch/guard.h"
#include "arch/trap.h"
#include "base/cpu.h"
#include "base/fence.h"
#include "base/mem.h"
#include "base/self_mem.h"
#include "base/sys.h"

#define LEVELS 4
/* What the kernel says of a breakpoint instruction; raise(), single steps and watchpoints have codes of their own. */
#define FROM_BREAKPOINT 0x80 /* SI_KERNEL */

/*
 * Even: stable. A handler copies what it found and looks at the version again; nothing it read is trusted when it moved.
 * Written by the poker alone, under poke's lock.
 */
static u64 version;
static u32 listed;
static struct trap_entry list[TRAP_BATCH];

/* As in exec/fault_signal.c: a handler a level, each with the action it replaced, so that no chain of them loops. */
static struct sys_sigaction replaced[LEVELS];
static u32 levels_used;

static void begin_change(void)
{
	__atomic_store_n(&version, version + 1, __ATOMIC_RELAXED);
	fence(__ATOMIC_RELEASE);
}

static void end_change(void)
{
	__atomic_store_n(&version, version + 1, __ATOMIC_RELEASE);
}

static void sink(struct trap_entry *entries, u32 root, u32 count)
{
	for (u32 child; (child = 2 * root + 1) < count; root = child) {
		struct trap_entry other;

		if (child + 1 < count && entries[child + 1].site > entries[child].site)
			child++;
		if (entries[root].site >= entries[child].site)
			return;
		other = entries[root];
		entries[root] = entries[child];
		entries[child] = other;
	}
}

static void sort(struct trap_entry *entries, u32 count)
{
	for (u32 i = count / 2; i > 0; i--)
		sink(entries, i - 1, count);
	for (u32 last = count; last > 1; last--) {
		struct trap_entry greatest = entries[0];

		entries[0] = entries[last - 1];
		entries[last - 1] = greatest;
		sink(entries, 0, last - 1);
	}
}

void trap_list(struct trap_entry *entries, u32 count)
{
	sort(entries, count);
	begin_change();
	mem_copy_racy(list, entries, count * sizeof(*entries));
	__atomic_store_n(&listed, count, __ATOMIC_RELAXED);
	end_change();
}

void trap_unlist(void)
{
	begin_change();
	__atomic_store_n(&listed, 0, __ATOMIC_RELAXED);
	end_change();
}

/* While the list changes it finds anything or nothing: unchanged() tells. */
static bool find(u64 site, struct trap_entry *ret_entry)
{
	const u32 count = MIN(__atomic_load_n(&listed, __ATOMIC_RELAXED), (u32)TRAP_BATCH);
	u32 low = 0, high = count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (__atomic_load_n(&list[middle].site, __ATOMIC_RELAXED) < site)
			low = middle + 1;
		else
			high = middle;
	}
	if (low >= count || __atomic_load_n(&list[low].site, __ATOMIC_RELAXED) != site)
		return false;
	mem_copy_racy(ret_entry, &list[low], sizeof(*ret_entry));
	return true;
}

/* Is what was read since `before` consistent? */
static bool unchanged(u64 before)
{
	fence(__ATOMIC_ACQUIRE);
	return !(before & 1) && __atomic_load_n(&version, __ATOMIC_RELAXED) == before;
}

/* False: not a breakpoint of ours. */
static bool handle_breakpoint(void *frame)
{
	u64 before = __atomic_load_n(&version, __ATOMIC_ACQUIRE), site = trap_site(frame);
	struct trap_entry entry;
	u8 now[2];

	if (find(site, &entry)) {
		if (unchanged(before))
			trap_emulate(frame, entry.emulate);
		else
			trap_retry(frame);
		return true;
	}
	/* Unmapped meanwhile: executing it anew shows the program the fault that it would have had. */
	if (self_mem_read(site - 1, now, sizeof(now)) || trap_is_gone(now) || !unchanged(before)) {
		trap_retry(frame);
		return true;
	}
	return false;
}

static void die(siginfo_t *info, void *frame)
{
	struct sys_sigaction action = {.handler = (void *)SIG_DFL};

	sys_rt_sigaction(SIGTRAP, &action, NULL);
	if (info->si_code == FROM_BREAKPOINT)
		trap_retry(frame);
	else
		sys_tgkill(sys_getpid(), sys_gettid(), SIGTRAP);
}

static void pass_on(u32 level, int signal, siginfo_t *info, void *frame)
{
	const struct sys_sigaction *next = &replaced[level];

	if (next->handler == (void *)SIG_IGN && info->si_code <= 0)
		return;
	if (next->handler == (void *)SIG_DFL || next->handler == (void *)SIG_IGN) {
		die(info, frame);
		return;
	}
	if (next->flags & SA_RESETHAND) {
		struct sys_sigaction action = {.handler = (void *)SIG_DFL};

		sys_rt_sigaction(signal, &action, NULL);
	}
	((void (*)(int, siginfo_t *, void *))next->handler)(signal, info, frame);
}

static void handle(u32 level, int signal, siginfo_t *info, void *frame)
{
	if (info->si_code != FROM_BREAKPOINT || !handle_breakpoint(frame))
		pass_on(level, signal, info, frame);
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

static u32 level_for(const struct sys_sigaction *action)
{
	u32 level = 0;

	while (level < levels_used && !mem_equal(&replaced[level], action, sizeof(*action)))
		level++;
	return level;
}

static struct sys_sigaction in_front_of(const struct sys_sigaction *action, u32 level)
{
	struct sys_sigaction ours = *action;

	if (action->handler == (void *)SIG_DFL || action->handler == (void *)SIG_IGN) {
		ours.flags = SA_ONSTACK | SA_RESTART;
		ours.mask = 0;
	}
	ours.handler = handlers[level];
	/* A program's handler may run code with sites in it: a breakpoint met with the signal blocked would kill it. */
	ours.flags = (ours.flags | SA_SIGINFO | SA_NODEFER) & ~(unsigned long)(u32)SA_RESETHAND;
	sys_sigaction_return_by(&ours, guard_restorer());
	return ours;
}

int trap_install(void)
{
	struct sys_sigaction current, ours, was;
	int err = sys_rt_sigaction(SIGTRAP, NULL, &current);
	u32 level;

	if (err || is_ours(&current))
		return err;
	/* Again when the program changed it between our look and our change. */
	for (;;) {
		level = level_for(&current);
		if (level == LEVELS)
			return -ENOSPC;
		replaced[level] = current;
		levels_used = MAX(levels_used, level + 1);
		ours = in_front_of(&current, level);
		err = sys_rt_sigaction(SIGTRAP, &ours, &was);
		if (err || mem_equal(&was, &current, sizeof(was)) || is_ours(&was))
			return err;
		current = was;
	}
}

void trap_remove(void)
{
	struct sys_sigaction current;

	if (sys_rt_sigaction(SIGTRAP, NULL, &current))
		return;
	for (u32 level = 0; level < levels_used; level++) {
		if (current.handler == handlers[level])
			sys_rt_sigaction(SIGTRAP, &replaced[level], NULL);
	}
}
