/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread that is single-stepped to every instruction boundary of victim, site, stub, displaced copy, image, program and return
 * path; at each, the probe is attached, swapped or detached by another thread of the same process. The stepped thread must
 * finish with the right result, and the code it stands in must stay until it has left, and be gone then.
 *
 * parent: traces the worker, is the poke_stopper. child: main thread attaches and detaches on command, worker calls.
 *
 * At a boundary the worker stands still under the tracer, or sleeps in a signal handler that has interrupted it there, which it
 * leaves by return or by siglongjmp.
 */
#ifndef INLAY_TESTS_UNIT_HOOK_STEP_H
#define INLAY_TESTS_UNIT_HOOK_STEP_H

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/text.h"
#include "victims.h"

enum command {
	NOTHING,
	ATTACH_FIRST,
	ATTACH_SECOND,
	DETACH_FIRST,
	DETACH_SECOND,
	REAP,
	SPOIL,
	HITS,
};

/* What is attached. */
struct kind {
	const char *name;
	enum hook_side sides[3];
	u32 count;
	bool typed;
	u64 verdict; /* of fmod_ret: 0 runs the function, else it is skipped with this result */
};

/* How the worker stands at a boundary, and leaves it. */
enum manner { MANNER_STOPPED, MANNER_HANDLER, MANNER_JUMP };

enum side { PARENT, CHILD };

/* Between parent and child: each works while it is its turn. */
struct shared {
	u32 turn;    /* enum side */
	u32 command; /* to the child */
	int result;
	u32 victim;
	const struct kind *kind;
	bool jump; /* the handler leaves by siglongjmp */
	u32 wrong; /* results of its own call */
	int worker;
	bool traced;
	/* The stopper's call to the parent, in the middle of a command. */
	bool stop_wanted;
	int stop_result;
	struct poke pokes[2];
	u32 poke_count;
};

static struct shared *shared;

PROLOGUE_VICTIM(stepped_prologue, 0);
int stepped_nop(int a, int b);
void worker_loop(int (*function)(int, int));
extern const char worker_begin[], worker_end[];
__asm__(".text\n.balign 16\nstepped_nop:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea (%rdi,%rsi,2), %eax\nret\n"
	"worker_loop:\npush %rbx\nmov %rdi, %rbx\npcmpeqd %xmm0, %xmm0\nmovdqa %xmm0, %xmm15\nfninit\nfldpi\n"
	"worker_begin: int3\nmov $3, %edi\nmov $4, %esi\ncall *%rbx\n"
	"worker_end: int3\njmp worker_begin\n");

#define RESULT 11

/* text.c's region: what is free in it is taken in large blocks, and what lies between others in small ones. */
static const struct {
	u32 size, count;
} spoilers[] = {{4096, 64}, {1024, 32}, {256, 32}, {64, 32}, {16, 32}};

#define SPOILER_BLOCKS (64 + 4 * 32)
#define TRAP_BYTE      0xcc

static u64 counts;

static u64 count_entry(struct abi_pt_regs_x86_64 *regs)
{
	counts += regs->di == 3 && regs->si == 4;
	return 0;
}

static u64 count_return(struct abi_pt_regs_x86_64 *regs)
{
	counts += (u32)regs->ax == RESULT;
	return 0;
}

static u64 count_fentry(u64 *args)
{
	counts += args[0] == 3 && args[1] == 4;
	return 0;
}

static u64 count_fexit(u64 *args)
{
	counts += args[0] == 3 && args[1] == 4 && (u32)args[2] == RESULT;
	return 0;
}

static u64 count_modify(u64 *args)
{
	counts += args[0] == 3 && args[1] == 4;
	return shared->kind->verdict;
}

static void give_turn(enum side to)
{
	__atomic_store_n(&shared->turn, to, __ATOMIC_RELEASE);
	sys_futex(&shared->turn, FUTEX_WAKE, 1, NULL);
}

static void await_turn(enum side of)
{
	while (__atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE) != of)
		sys_futex(&shared->turn, FUTEX_WAIT, !of, NULL);
}

/* ---- child, main thread ---- */

static struct site_spec sites[2];

static int ask_stop(void *opaque, const struct poke *pokes, u32 count)
{
	(void)opaque;
	memcpy(shared->pokes, pokes, count * sizeof(*pokes));
	shared->poke_count = count;
	shared->stop_wanted = true;
	give_turn(PARENT);
	await_turn(CHILD);
	return shared->stop_result;
}

