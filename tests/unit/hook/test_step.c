/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread is single-stepped to every instruction boundary of victim, site, stub, displaced copy, image, program and return
 * path; at each, the probe is attached, swapped or detached by another thread of the same process. The stepped thread must
 * finish with the right result, and the code it stands in must stay until it has left.
 *
 * parent: traces the worker, is the poke_stopper. child: main thread attaches and detaches on command, worker calls.
 */
#include <pthread.h>
#include <sched.h>
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
	IDLE,
	ATTACH_FIRST,
	ATTACH_SECOND,
	DETACH_FIRST,
	DETACH_SECOND,
	REAP,
	SPOIL,
	HITS,
};

/* Between parent and child. */
struct shared {
	u32 command; /* back to IDLE when done */
	int result;
	u32 victim;
	bool typed; /* entry and exit with a signature, in place of a hooked return */
	int worker;
	bool traced;
	/* The stopper's call to the parent. */
	u32 stop_wanted;
	int stop_result;
	struct poke pokes[2];
	u32 poke_count;
};

static struct shared *shared;

PROLOGUE_VICTIM(stepped_prologue, 0);
int stepped_nop(int a, int b);
void worker_loop(int (*function)(int, int));
extern const char worker_end[];
__asm__(".text\n.balign 16\nstepped_nop:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"lea (%rdi,%rsi,2), %eax\nret\n"
	"worker_loop:\npush %rbx\nmov %rdi, %rbx\npcmpeqd %xmm0, %xmm0\nmovdqa %xmm0, %xmm15\nfldpi\n"
	"1: int3\nmov $3, %edi\nmov $4, %esi\ncall *%rbx\n"
	"worker_end: int3\njmp 1b\n");

/* text.c's region: as many bytes of small blocks take all that is free in it. */
#define REGION_BYTES (256 << 10)

static u64 counts[4];

#define COUNTING(n)                                                                                \
	static u64 count_##n(struct abi_pt_regs_x86_64 *regs)                                      \
	{                                                                                          \
		counts[n] += regs->di == 3 || regs->ax == 11;                                      \
		return 0;                                                                          \
	}
COUNTING(0)
COUNTING(1)
COUNTING(2)
COUNTING(3)

#define COUNTING_TYPED(n)                                                                          \
	static u64 count_typed_##n(u64 *args)                                                      \
	{                                                                                          \
		counts[n] += args[0] == 3 && args[1] == 4 && (!(n & 1) || (u32)args[2] == 11);     \
		return 0;                                                                          \
	}
COUNTING_TYPED(0)
COUNTING_TYPED(1)
COUNTING_TYPED(2)
COUNTING_TYPED(3)

/* Child, main thread. */

static struct site_spec sites[2];

static int ask_stop(void *opaque, const struct poke *pokes, u32 count)
{
	(void)opaque;
	memcpy(shared->pokes, pokes, count * sizeof(*pokes));
	shared->poke_count = count;
	__atomic_store_n(&shared->stop_wanted, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&shared->stop_wanted, __ATOMIC_ACQUIRE))
		sched_yield();
	return shared->stop_result;
}

static int attach(struct hook_link **link, bool second)
{
	const struct poke_stopper stopper = {ask_stop, resume_nobody, NULL};
	struct site_spec site = sites[shared->victim];
	struct hook_attach both[] = {
		attachment(site, HOOK_ENTRY, second ? count_2 : count_0, second ? 2 : 0),
		attachment(site, HOOK_RETURN, second ? count_3 : count_1, second ? 3 : 1),
	};
	u32 failed;

	if (shared->typed) {
		both[0].program.entry = ptr_to_u64(second ? (const void *)count_typed_2
							  : (const void *)count_typed_0);
		both[1].program.entry = ptr_to_u64(second ? (const void *)count_typed_3
							  : (const void *)count_typed_1);
		both[1].side = HOOK_EXIT;
		/* Words on the stack too, whatever they hold: their copies are one more thing to step through. */
		both[0].signature = both[1].signature =
			(struct signature){.known = 1,
					   .slot_count = 2,
					   .stack_words = 1,
					   .returns = SIGNATURE_INTEGER,
					   .slots = {SIGNATURE_GENERAL, SIGNATURE_GENERAL + 1}};
	}
	return hook_attach_batch(both, 2, &stopper, link, &failed);
}

