/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Life of the agent's threads.
 *
 *   state \ event | agent_entry               | last session ends | process forks
 *   NONE          | starts both, RUNNING      | -                 | -
 *   RUNNING       | hands its session over    | ENDING            | the child's takes its patches out, AGENT_STALE
 *   ENDING        | waits until it is NONE    | -                 | the same
 *
 * `lock` guards the state and the offered session. It is held for a few instructions and never while waiting.
 */
#include "agent/runtime.h"

#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/sys_thread.h"
#include "exec/fault.h"
#include "hook/hook.h"
#include "maps/ringbuf.h"
#include "sync/deputy.h"
#include "sync/participant.h"

#define STACK_SIZE (256 * 1024)
#define TLS_BELOW  (256 * 1024) /* libc's and our own static TLS lie below the thread pointer */
#define TLS_ABOVE  (32 * 1024)	/* libc's thread descriptor */
#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |                  \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define TICK_MS		 250
#define SECOND_NS	 1000000000ull
#define HANDOVER_TIMEOUT 5 /* seconds */

#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

enum state {
	STATE_NONE,
	STATE_RUNNING,
	STATE_ENDING,
};

/*
 *   state \ who    | agent_entry                  | deputy           | control thread
 *   NONE           | OPEN                         | -                | -
 *   OPEN           | NONE when it waited too long | TAKING           | REFUSED when it could not start
 *   TAKING         | waits on                     | TAKEN or REFUSED | -
 *   TAKEN, REFUSED | OPEN, the next one           | -                | -
 */
enum offer {
	OFFER_NONE,
	OFFER_OPEN,
	OFFER_TAKING,
	OFFER_TAKEN,
	OFFER_REFUSED,
};

static struct runtime {
	u32 lock;
	u32 state;
	int pid;
	/* Thread ids; the kernel clears them when the thread is gone. */
	u32 control_tid, deputy_tid;
	char *control_memory, *deputy_memory;
	/* A session that agent_entry offers while the threads run. */
	int offer_fd, offer_tid;
	u32 offer; /* enum offer */
	/* Sessions that the deputy has taken and the control thread will find: a ring, one writer, one reader. */
	int arrived[RUNTIME_MAX_SESSIONS];
	u32 arrived_in, arrived_out;
	u32 started; /* 0: not yet, 1: serving, else -errno */
	u32 quit;
	int door_fd; /* eventfd: wakes the control thread */
	int proc_fd;
	struct session *sessions[RUNTIME_MAX_SESSIONS];
} runtime = {.door_fd = -1, .proc_fd = -1};

static bool try_lock(void)
{
	return !__atomic_exchange_n(&runtime.lock, 1, __ATOMIC_ACQUIRE);
}

static void lock(void)
{
	while (!try_lock())
		sys_sched_yield();
}

/* For threads of the program: the holder may be the very thread, borrowed again in the middle of an earlier entry. */
static bool lock_in_time(void)
{
	for (u32 i = 0; i < 10000; i++) {
		if (try_lock())
			return true;
		sys_sched_yield();
	}
	return false;
}

static void unlock(void)
{
	__atomic_store_n(&runtime.lock, 0, __ATOMIC_RELEASE);
}

static void word_set(u32 *word, u32 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	sys_futex(word, FUTEX_WAKE, 0x7fffffff, NULL);
}

/* Waits while *word is value. 0 or -ETIMEDOUT. The kernel's wake at CLEARTID is a shared one, hence no PRIVATE. */
static int word_wait(u32 *word, u32 value, u32 seconds)
{
	struct timespec limit = {seconds, 0};

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) {
		if (sys_futex(word, FUTEX_WAIT, value, &limit) == -ETIMEDOUT)
			return -ETIMEDOUT;
	}
	return 0;
}

void runtime_tids(u32 ret_tids[2])
{
	ret_tids[0] = __atomic_load_n(&runtime.control_tid, __ATOMIC_RELAXED);
	ret_tids[1] = __atomic_load_n(&runtime.deputy_tid, __ATOMIC_RELAXED);
}

int runtime_proc_fd(void)
{
	return runtime.proc_fd;
}

