/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/stop.h"

#include <dirent.h>
#include <elf.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/sys_regs.h"

#define STOP_TIMEOUT_MS 2000
#define STOP_PASSES	16
/* How long somebody else's trace of a thread is waited for: another loader's, as a rule. */
#define TRACER_PATIENCE_NS 1000000000ull
/* How far above the stack pointer signal frames are looked for. */
#define STACK_SCAN 65536
#define EVENT_STOP 128 /* PTRACE_EVENT_STOP */

struct dirent64_raw {
	u64 ino;
	s64 off;
	u16 length;
	u8 type;
	char name[];
};

/* Is the calling thread ahead of the ordinary ones? */
static bool realtime;

u64 stop_now(void)
{
	struct timespec now;

	sys_clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000u + (u64)now.tv_nsec;
}

static long trace(int request, int tid, u64 addr, u64 data)
{
	return sys_call4(__NR_ptrace, request, tid, addr, data);
}

static int wait_until(int tid, u64 deadline, int *ret_status)
{
	struct timespec nap = {0, 10000};
	u32 spins = 0;

	for (;;) {
		int status;
		long got = sys_call4(__NR_wait4, tid, &status, __WALL | WNOHANG, 0);

		if (got == tid) {
			if (!WIFSTOPPED(status))
				return -ESRCH;
			*ret_status = status;
			return 0;
		}
		if (got < 0 && got != -EINTR)
			return -ESRCH;
		if (stop_now() > deadline)
			return -ETIMEDOUT;
		if (++spins < 50 && !realtime)
			sys_sched_yield();
		else
			sys_nanosleep(&nap);
	}
}

int stop_wait(int tid, u32 timeout_ms, int *ret_status)
{
	return wait_until(tid, stop_now() + timeout_ms * 1000000ull, ret_status);
}

static int hurry_thread(int tid)
{
	const int priority = 1;
	int scheduler = (int)sys_call1(__NR_sched_getscheduler, tid);

	if (scheduler != SCHED_OTHER ||
	    sys_call3(__NR_sched_setscheduler, tid, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority))
		return -1;
	return scheduler;
}

/*
 * While others stand still nobody who works on it may wait for a processor, we nor the agent: where we may, ahead of all ordinary
 * threads. (Then yielding would not let those run: wait_until sleeps instead.)
 */
static void hurry(struct stop *stop)
{
	stop->scheduler[0] = hurry_thread(0);
	for (u32 i = 0; i < ARRAY_SIZE(stop->skip); i++)
		stop->scheduler[1 + i] = stop->skip[i] ? hurry_thread((int)stop->skip[i]) : -1;
	realtime = stop->scheduler[0] >= 0;
}

static void stop_hurrying(struct stop *stop)
{
	const int priority = 0;

	for (u32 i = ARRAY_SIZE(stop->scheduler); i-- > 0;) {
		int tid = i ? (int)stop->skip[i - 1] : 0;

		if (stop->scheduler[i] >= 0)
			sys_call3(__NR_sched_setscheduler, tid, stop->scheduler[i], &priority);
		stop->scheduler[i] = -1;
	}
	realtime = false;
}

void stop_hurry_no_more(void)
{
	const int priority = 0;

	if (sys_call1(__NR_sched_getscheduler, 0) == (SCHED_FIFO | SCHED_RESET_ON_FORK))
		sys_call3(__NR_sched_setscheduler, 0, SCHED_OTHER, &priority);
}

static u32 put_number(char *to, u32 number)
{
	char digits[12];
	u32 count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while (number /= 10);
	for (u32 i = 0; i < count; i++)
		to[i] = digits[count - 1 - i];
	return count;
}