/* Fills all executable memory that is free with traps: whoever runs on in a freed image meets one. */
static int spoil_free_text(void)
{
	static struct text_block blocks[REGION_BYTES / 16];
	u32 count = 0;

	while (count < ARRAY_SIZE(blocks) &&
	       !text_alloc(sites[shared->victim].address, 16, &blocks[count]))
		count++;
	for (u32 i = 0; i < count; i++)
		text_free(&blocks[i]);
	return (int)count;
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
		return (int)(counts[0] + counts[1] + counts[2] + counts[3]);
	}
}

static void *work(void *opaque)
{
	(void)opaque;
	shared->worker = sys_gettid();
	while (!__atomic_load_n(&shared->traced, __ATOMIC_ACQUIRE))
		sched_yield();
	worker_loop(shared->victim ? stepped_prologue : stepped_nop);
	return NULL;
}

static void child(void)
{
	struct hook_link *links[2];
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sites[0] = nop_site((void *)stepped_nop);
	sites[1] = prologue_site((void *)stepped_prologue);
	hook_set_timeout(3);
	pthread_create(&thread, NULL, work, NULL);
	for (;;) {
		u32 command = __atomic_load_n(&shared->command, __ATOMIC_ACQUIRE);

		if (command == IDLE) {
			sched_yield();
			continue;
		}
		shared->result = obey(command, links);
		__atomic_store_n(&shared->command, IDLE, __ATOMIC_RELEASE);
	}
}

/* Parent. */

static int wait_worker(void)
{
	int status = 0;

	if (waitpid(shared->worker, &status, __WALL) < 0 || !WIFSTOPPED(status))
		return -1;
	return WSTOPSIG(status);
}

/* Vector and x87 registers are the function's: nothing that a probe adds may change one, however briefly. */
static void check_vectors(void)
{
	static struct user_fpregs_struct first;
	static bool known;
	struct user_fpregs_struct now = {0};

	CHECK_EQ(ptrace(PTRACE_GETFPREGS, shared->worker, 0, &now), 0);
	if (!known)
		first = now;
	known = true;
	CHECK(!memcmp(now.xmm_space, first.xmm_space, sizeof(now.xmm_space)));
	CHECK(!memcmp(now.st_space, first.st_space, sizeof(now.st_space)));
	CHECK(now.mxcsr == first.mxcsr && now.cwd == first.cwd && now.ftw == first.ftw);
}

static struct user_regs_struct registers(void)
{
	struct user_regs_struct regs = {0};

	ptrace(PTRACE_GETREGS, shared->worker, 0, &regs);
	return regs;
}