static const void *program_of(enum hook_side side, bool typed)
{
	switch (side) {
	case HOOK_ENTRY:
		return typed ? (const void *)count_fentry : (const void *)count_entry;
	case HOOK_RETURN:
		return count_return;
	case HOOK_EXIT:
		return count_fexit;
	default:
		return count_modify;
	}
}

static int attach(struct hook_link **link, bool second)
{
	/* Words on the stack too, whatever they hold: their copies are one more thing to step through. */
	static const struct signature signature = {
		.known = 1,
		.slot_count = 2,
		.stack_words = 1,
		.returns = SIGNATURE_INTEGER,
		.slots = {SIGNATURE_GENERAL, SIGNATURE_GENERAL + 1}};
	const struct poke_stopper stopper = {ask_stop, resume_nobody, NULL};
	const struct kind *kind = shared->kind;
	struct hook_attach entries[3];
	u32 failed;

	for (u32 i = 0; i < kind->count; i++) {
		entries[i] =
			attachment(sites[shared->victim], kind->sides[i], NULL, second ? 3 + i : i);
		entries[i].program.entry = ptr_to_u64(program_of(kind->sides[i], kind->typed));
		if (kind->typed)
			entries[i].signature = signature;
	}
	return hook_attach_batch(entries, kind->count, &stopper, link, &failed);
}

/* Fills all executable memory that is free with traps: whoever runs on in a freed image meets one. */
static int spoil_free_text(void)
{
	static struct text_block blocks[SPOILER_BLOCKS];
	u64 near = sites[shared->victim].address;
	u32 made = 0;
	int err = 0;

	for (u32 i = 0; i < ARRAY_SIZE(spoilers); i++) {
		for (u32 k = 0; k < spoilers[i].count && !err; k++) {
			err = text_alloc(near, spoilers[i].size, &blocks[made]);
			if (!err)
				err = text_commit(&blocks[made++]);
		}
	}
	for (u32 i = 0; i < made; i++)
		text_free(&blocks[i]);
	return err;
}

static int obey(u32 command, struct hook_link **links)
{
	switch (command) {
	case ATTACH_FIRST:
	case ATTACH_SECOND:
		return attach(&links[command - ATTACH_FIRST], command == ATTACH_SECOND);
	case DETACH_FIRST:
	case DETACH_SECOND:
		return hook_detach(links[command - DETACH_FIRST], NULL);
	case REAP:
		return hook_reap();
	case SPOIL:
		return spoil_free_text();
	default:
		return (int)counts;
	}
}

static sigjmp_buf back;

static void sleep_in_handler(int signal)
{
	(void)signal;
	/* A hit in the middle of another one, whose mark may be half made. */
	shared->wrong += (shared->victim ? stepped_prologue : stepped_nop)(3, 4) != RESULT;
	__asm__ volatile("int3"); /* until the tracer goes on */
	if (shared->jump)
		siglongjmp(back, 1);
}

static void *work(void *opaque)
{
	(void)opaque;
	shared->worker = sys_gettid();
	while (!__atomic_load_n(&shared->traced, __ATOMIC_ACQUIRE))
		sched_yield();
	sigsetjmp(back, 1);
	worker_loop(shared->victim ? stepped_prologue : stepped_nop);
	return NULL;
}

static void find_sites(void)
{
	sites[0] = nop_site((void *)stepped_nop);
	sites[1] = prologue_site((void *)stepped_prologue);
}

static void child(void)
{
	struct sigaction action = {.sa_handler = sleep_in_handler};
	struct hook_link *links[2];
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGUSR1, &action, NULL);
	hook_set_timeout(1);
	pthread_create(&thread, NULL, work, NULL);
	for (;;) {
		await_turn(CHILD);
		shared->result = obey(shared->command, links);
		give_turn(PARENT);
	}
}

/* ---- parent ---- */

static u64
	interrupted; /* where the handler that the worker sleeps in will return to; 0: it is in none */

static int wait_worker(void)
{
	int status = 0;

	if (waitpid(shared->worker, &status, __WALL) < 0 || !WIFSTOPPED(status))
		return -1;
	return WSTOPSIG(status);
}

static struct user_fpregs_struct vectors(void)
{
	struct user_fpregs_struct now = {0};

	CHECK_EQ(ptrace(PTRACE_GETFPREGS, shared->worker, 0, &now), 0);
	return now;
}

/* Vector and x87 registers are the function's: nothing that a probe adds may change one, however briefly. */
static void check_vectors(const struct user_fpregs_struct *first)
{
	struct user_fpregs_struct now = vectors();

	CHECK(!memcmp(now.xmm_space, first->xmm_space, sizeof(now.xmm_space)));
	CHECK(!memcmp(now.st_space, first->st_space, sizeof(now.st_space)));
	CHECK(now.mxcsr == first->mxcsr && now.cwd == first->cwd && now.ftw == first->ftw);
}