/* One mapping: [guard][stack][room for TLS, thread pointer, room above]. Kept and used again by the next thread. */
static char *thread_memory(void)
{
	size_t size = 4096 + STACK_SIZE + TLS_BELOW + TLS_ABOVE;
	char *memory =
		sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_is_error(memory))
		return NULL;
	sys_mprotect(memory, 4096, PROT_NONE);
	return memory;
}

static int start_thread(char **memory, u32 *tid_word, unsigned long extra_flags, void (*fn)(void *),
			void *arg)
{
	char *tls, *stack_top;
	u64 all = ~0ull, old;
	long tid;

	if (!*memory)
		*memory = thread_memory();
	if (!*memory)
		return -ENOMEM;
	stack_top = *memory + 4096 + STACK_SIZE;
	tls = stack_top + TLS_BELOW;
	mem_zero(stack_top, TLS_BELOW + TLS_ABOVE);
	sys_thread_tls_init(tls);
	/* The new thread inherits the mask: it never has a signal open. */
	sys_rt_sigprocmask(SIG_SETMASK, &all, &old);
	tid = sys_thread_start(THREAD_FLAGS | extra_flags, stack_top, tid_word, tls, fn, arg);
	sys_rt_sigprocmask(SIG_SETMASK, &old, NULL);
	return tid < 0 ? (int)tid : 0;
}

/* Closes every descriptor of the calling thread's table but one. */
static void close_all_but(int keep)
{
	struct rlimit limit;

	if ((keep == 0 || !sys_call3(__NR_close_range, 0, keep - 1, 0)) &&
	    !sys_call3(__NR_close_range, keep + 1, ~0u, 0))
		return;
	if (sys_call4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &limit))
		limit.rlim_max = 65536;
	for (u64 fd = 0; fd < limit.rlim_max && fd < 1u << 20; fd++) {
		if (fd != (u64)keep)
			sys_close((int)fd);
	}
}

/* Fetches the offered descriptor out of the table of the thread that offers it. */
static int take_offer(void)
{
	int pidfd, fd;

	pidfd = (int)sys_call2(__NR_pidfd_open, runtime.offer_tid, PIDFD_THREAD);
	if (pidfd < 0) /* before Linux 6.9: the main thread's table, normally the same */
		pidfd = (int)sys_call2(__NR_pidfd_open, runtime.pid, 0);
	if (pidfd < 0)
		return pidfd;
	fd = (int)sys_call3(__NR_pidfd_getfd, pidfd, runtime.offer_fd, 0);
	sys_close(pidfd);
	return fd;
}