static int open_tasks(int pid)
{
	char path[40] = "/proc/";
	u32 length = 6 + put_number(path + 6, (u32)pid);

	mem_copy(path + length, "/task", 6);
	return sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static bool known(const struct stop *stop, int tid)
{
	if ((u32)tid == stop->skip[0] || (u32)tid == stop->skip[1])
		return true;
	for (u32 i = 0; i < stop->count; i++) {
		if (stop->threads[i].tid == tid)
			return true;
	}
	return false;
}

/* A thread that has exited but is still listed (a main thread that called pthread_exit) cannot be seized, nor run. */
static bool is_dead(int tasks_fd, int tid)
{
	char path[32], stat[512];
	u32 length = put_number(path, (u32)tid);
	long got, i;
	int fd;

	mem_copy(path + length, "/stat", 6);
	fd = sys_openat(tasks_fd, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return true;
	got = sys_read(fd, stat, sizeof(stat));
	sys_close(fd);
	for (i = got - 1; i > 0 && stat[i] != ')'; i--)
		;
	return got <= 0 || (i + 2 < got && (stat[i + 2] == 'Z' || stat[i + 2] == 'X'));
}

/* Seizes one thread, which runs on. 1: added, 0: nothing to do, -EBUSY: somebody else traces it, by all appearance; -errno. */
static int seize(struct stop *stop, int tasks_fd, int tid)
{
	long error = 0;

	if (known(stop, tid))
		return 0;
	if (stop->count == STOP_MAX_THREADS)
		return -E2BIG;
	if (tid != stop->held_tid) {
		error = trace(PTRACE_SEIZE, tid, 0, 0);
		if (error == -ESRCH || (error == -EPERM && is_dead(tasks_fd, tid)))
			return 0;
		if (error)
			return error == -EPERM ? -EBUSY : (int)error;
	}
	stop->threads[stop->count].tid = tid;
	stop->threads[stop->count].signal = 0;
	stop->threads[stop->count].stopped = tid == stop->held_tid;
	stop->count++;
	return 1;
}

/* One pass over the task list. Returns how many threads it added, or -errno. */
static int seize_new(struct stop *stop, int tasks_fd)
{
	char buffer[4096] __attribute__((aligned(8)));
	int added = 0;
	long got;

	sys_lseek(tasks_fd, 0, SEEK_SET);
	while ((got = sys_call3(__NR_getdents64, tasks_fd, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < got;) {
			struct dirent64_raw *entry = (struct dirent64_raw *)(buffer + at);
			int tid = 0, result;

			at += entry->length;
			for (const char *c = entry->name; *c >= '0' && *c <= '9'; c++)
				tid = tid * 10 + (*c - '0');
			if (!tid)
				continue;
			result = seize(stop, tasks_fd, tid);
			if (result < 0)
				return result;
			added += result;
		}
	}
	return got < 0 ? (int)got : added;
}

/* Calls that answer EINTR where they have done nothing yet, and that wait anew when they are made again. */
static bool can_be_made_again(u64 nr)
{
	switch (nr) {
#ifdef __NR_epoll_wait
	case __NR_epoll_wait:
#endif
	case __NR_epoll_pwait:
	case 441: /* epoll_pwait2 */
	case __NR_semop:
	case __NR_semtimedop:
	case __NR_rt_sigtimedwait:
	case __NR_io_getevents:
	case 333: /* io_pgetevents */
	case 426: /* io_uring_enter */
	/* Sockets with a timeout. */
	case __NR_read:
	case __NR_readv:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_recvmmsg:
	case __NR_write:
	case __NR_writev:
	case __NR_sendto:
	case __NR_sendmsg:
	case __NR_sendmmsg:
	case __NR_accept:
	case __NR_accept4:
	case __NR_connect:
		return true;
	default:
		return false;
	}
}

void stop_hide_interruption(int tid)
{
	sys_regs regs;
	struct iovec io = {&regs, sizeof(regs)};

	if (trace(PTRACE_GETREGSET, tid, NT_PRSTATUS, ptr_to_u64(&io)) ||
	    !sys_regs_in_call(&regs) || (s64)sys_regs_result(&regs) != -EINTR ||
	    !can_be_made_again(sys_regs_call_number(&regs)))
		return;
	sys_regs_restart_call(&regs);
	trace(PTRACE_SETREGSET, tid, NT_PRSTATUS, ptr_to_u64(&io));
}

/* Takes note of a thread's stop, or of its end. */
static void note_stop(struct stop *stop, u32 index, int error, int status)
{
	if (error == -ESRCH)
		stop->threads[index].tid = 0;
	/* Not our interrupt but a signal on its way: as good a stop; it is delivered at release. */
	else if (status >> 16 != EVENT_STOP)
		stop->threads[index].signal = WSTOPSIG(status);
	else
		stop_hide_interruption(stop->threads[index].tid);
	stop->threads[index].stopped = true;
}

/* Waits until threads [from, count) have stopped. Those that exited are forgotten. */
static int wait_stopped(struct stop *stop, u32 from, u64 deadline)
{
	for (u32 i = from; i < stop->count; i++) {
		int status = 0, error;

		if (stop->threads[i].stopped)
			continue;
		error = wait_until(stop->threads[i].tid, deadline, &status);
		if (error == -ETIMEDOUT) {
			stop->late++;
			return -EAGAIN;
		}
		note_stop(stop, i, error, status);
	}
	return 0;
}

static const struct poke *find_window(const struct poke *pokes, u32 count, u64 ip)
{
	for (u32 i = 0; i < count; i++) {
		if (ip > pokes[i].address && ip < pokes[i].address + pokes[i].window)
			return &pokes[i];
	}
	return NULL;
}

static bool is_signal_frame(const struct stop *stop, u64 return_address)
{
	u8 code[sizeof(sys_regs_sigreturn)];
	struct iovec local = {code, sizeof(code)};
	struct iovec remote = {ptr_from_u64(return_address), sizeof(code)};

	return sys_process_vm_readv(stop->pid, &local, &remote) == (long)sizeof(code) &&
	       mem_equal(code, sys_regs_sigreturn, sizeof(code));
}

/* Is an instruction pointer inside a window saved in a signal frame on this stack? */
static bool frame_in_window(const struct stop *stop, u64 sp, const struct poke *pokes, u32 count)
{
	static u64 words[STACK_SCAN / 8];
	struct iovec local, remote;
	u64 low = ~0ull, high = 0;
	u32 have;
	long got;

	for (u32 i = 0; i < count; i++) {
		if (!pokes[i].window)
			continue;
		low = MIN(low, pokes[i].address);
		high = MAX(high, pokes[i].address + pokes[i].window);
	}
	if (!high)
		return false;
	/* The stack may end within what is asked for: then this gets the part before its end. */
	local = (struct iovec){words, sizeof(words)};
	remote = (struct iovec){ptr_from_u64(ALIGN_DOWN(sp, 8)), sizeof(words)};
	got = sys_process_vm_readv(stop->pid, &local, &remote);
	have = got > 0 ? (u32)got / 8 : 0;
	for (u32 i = SYS_REGS_FRAME_RETURN / 8; i < have; i++) {
		if (words[i] > low && words[i] < high && find_window(pokes, count, words[i]) &&
		    is_signal_frame(stop, words[i - SYS_REGS_FRAME_RETURN / 8]))
			return true;
	}
	return false;
}

/* Where a thread stands; moves it out of a window if it stands in one. */
static int check_thread(const struct stop *stop, int tid, const struct poke *pokes, u32 count)
{
	sys_regs regs;
	struct iovec io = {&regs, sizeof(regs)};
	const struct poke *poke;
	long error = trace(PTRACE_GETREGSET, tid, NT_PRSTATUS, ptr_to_u64(&io));

	if (error)
		return error == -ESRCH ? 0 : (int)error;
	if (frame_in_window(stop, sys_regs_sp(&regs), pokes, count))
		return -EAGAIN;
	poke = find_window(pokes, count, sys_regs_ip(&regs));
	if (!poke)
		return 0;
	for (u32 i = 0; i < poke->move_count; i++) {
		if (sys_regs_ip(&regs) != poke->address + poke->move_from[i])
			continue;
		sys_regs_set_ip(&regs, poke->move_to[i]);
		return (int)trace(PTRACE_SETREGSET, tid, NT_PRSTATUS, ptr_to_u64(&io));
	}
	return -EAGAIN;
}

static void interrupt(const struct stop *stop, u32 from)
{
	for (u32 i = from; i < stop->count; i++) {
		if (!stop->threads[i].stopped)
			trace(PTRACE_INTERRUPT, stop->threads[i].tid, 0, 0);
	}
}

static int try_stop(struct stop *stop, const struct poke *pokes, u32 count)
{
	u64 budget = stop->late < STOP_PATIENCE ? STOP_BUDGET_NS : STOP_BUDGET_LATE_NS;
	int tasks_fd = open_tasks(stop->pid), error = 0;

	if (tasks_fd < 0)
		return tasks_fd == -ENOENT ? -ESRCH : tasks_fd;
	stop->count = 0;
	hurry(stop);
	/* A thread that was still running may have started another: until a pass finds nobody new. */
	for (u32 pass = 0; !error && pass < STOP_PASSES; pass++) {
		u32 from = stop->count;
		int added = seize_new(stop, tasks_fd);

		/* Most of the work is done before the first of many threads stands still. */
		if (pass == 0)
			stop->began_ns = stop_now();
		/* After an error too: stop_resume lets them go from a stop. */
		interrupt(stop, from);
		error = added < 0 ? added : wait_stopped(stop, from, stop->began_ns + budget);
		if (added == 0)
			break;
	}
	sys_close(tasks_fd);
	for (u32 i = 0; !error && i < stop->count; i++) {
		if (stop->threads[i].tid)
			error = check_thread(stop, stop->threads[i].tid, pokes, count);
	}
	if (error)
		stop_resume(stop);
	else
		stop->late = 0;
	stop->waited_ns = error ? 0 : stop_now() - stop->began_ns;
	return error;
}

int stop_all(struct stop *stop, const struct poke *pokes, u32 count)
{
	const struct timespec nap = {0, 1000000};
	u64 deadline = stop_now() + TRACER_PATIENCE_NS;
	int error = try_stop(stop, pokes, count);

	while (error == -EBUSY && stop_now() < deadline) {
		sys_nanosleep(&nap);
		error = try_stop(stop, pokes, count);
	}
	return error == -EBUSY ? -EPERM : error;
}

static void release(struct stop *stop, u32 index)
{
	int tid = stop->threads[index].tid;

	if (tid && tid != stop->held_tid)
		trace(PTRACE_DETACH, tid, 0, (u64)stop->threads[index].signal);
}

void stop_resume(struct stop *stop)
{
	for (u32 i = 0; i < stop->count; i++) {
		if (stop->threads[i].stopped)
			release(stop, i);
	}
	stop->last_ns = stop_now() - stop->began_ns;
	/* Those that we gave up on: each is let go the moment it comes to its stop. */
	for (u32 i = 0; i < stop->count; i++) {
		int status = 0, error;

		if (stop->threads[i].stopped)
			continue;
		error = stop_wait(stop->threads[i].tid, STOP_TIMEOUT_MS, &status);
		if (error == -ETIMEDOUT)
			continue;
		note_stop(stop, i, error, status);
		release(stop, i);
	}
	stop->count = 0;
	stop_hurrying(stop);
}