static struct user_regs_struct registers(void)
{
	struct user_regs_struct regs = {0};

	ptrace(PTRACE_GETREGS, shared->worker, 0, &regs);
	return regs;
}

static bool is_inside(const struct poke *poke, u64 ip)
{
	return ip > poke->address && ip < poke->address + poke->window;
}

/* The worker is stopped already; what remains of a stop is moving it. */
static int move_worker(void)
{
	struct user_regs_struct regs = registers();

	for (u32 i = 0; i < shared->poke_count; i++) {
		const struct poke *poke = &shared->pokes[i];

		if (is_inside(poke, interrupted))
			return -EAGAIN;
		if (!is_inside(poke, regs.rip))
			continue;
		for (u32 m = 0; m < poke->move_count; m++) {
			if (poke->move_from[m] != regs.rip - poke->address)
				continue;
			regs.rip = poke->move_to[m];
			return ptrace(PTRACE_SETREGS, shared->worker, 0, &regs) ? -EIO : 0;
		}
		return -EAGAIN;
	}
	return 0;
}

static int command(enum command what)
{
	shared->command = what;
	for (;;) {
		give_turn(CHILD);
		await_turn(PARENT);
		if (!shared->stop_wanted)
			return shared->result;
		shared->stop_wanted = false;
		shared->stop_result = move_worker();
	}
}

static u8 code_at(u64 address)
{
	u8 code = 0;
	struct iovec local = {&code, 1}, remote = {ptr_from_u64(address), 1};

	return process_vm_readv(shared->worker, &local, 1, &remote, 1, 0) == 1 ? code : 0;
}

/* From behind the first int3, steps times. False: the call was over before. */
static bool step(u32 steps)
{
	for (u32 i = 0; i < steps; i++) {
		if (registers().rip == ptr_to_u64(worker_end))
			return false;
		if (ptrace(PTRACE_SINGLESTEP, shared->worker, 0, 0) || wait_worker() != SIGTRAP) {
			FAIL("stepped");
			return false;
		}
	}
	return true;
}

static void go_on(int signal)
{
	ptrace(PTRACE_CONT, shared->worker, 0, signal);
	CHECK_EQ(wait_worker(), SIGTRAP);
}

/* To the end of the call, checks its result, and to the beginning of the next. */
static bool finish(u32 steps)
{
	struct user_regs_struct regs;

	go_on(0);
	regs = registers();
	if (regs.rip != ptr_to_u64(worker_end) + 1 || (u32)regs.rax != RESULT) {
		printf("# after %u steps: rip %llx, result %u\n", steps, regs.rip, (u32)regs.rax);
		FAIL("the right result");
		return false;
	}
	go_on(0);
	return true;
}

/* Out of the handler and, after siglongjmp, to the beginning of a call. */
static bool leave_handler(enum manner manner, u32 steps)
{
	interrupted = 0;
	if (manner != MANNER_JUMP)
		return true;
	go_on(0);
	if (registers().rip == ptr_to_u64(worker_begin) + 1)
		return true;
	printf("# after %u steps: rip %llx\n", steps, registers().rip);
	FAIL("jumped back");
	return false;
}

/* ---- what happens while the worker stands still; returns which link is attached then ---- */

static u32 timeouts; /* detachments that left images to threads in them */

static enum command detach_now(void)
{
	int err = command(DETACH_FIRST);

	CHECK(err == 0 || err == -ETIMEDOUT);
	timeouts += err == -ETIMEDOUT;
	return NOTHING;
}

static enum command swap_now(void)
{
	CHECK_EQ(command(ATTACH_SECOND), 0);
	detach_now();
	return DETACH_SECOND;
}

/* The interrupted instruction pointer cannot be moved out of a window: there it is refused. */
static enum command attach_now(void)
{
	const struct site_spec *site = &sites[shared->victim];
	bool inside = site->kind == SITE_PROLOGUE && interrupted > site->address &&
		      interrupted < site->address + site->displaced.length;

	CHECK_EQ(command(ATTACH_FIRST), inside ? -EAGAIN : 0);
	return inside ? NOTHING : DETACH_FIRST;
}

static enum command attach_and_detach_now(void)
{
	if (attach_now() != NOTHING)
		detach_now();
	return NOTHING;
}

struct scenario {
	const char *name;
	bool attached_before;
	enum command (*meanwhile)(void);
};

