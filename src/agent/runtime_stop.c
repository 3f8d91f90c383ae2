/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who stops the program's threads for a poke: the loader while there is one, else a helper process of our own.
 *
 * The helper shares our memory (CLONE_VM) and nothing else. It exists for one stop. Its exit signal is 0, so the program neither
 * sees SIGCHLD nor finds it with an ordinary wait.
 *
 *   loader's answer | stopped       | -EAGAIN       | end of file or silence
 *   stop()          | 0             | -EAGAIN       | by the helper from now on
 *   resume()        | WIRE_RESUME   | -             | the kernel let them go when the loader died
 */
#include "agent/runtime.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "agent/stop.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/sys_thread.h"

#define HELPER_STACK	  (128 * 1024)
#define LOADER_TIMEOUT_MS 2000

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#endif

enum helper_state {
	HELPER_WAITS, /* until it may be our tracer */
	HELPER_GO,
	HELPER_STOPPED,
	HELPER_FAILED,
	HELPER_RELEASE,
};

struct helper {
	u32 state;
	int error;
	const struct poke *pokes;
	u32 count;
	int pid;
	struct stop stop;
	char stack[HELPER_STACK] __attribute__((aligned(16)));
};

static void set_state(struct helper *helper, u32 state)
{
	__atomic_store_n(&helper->state, state, __ATOMIC_RELEASE);
	sys_futex(&helper->state, FUTEX_WAKE, 1, NULL);
}

static u32 wait_while(struct helper *helper, u32 state)
{
	struct timespec limit = {1, 0};

	while (__atomic_load_n(&helper->state, __ATOMIC_ACQUIRE) == state) {
		if (sys_futex(&helper->state, FUTEX_WAIT, state, &limit) == -ETIMEDOUT)
			break;
	}
	return __atomic_load_n(&helper->state, __ATOMIC_ACQUIRE);
}

static void helper_main(void *arg)
{
	struct helper *helper = arg;

	if (wait_while(helper, HELPER_WAITS) == HELPER_GO) {
		helper->error = stop_all(&helper->stop, helper->pokes, helper->count);
		set_state(helper, helper->error ? HELPER_FAILED : HELPER_STOPPED);
		if (!helper->error) {
			/* Not for ever: the poker is a few microseconds away. */
			wait_while(helper, HELPER_STOPPED);
			stop_resume(&helper->stop);
		}
	}
	sys_call1(__NR_exit, 0);
}

static void reap(struct runtime_stopper *stopper, struct helper *helper)
{
	sys_prctl(PR_SET_PTRACER, 0, 0, 0, 0);
	while (sys_call4(__NR_wait4, helper->pid, 0, 0x80000000u /* __WCLONE */, 0) == -EINTR)
		;
	sys_munmap(helper, sizeof(*helper));
	stopper->helper = NULL;
}

static int stop_by_helper(struct runtime_stopper *stopper, const struct poke *pokes, u32 count)
{
	/* Not the arena's: in a child of a fork its lock may be held for good. */
	struct helper *helper = sys_mmap(NULL, sizeof(*helper), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error;

	if (sys_is_error(helper))
		return -ENOMEM;
	helper->pokes = pokes;
	helper->count = count;
	helper->stop.pid = sys_getpid();
	if (stopper->alone)
		helper->stop.skip[0] = (u32)sys_gettid();
	else
		runtime_tids(helper->stop.skip);
	helper->pid = (int)sys_thread_start(CLONE_VM | CLONE_FS | CLONE_UNTRACED,
					    helper->stack + HELPER_STACK, NULL, NULL, helper_main,
					    helper);
	if (helper->pid < 0) {
		error = helper->pid;
		sys_munmap(helper, sizeof(*helper));
		return error;
	}
	stopper->helper = helper;
	sys_prctl(PR_SET_PTRACER, (unsigned long)helper->pid, 0, 0, 0);
	set_state(helper, HELPER_GO);
	while (wait_while(helper, HELPER_GO) == HELPER_GO)
		;
	error = helper->error;
	if (helper->state != HELPER_STOPPED)
		reap(stopper, helper);
	else
		stopper->by_helper = 1;
	return error;
}

/* Asks the loader. -EPIPE: there is none. */
static int stop_by_loader(struct runtime_stopper *stopper, const struct poke *pokes, u32 count)
{
	struct wire_message *answer = arena_alloc(sizeof(*answer));
	int error;

	if (!answer)
		return -ENOMEM;
	error = wire_send(stopper->fd, WIRE_STOP, pokes, count * (u32)sizeof(*pokes), NULL, 0);
	if (!error)
		error = wire_receive(stopper->fd, -1, LOADER_TIMEOUT_MS, answer);
	if (!error && (answer->kind != WIRE_STOPPED || answer->size != sizeof(struct wire_reply)))
		error = -EPIPE;
	if (!error)
		error = ((const struct wire_reply *)(const void *)answer->payload)->error;
	arena_free(answer);
	return error;
}

static int stop(void *opaque, const struct poke *pokes, u32 count)
{
	struct runtime_stopper *stopper = opaque;
	int error;

	stopper->by_helper = 0;
	if (stopper->fd >= 0 && count <= WIRE_POKES_PER_PACKET) {
		error = stop_by_loader(stopper, pokes, count);
		if (error != -EPIPE && error != -ETIMEDOUT)
			return error;
	}
	return stop_by_helper(stopper, pokes, count);
}

static void resume(void *opaque)
{
	struct runtime_stopper *stopper = opaque;

	if (!stopper->by_helper) {
		wire_send(stopper->fd, WIRE_RESUME, NULL, 0, NULL, 0);
		return;
	}
	stopper->by_helper = 0;
	set_state(stopper->helper, HELPER_RELEASE);
	reap(stopper, stopper->helper);
}

void runtime_stopper_init(struct runtime_stopper *stopper, int fd)
{
	*stopper = (struct runtime_stopper){.stopper = {stop, resume, stopper}, .fd = fd};
}

void runtime_stopper_init_alone(struct runtime_stopper *stopper)
{
	runtime_stopper_init(stopper, -1);
	stopper->alone = 1;
}