static bool change_offer(u32 from, u32 to)
{
	return __atomic_compare_exchange_n(&runtime.offer, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/*
 * By the deputy: the control thread may be waiting for a loader to stop the program's threads, which it cannot while another
 * loader has borrowed the thread that offers.
 */
static void answer_offer(void)
{
	u32 in = runtime.arrived_in;
	u64 one = 1;
	int fd = -ENOSPC;

	if (!change_offer(OFFER_OPEN, OFFER_TAKING))
		return;
	if (in - __atomic_load_n(&runtime.arrived_out, __ATOMIC_ACQUIRE) < RUNTIME_MAX_SESSIONS)
		fd = take_offer();
	if (fd >= 0) {
		runtime.arrived[in % RUNTIME_MAX_SESSIONS] = fd;
		__atomic_store_n(&runtime.arrived_in, in + 1, __ATOMIC_RELEASE);
		sys_write(runtime.door_fd, &one, sizeof(one));
	}
	word_set(&runtime.offer, fd < 0 ? OFFER_REFUSED : OFFER_TAKEN);
}

static void deputy_main(void *arg)
{
	(void)arg;
	deputy_owns_descriptors();
	sys_prctl(PR_SET_NAME, ptr_to_u64("inlay-deputy"), 0, 0, 0);
	while (!__atomic_load_n(&runtime.quit, __ATOMIC_ACQUIRE)) {
		if (deputy_wait(1000) == -ETIMEDOUT) {
			creds_follow();
			continue;
		}
		ringbuf_wake_pending();
		participant_judge_suspects();
		answer_offer();
	}
	sys_thread_exit();
}

static bool add_session(int fd)
{
	for (u32 i = 0; i < RUNTIME_MAX_SESSIONS; i++) {
		if (runtime.sessions[i])
			continue;
		runtime.sessions[i] = session_open(fd);
		return runtime.sessions[i];
	}
	return false;
}

static bool has_arrivals(void)
{
	return __atomic_load_n(&runtime.arrived_in, __ATOMIC_ACQUIRE) != runtime.arrived_out;
}

static void open_arrivals(bool refused)
{
	while (has_arrivals()) {
		int fd = runtime.arrived[runtime.arrived_out % RUNTIME_MAX_SESSIONS];

		__atomic_store_n(&runtime.arrived_out, runtime.arrived_out + 1, __ATOMIC_RELEASE);
		if (refused || !add_session(fd))
			sys_close(fd); /* its loader finds the other end closed */
	}
}

static void answer_door(void)
{
	u64 count;

	sys_read(runtime.door_fd, &count, sizeof(count));
	open_arrivals(false);
}

/* Only we keep the process: its end is the end of the last of us. */
static void __attribute__((noreturn)) end_with_program(void)
{
	__atomic_store_n(&runtime.quit, 1, __ATOMIC_RELEASE);
	deputy_post();
	sys_thread_exit();
}

/* What needs doing without being asked. ticked: nobody asked for anything since the last time. */
static void do_chores(bool ticked)
{
	static u64 last_ns;
	struct timespec now;
	u64 now_ns;

	sys_clock_gettime(CLOCK_MONOTONIC, &now);
	now_ns = (u64)now.tv_sec * SECOND_NS + (u64)now.tv_nsec;
	if (!ticked || now_ns - last_ns > SECOND_NS) {
		last_ns = now_ns;
		creds_follow();
		if (!creds_program_alive())
			end_with_program();
	}
	fault_keep_handlers();
	if (__atomic_load_n(&fault_wants_refresh, __ATOMIC_RELAXED))
		fault_refresh();
}

/* Waits for a request, an offer or the tick, and deals with it. */
static void serve_once(void)
{
	struct pollfd polls[RUNTIME_MAX_SESSIONS + 1];
	struct session *polled[RUNTIME_MAX_SESSIONS + 1];
	struct timespec tick = {TICK_MS / 1000, TICK_MS % 1000 * 1000000L};
	u32 count = 1;
	int ready;

	polls[0] = (struct pollfd){.fd = runtime.door_fd, .events = POLLIN};
	for (u32 i = 0; i < RUNTIME_MAX_SESSIONS; i++) {
		if (!runtime.sessions[i])
			continue;
		polled[count] = runtime.sessions[i];
		polls[count++] =
			(struct pollfd){.fd = session_fd(runtime.sessions[i]), .events = POLLIN};
	}
	ready = sys_ppoll(polls, count, &tick);
	do_chores(ready == 0);
	for (u32 p = 1; ready > 0 && p < count; p++) {
		if (!polls[p].revents || !session_serve(polled[p]))
			continue;
		session_close(polled[p]);
		for (u32 i = 0; i < RUNTIME_MAX_SESSIONS; i++) {
			if (runtime.sessions[i] == polled[p])
				runtime.sessions[i] = NULL;
		}
	}
	if (ready > 0 && polls[0].revents)
		answer_door();
}

static bool any_session(void)
{
	for (u32 i = 0; i < RUNTIME_MAX_SESSIONS; i++) {
		if (runtime.sessions[i])
			return true;
	}
	return false;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
	*fd = -1;
}

/* No session is left. False: one was offered meanwhile. failed: there may be no deputy who takes it. */
static bool end_control(bool failed)
{
	bool ends;
	u32 offer;

	if (failed && change_offer(OFFER_OPEN, OFFER_REFUSED))
		word_set(&runtime.offer, OFFER_REFUSED);
	lock();
	offer = __atomic_load_n(&runtime.offer, __ATOMIC_ACQUIRE);
	/* In this order: what the deputy took has arrived before the offer is TAKEN. */
	ends = offer != OFFER_OPEN && offer != OFFER_TAKING && !has_arrivals();
	if (ends)
		runtime.state = STATE_ENDING;
	unlock();
	if (!ends)
		return false;
	word_set(&runtime.quit, 1);
	deputy_post();
	for (u32 tid; (tid = __atomic_load_n(&runtime.deputy_tid, __ATOMIC_ACQUIRE));)
		word_wait(&runtime.deputy_tid, tid, 1);
	close_fd(&runtime.door_fd);
	close_fd(&runtime.proc_fd);
	self_close();
	return true;
}

static int set_up_control(int session)
{
	int error;

	sys_prctl(PR_SET_NAME, ptr_to_u64("inlay"), 0, 0, 0);
	close_all_but(session);
	/* A working directory of its own would keep a file system busy. */
	sys_call1(__NR_chdir, "/");
	runtime.proc_fd = sys_openat(AT_FDCWD, "/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (runtime.proc_fd < 0)
		return runtime.proc_fd;
	runtime.door_fd = sys_eventfd2(0, O_CLOEXEC | O_NONBLOCK);
	if (runtime.door_fd < 0)
		return runtime.door_fd;
	deputy_install();
	deputy_owns_descriptors();
	runtime.quit = 0;
	error = start_thread(&runtime.deputy_memory, &runtime.deputy_tid, CLONE_FILES | CLONE_FS,
			     deputy_main, NULL);
	if (error)
		return error;
	return add_session(session) ? 0 : -ENOMEM;
}

static void control_main(void *arg)
{
	int error = set_up_control((int)(uintptr_t)arg);

	word_set(&runtime.started, error ? (u32)error : 1);
	do {
		open_arrivals(error != 0);
		while (!error && any_session())
			serve_once();
	} while (!end_control(error != 0));
	sys_thread_exit();
}

/* Called with the lock held and no control thread; drops the lock. */
static int start_control(int session)
{
	int error;

	runtime.started = 0;
	runtime.offer = OFFER_NONE;
	runtime.arrived_in = runtime.arrived_out = 0;
	runtime.pid = sys_getpid();
	error = start_thread(&runtime.control_memory, &runtime.control_tid, 0, control_main,
			     (void *)(uintptr_t)session);
	if (!error)
		runtime.state = STATE_RUNNING;
	unlock();
	if (error)
		return error;
	error = word_wait(&runtime.started, 0, HANDOVER_TIMEOUT);
	if (!error && runtime.started != 1)
		error = (int)runtime.started;
	return error;
}

/* Called with the lock held while the control thread runs; drops the lock. */
static int offer_session(int session)
{
	u32 offer = __atomic_load_n(&runtime.offer, __ATOMIC_ACQUIRE);

	if (offer == OFFER_OPEN || offer == OFFER_TAKING) {
		unlock();
		return -EBUSY;
	}
	runtime.offer_fd = session;
	runtime.offer_tid = sys_gettid();
	__atomic_store_n(&runtime.offer, OFFER_OPEN, __ATOMIC_RELEASE);
	unlock();
	deputy_post();
	/* Taken back when nobody comes for it: the descriptor's number will soon be somebody else's. */
	if (word_wait(&runtime.offer, OFFER_OPEN, HANDOVER_TIMEOUT) &&
	    change_offer(OFFER_OPEN, OFFER_NONE))
		return -ETIMEDOUT;
	word_wait(&runtime.offer, OFFER_TAKING, HANDOVER_TIMEOUT);
	return __atomic_load_n(&runtime.offer, __ATOMIC_ACQUIRE) == OFFER_TAKEN ? 0 : -ENOSPC;
}

int agent_entry(const struct agent_params *params)
{
	if (params->version != WIRE_VERSION)
		return -EPROTO;
	/* Before the lock: it may be held for good, by a thread that this process has not inherited. */
	if (runtime.pid && runtime.pid != sys_getpid()) {
		struct runtime_stopper stopper;

		runtime_stopper_init_alone(&stopper);
		hook_restore_inherited(&stopper.stopper);
		return AGENT_STALE;
	}
	if (params->link_map)
		self_set_link_map(params->link_map);
	for (;;) {
		u32 tid;

		if (!lock_in_time())
			return -EBUSY;
		tid = __atomic_load_n(&runtime.control_tid, __ATOMIC_ACQUIRE);
		if (runtime.state == STATE_RUNNING && tid)
			return offer_session(params->session_fd);
		if (!tid)
			return start_control(params->session_fd);
		unlock();
		if (word_wait(&runtime.control_tid, tid, HANDOVER_TIMEOUT))
			return -ETIMEDOUT;
	}
}
