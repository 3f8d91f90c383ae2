/* SPDX-License-Identifier: BSD-2-Clause */
/* Marks that a thread jumped out of. */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "victims.h"

static sigjmp_buf back;
static u64 runs;
static bool raise_in_program;

static NOP_AT_ENTRY int victim(int value)
{
	__asm__ volatile("" : : : "memory");
	return value + 1;
}

static u64 program(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	runs++;
	if (raise_in_program)
		raise(SIGUSR1);
	return 0;
}

static void jump_out(int signal)
{
	(void)signal;
	raise_in_program = false;
	siglongjmp(back, 1);
}

static void call_and_return(int signal)
{
	(void)signal;
	raise_in_program = false;
	CHECK_EQ(victim(1), 2);
}

static __attribute__((noipa)) void overwrite_stack(void)
{
	volatile char frame[8192];

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = 1;
}

/* The same call from another depth of the stack: deeper than the one that jumps out, or not. */
static __attribute__((noipa)) int call_deeper(void)
{
	volatile char frame[256];

	frame[0] = (char)victim(1);
	return frame[0];
}

static struct hook_link *attach(void)
{
	struct hook_attach both[] = {
		attachment(nop_site((void *)victim), HOOK_ENTRY, program, 0),
		attachment(nop_site((void *)victim), HOOK_RETURN, program, 1),
	};
	struct hook_link *link = NULL;
	u32 failed;

	CHECK_EQ(hook_attach_batch(both, 2, NULL, &link, &failed), 0);
	return link;
}

static void check_recovery(int (*left)(void), int (*next)(void))
{
	struct sigaction action = {.sa_handler = jump_out};
	struct hook_link *link = attach();
	u64 generation;

	sigaction(SIGUSR1, &action, NULL);
	CHECK_EQ(victim(1), 2);
	runs = 0;
	raise_in_program = true;
	if (!sigsetjmp(back, 1))
		left();
	CHECK_EQ(runs, 1);
	CHECK_EQ(reader_self()->nest, 1);
	CHECK_EQ(reader_self()->active, 1);
	overwrite_stack();
	generation = reader_self()->generation;
	CHECK_EQ(next(), 2);
	CHECK_EQ(runs, 3);
	CHECK_EQ(reader_self()->nest, 0);
	CHECK_EQ(reader_self()->active, 0);
	CHECK(reader_self()->generation > generation);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

static __attribute__((noipa)) int call_here(void)
{
	return victim(1) + 0 * printf("%s", "");
}

static void a_program_left_by_siglongjmp_runs_again(void)
{
	check_recovery(call_here, call_here);
	check_recovery(call_deeper, call_here);
}

/* The handler's stack is above the interrupted one's: its hits are nested, not a sign of a stale mark. */
static void a_handler_on_a_higher_stack_keeps_the_mark(void)
{
	size_t size = 65536;
	char *low =
		mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t alternate = {.ss_sp = low + size, .ss_size = size}, off = {.ss_flags = SS_DISABLE};
	struct sigaction action = {.sa_handler = call_and_return, .sa_flags = SA_ONSTACK};
	struct hook_link *link = attach();
	struct reader *reader = reader_self();

	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &action, NULL);
	runs = 0;
	raise_in_program = true;
	/* Runs the victim on the lower half, so that the alternate stack is above it. */
	__asm__ volatile(
		"mov %%rsp, %%rbx\nmov %0, %%rsp\nmov $1, %%edi\ncall *%1\nmov %%rbx, %%rsp"
		:
		: "r"(low + size - 16), "r"(victim)
		: "rbx", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory",
		  "cc");
	/* Outer entry; in the handler the entry's guard holds, its return runs; outer return. */
	CHECK_EQ(runs, 3);
	CHECK_EQ(reader->nest, 0);
	CHECK_EQ(reader->active, 0);
	CHECK_EQ(hook_detach(link, NULL), 0);
	sigaltstack(&off, NULL);
	munmap(low, 2 * size);
}

int main(void)
{
	RUN(a_program_left_by_siglongjmp_runs_again);
	RUN(a_handler_on_a_higher_stack_keeps_the_mark);
	return test_done();
}