static const struct scenario scenarios[] = {
	{"detach", true, detach_now},
	{"swap", true, swap_now},
	{"attach", false, attach_now},
	{"attach and detach", false, attach_and_detach_now},
};

/* A mark that was jumped out of is found by the thread's next hit. */
static void hit_once_more(u32 steps)
{
	CHECK_EQ(command(ATTACH_FIRST), 0);
	finish(steps);
	CHECK_EQ(command(DETACH_FIRST), 0);
}

/* One walk's sums. */
struct walk {
	u32 boundaries;
	u32 gone; /* instructions that were freed after the worker had left them */
};

/* A stub begins with a NOP of five bytes or a jump, one swapped for the other. */
static bool is_shortcut(u8 before, u8 now)
{
	return (before == 0x0f && now == 0xe9) || (before == 0xe9 && now == 0x0f);
}

/* Returns whether there was such a boundary. */
static bool try_boundary(const struct scenario *scenario, enum manner manner, u32 steps,
			 struct walk *walk)
{
	struct user_fpregs_struct at_call = vectors();
	enum command cleanup;
	bool inside;
	u64 rip;
	u8 code;

	if (scenario->attached_before)
		CHECK_EQ(command(ATTACH_FIRST), 0);
	inside = step(steps);
	rip = registers().rip;
	code = code_at(rip);
	check_vectors(&at_call);
	if (manner != MANNER_STOPPED) {
		go_on(SIGUSR1);
		interrupted = rip;
	}
	cleanup = scenario->meanwhile();
	CHECK_EQ(command(SPOIL), 0);
	/* The worker's next instruction is still there, if it was not moved away from it and did not stand on the site. */
	if ((interrupted || registers().rip == rip) && rip != sites[shared->victim].address &&
	    !is_shortcut(code, code_at(rip)))
		CHECK_EQ(code_at(rip), code);
	if (!leave_handler(manner, steps) || !finish(steps))
		return false;
	if (cleanup != NOTHING)
		CHECK_EQ(command(cleanup), 0);
	if (manner == MANNER_JUMP)
		hit_once_more(steps);
	CHECK_EQ(command(REAP), 0);
	CHECK_EQ(command(SPOIL), 0);
	walk->gone += code != TRAP_BYTE && code_at(rip) == TRAP_BYTE;
	walk->boundaries += inside;
	return inside;
}

static int start_child(u32 victim, const struct kind *kind, bool jump)
{
	int pid;

	shared->victim = victim;
	shared->kind = kind;
	shared->jump = jump;
	shared->wrong = 0;
	shared->traced = false;
	shared->worker = 0;
	pid = fork();
	if (pid == 0)
		child();
	while (!__atomic_load_n(&shared->worker, __ATOMIC_ACQUIRE))
		sched_yield();
	CHECK_EQ(ptrace(PTRACE_SEIZE, shared->worker, 0, 0), 0);
	__atomic_store_n(&shared->traced, true, __ATOMIC_RELEASE);
	CHECK_EQ(wait_worker(), SIGTRAP);
	return pid;
}

/* All scenarios at all boundaries. Returns how many there were. */
static u32 walk(u32 victim, const struct kind *kind, enum manner manner)
{
	u32 boundaries = 0;
	int pid, hits;

	find_sites();
	pid = start_child(victim, kind, manner == MANNER_JUMP);
	timeouts = 0;
	printf("# %-24s %-9s", kind->name, victim ? "prologue" : "nop");
	for (u32 i = 0; i < ARRAY_SIZE(scenarios) && !test_failed_here; i++) {
		const struct scenario *scenario = &scenarios[i];
		struct walk sums = {0, 0};
		u32 steps = 0;

		while (try_boundary(scenario, manner, steps, &sums) && !test_failed_here)
			steps++;
		printf(" %s: %u boundaries,", scenario->name, sums.boundaries);
		CHECK(sums.boundaries > (scenario->attached_before ? 40 : 4));
		/* What the worker stood in on its way through an image has been freed since. */
		CHECK(!scenario->attached_before || sums.gone > 20);
		boundaries += sums.boundaries;
	}
	hits = command(HITS);
	printf(" %u times freed later, %d hits\n", timeouts, hits);
	CHECK(timeouts > 20);
	CHECK(hits > 50);
	CHECK_EQ(shared->wrong, 0);
	kill(pid, SIGKILL);
	waitpid(shared->worker, NULL, __WALL);
	waitpid(pid, NULL, 0);
	return boundaries;
}

static bool share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return shared != MAP_FAILED;
}

#endif
