/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread is single-stepped to every instruction boundary of a program that makes a tail call from a subprogram, of the program
 * called, and of the way back; at each, another thread changes the slot, and is held before each of its steps (a word of code
 * written, sync_core, the grace period) while the stepped thread runs on to its end. Its result is that of before or after;
 * and nothing is freed before it has left.
 *
 * The trap flag steps the worker; its SIGTRAP handler is where it waits. The updater's steps are caught by the linker
 * (--wrap).
 */
#include "object/tail_lab.h"

#include <sched.h>
#include <signal.h>
#include <ucontext.h>

#include "base/text.h"
#include "object/objects.h"
#include "object/prog.h"
#include "sync/reader.h"

#define TRAP_FLAG 0x100

/* Of one run; both threads. */
static struct {
	u32 start, finished;
	u32 boundary; /* where the worker waits: counted from its first instruction in a program */
	u32 seen;     /* boundaries it has come to */
	u32 waiting;  /* it is there */
	u32 go;	      /* it may go on */
	u32 quit;
	u64 value;
} worker;

static struct {
	bool armed;
	u32 hold; /* the step that it is held before */
	u32 step; /* the next one */
} updater;

static const struct exec_code *caller_code;

static void wait_for(const u32 *word)
{
	while (!__atomic_load_n(word, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void set(u32 *word, u32 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* ---- the worker ---- */

/* Every program is near the caller; nothing else of the process is in memory of text.c. */
static void on_trap(int number, siginfo_t *info, void *opaque)
{
	ucontext_t *context = opaque;
	u64 ip = (u64)context->uc_mcontext.gregs[REG_RIP];

	(void)number;
	(void)info;
	if (!text_contains(ip) || worker.seen++ != worker.boundary)
		return;
	set(&worker.waiting, 1);
	wait_for(&worker.go);
	context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static u64 run_stepped(u64 (*entry)(u64, u64), u64 ctx)
{
	u64 flags, value;

	__asm__ volatile("pushf; pop %0" : "=r"(flags));
	__asm__ volatile("push %0; popf" : : "r"(flags | TRAP_FLAG) : "cc", "memory");
	value = entry(ctx, 0);
	__asm__ volatile("push %0; popf" : : "r"(flags) : "cc", "memory");
	return value;
}

static void *work(void *opaque)
{
	static struct __sk_buff context;

	(void)opaque;
	for (;;) {
		struct reader *reader = reader_self();

		wait_for(&worker.start);
		worker.start = 0;
		if (worker.quit)
			return NULL;
		reader_enter(reader);
		worker.value = run_stepped(caller_code->entry, ptr_to_u64(&context));
		reader_leave(reader);
		set(&worker.finished, 1);
	}
}

/* Lets the worker run to its end. */
static void let_go(void)
{
	set(&worker.go, 1);
	wait_for(&worker.finished);
}

/* ---- the updater's steps ---- */

int __real_text_patch(struct text_block *block, u32 offset, u64 value);
int __wrap_text_patch(struct text_block *block, u32 offset, u64 value);
int __real_sync_core(void);
int __wrap_sync_core(void);
int __real_sync_grace(int timeout_ms);
int __wrap_sync_grace(int timeout_ms);

static void step(void)
{
	if (updater.armed && updater.step++ == updater.hold)
		let_go();
}

int __wrap_text_patch(struct text_block *block, u32 offset, u64 value)
{
	step();
	return __real_text_patch(block, offset, value);
}

int __wrap_sync_core(void)
{
	step();
	return __real_sync_core();
}

/* It would wait for the worker, which waits for us. */
int __wrap_sync_grace(int timeout_ms)
{
	step();
	if (updater.armed)
		let_go();
	return __real_sync_grace(timeout_ms);
}

/* ---- the test ---- */

static struct side side = {.bpf = object_bpf};

/* A program that keeps registers and stack of its own. */
static int load_busy(int value)
{
	const struct bpf_insn insns[] = {
		MOV_IMM(6, 50),
		MOV_IMM(7, value - 50),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 7, -64, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -64, 0),
		ALU64_REG(BPF_ADD, 0, 6),
		EXIT,
	};

	return LOAD(&side, "busy program", insns);
}

/* One that only the slot holds. */
static void install_fresh(int map, int value)
{
	int prog = load_busy(value);

	CHECK_EQ(install(&side, "install", map, 1, prog), 0);
	object_close(prog);
	close(prog);
}

/* One way to change a slot: what it holds before and after (0: nothing), by the number its program returns. */
struct change {
	int before, after;
};

static void apply(int map, int value)
{
	if (value)
		install_fresh(map, value);
	else
		CHECK_EQ(take_out(&side, "remove", map, 1), 0);
}

/* With the worker at a boundary and the updater held before a step. False: the worker never came there. */
static bool run_once(int map, struct change change, u32 boundary, u32 hold, bool *ret_held)
{
	bool came;
	int value;

	if (change.before)
		install_fresh(map, change.before);
	worker.boundary = boundary;
	worker.seen = worker.waiting = worker.go = worker.finished = 0;
	set(&worker.start, 1);
	while (!__atomic_load_n(&worker.waiting, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&worker.finished, __ATOMIC_ACQUIRE))
		sched_yield();
	came = worker.waiting;
	updater.hold = hold;
	updater.step = 0;
	updater.armed = came;
	apply(map, change.after);
	*ret_held = updater.step > hold;
	updater.armed = false;
	/* What was in the slot is freed now, unless it waited for the worker. */
	if (came && change.before)
		CHECK(worker.finished);
	if (came)
		let_go();
	value = (int)worker.value - 100;
	CHECK(value == (change.before ? change.before : 12) ||
	      (came && value == (change.after ? change.after : 12)));
	if (change.after)
		CHECK_EQ(take_out(&side, "clean up", map, 1), 0);
	side.count = 0;
	return came;
}

static void every_boundary(struct change change)
{
	int map = make_map(&side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2);
	int caller = load_from_subprog(&side, map, 1, 7);
	u32 boundaries = 0, runs = 0, steps = 0;
	struct object *object;
	pthread_t thread;
	bool came = true;

	CHECK_EQ(objects_get(OBJECT_PROG, caller, &object), 0);
	caller_code = prog_code(object);
	worker.quit = 0;
	pthread_create(&thread, NULL, work, NULL);
	for (u32 boundary = 0; came; boundary++) {
		bool held = true;

		for (u32 hold = 0; came && held; hold++) {
			came = run_once(map, change, boundary, hold, &held);
			steps = MAX(steps, hold);
			runs++;
		}
		boundaries += came;
	}
	worker.quit = 1;
	set(&worker.start, 1);
	pthread_join(thread, NULL);
	CHECK(boundaries > 20);
	CHECK(steps >= 3);
	printf("# %u boundaries, %u steps of the updater, %u runs\n", boundaries, steps, runs);
	objects_put(object);
}

static void every_boundary_while_a_slot_is_filled(void)
{
	every_boundary((struct change){0, 2});
}

static void every_boundary_while_a_slot_is_replaced(void)
{
	every_boundary((struct change){3, 4});
}

static void every_boundary_while_a_slot_is_emptied(void)
{
	every_boundary((struct change){5, 0});
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	sigaction(SIGTRAP, &action, NULL);
	alarm(120); /* a worker that went astray never comes back */
	if (reader_init())
		return 1;
	RUN(every_boundary_while_a_slot_is_filled);
	RUN(every_boundary_while_a_slot_is_replaced);
	RUN(every_boundary_while_a_slot_is_emptied);
	return test_done();
}