/* The worker is stopped already; what remains of a stop is moving it. */
static int move_worker(void)
{
	struct user_regs_struct regs = registers();

	for (u32 i = 0; i < shared->poke_count; i++) {
		const struct poke *poke = &shared->pokes[i];
		u64 offset = regs.rip - poke->address;

		if (offset == 0 || offset >= poke->window)
			continue;
		for (u32 m = 0; m < poke->move_count; m++) {
			if (poke->move_from[m] != offset)
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
	__atomic_store_n(&shared->command, what, __ATOMIC_RELEASE);
	while (__atomic_load_n(&shared->command, __ATOMIC_ACQUIRE) != IDLE) {
		if (__atomic_load_n(&shared->stop_wanted, __ATOMIC_ACQUIRE)) {
			shared->stop_result = move_worker();
			__atomic_store_n(&shared->stop_wanted, 0, __ATOMIC_RELEASE);
		}
		sched_yield();
	}
	return shared->result;
}

static u64 code_at(u64 address)
{
	u64 code = 0;
	struct iovec local = {&code, 8}, remote = {ptr_from_u64(address), 8};

	return process_vm_readv(shared->worker, &local, 1, &remote, 1, 0) == 8 ? code : 0;
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

static void go_on(void)
{
	ptrace(PTRACE_CONT, shared->worker, 0, 0);
	CHECK_EQ(wait_worker(), SIGTRAP);
}

/* To the end of the call, checks its result, and to the beginning of the next. */
static bool finish(u32 steps)
{
	struct user_regs_struct regs;

	go_on();
	regs = registers();
	if (regs.rip != ptr_to_u64(worker_end) + 1 || (u32)regs.rax != 11) {
		printf("# after %u steps: rip %llx, result %u\n", steps, regs.rip, (u32)regs.rax);
		FAIL("the right result");
		return false;
	}
	go_on();
	return true;
}

/* What happens while the worker stands still. */
static void detach_now(void)
{
	int err = command(DETACH_FIRST);

	CHECK(err == 0 || err == -ETIMEDOUT);
}

static void swap_now(void)
{
	CHECK_EQ(command(ATTACH_SECOND), 0);
	detach_now();
}

static void attach_now(void)
{
	CHECK_EQ(command(ATTACH_FIRST), 0);
}

static void attach_and_detach_now(void)
{
	attach_now();
	detach_now();
}

struct scenario {
	const char *name;
	bool attached_before;
	void (*meanwhile)(void);
	enum command cleanup;
};

static const struct scenario scenarios[] = {
	{"detach", true, detach_now, IDLE},
	{"swap", true, swap_now, DETACH_SECOND},
	{"attach", false, attach_now, DETACH_FIRST},
	{"attach and detach", false, attach_and_detach_now, IDLE},
};

/* Returns whether there was such a boundary. */
static bool try_boundary(const struct scenario *scenario, u32 steps)
{
	u64 rip, code;
	bool inside;

	if (scenario->attached_before)
		CHECK_EQ(command(ATTACH_FIRST), 0);
	inside = step(steps);
	rip = registers().rip;
	code = code_at(rip);
	check_vectors();
	scenario->meanwhile();
	CHECK_EQ(command(SPOIL), REGION_BYTES / 16);
	/* The worker's next instruction is still there, if it was not moved away from it and did not stand on the site. */
	if (registers().rip == rip && rip != sites[shared->victim].address)
		CHECK_EQ((u8)code_at(rip), (u8)code);
	if (!finish(steps))
		return false;
	if (scenario->cleanup != IDLE)
		CHECK_EQ(command(scenario->cleanup), 0);
	CHECK_EQ(command(REAP), 0);
	return inside;
}

static int start_child(u32 victim, bool typed)
{
	int pid;

	shared->victim = victim;
	shared->typed = typed;
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

static void walk(u32 victim, bool typed)
{
	int pid, hits;

	if (UNDER_TSAN)
		SKIP("the sanitizer's own code is stepped through and uses vector registers");
	sites[0] = nop_site((void *)stepped_nop);
	sites[1] = prologue_site((void *)stepped_prologue);
	pid = start_child(victim, typed);
	for (u32 i = 0; i < ARRAY_SIZE(scenarios) && !test_failed_here; i++) {
		u32 steps = 0;

		while (try_boundary(&scenarios[i], steps) && !test_failed_here)
			steps++;
		printf("# %s: %u boundaries\n", scenarios[i].name, steps);
		CHECK(steps > (scenarios[i].attached_before ? 80 : 4));
	}
	hits = command(HITS);
	printf("# %d hits\n", hits);
	CHECK(hits > 100);
	kill(pid, SIGKILL);
	waitpid(shared->worker, NULL, __WALL);
	waitpid(pid, NULL, 0);
}

static void every_boundary_of_a_nop_site(void)
{
	walk(0, false);
}

static void every_boundary_of_a_displaced_prologue(void)
{
	walk(1, false);
}

static void every_boundary_of_a_called_nop_site(void)
{
	walk(0, true);
}

static void every_boundary_of_a_called_displaced_prologue(void)
{
	walk(1, true);
}

int main(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	RUN(every_boundary_of_a_nop_site);
	RUN(every_boundary_of_a_displaced_prologue);
	RUN(every_boundary_of_a_called_nop_site);
	RUN(every_boundary_of_a_called_displaced_prologue);
	return test_done();
}
