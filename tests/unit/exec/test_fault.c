/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads that may fault, in every state that memory and signal handlers can be in. Each case runs in a child of its own. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/fault.h"
#include "sync/reader.h"
#include "test.h"

#define PAGE 4096

/* Exit status of the child that ran the case, or 1000 + the signal that killed it. */
static int in_child(int (*run)(void))
{
	pid_t child = fork();
	int status;

	if (!child) {
		/* A sanitizer has its own. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		if (reader_init() || fault_init())
			_exit(99);
		_exit(run());
	}
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* In a child: leaves with the line when the condition does not hold. */
#define WANT(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "# line %d: %s\n", __LINE__, #condition);                  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static char *pages(size_t count, int prot)
{
	return mmap(NULL, count * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static u64 address(const void *pointer)
{
	return (u64)(uintptr_t)pointer;
}

static int good_reads(void)
{
	static const u8 data[300] = {1, 2, 3, 4, 5, 6, 7, 8, 9, [299] = 0x77};
	u8 copy[300];

	for (u32 size = 1; size <= 300; size++) {
		memset(copy, 0xee, sizeof(copy));
		WANT(fault_read(copy, address(data), size) == 0);
		WANT(!memcmp(copy, data, size));
		WANT(size == 300 || copy[size] == 0xee);
	}
	WANT(fault_read(copy, address(data) + 1, 8) == 0 && copy[0] == 2 && copy[7] == 9);
	WANT(fault_load(address(data), 2) == 0x0201 && fault_load(address(data), 1) == 1);
	WANT(fault_load(address(data), 4) == 0x04030201);
	WANT(fault_load(address(data), 8) == 0x0807060504030201);
	return 0;
}

static int bad_reads(void)
{
	const u64 bad[] = {0,
			   8,
			   4095,
			   0x8000000000000000,
			   0xdead000000000000,
			   ~0ull,
			   ~0ull - 7,
			   0xffffffff81000000,
			   address(pages(1, PROT_NONE))};
	u8 copy[16];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (u32 size = 1; size <= 16; size++) {
			memset(copy, 0xee, sizeof(copy));
			WANT(fault_read(copy, bad[i], size) == -EFAULT);
			for (u32 k = 0; k < size; k++)
				WANT(copy[k] == 0);
			WANT(size == 16 || copy[size] == 0xee);
		}
		WANT(fault_load(bad[i], 8) == 0);
		WANT(fault_read_str((char *)copy, bad[i], 16) == -EFAULT);
	}
	WANT(fault_read(copy, 0, 0) == 0);
	return 0;
}

static int across_the_end(void)
{
	char *memory = pages(2, PROT_READ | PROT_WRITE), copy[64];

	mprotect(memory + PAGE, PAGE, PROT_NONE);
	memset(memory, 'x', PAGE);
	WANT(fault_refresh() == 0);
	WANT(fault_read(copy, address(memory + PAGE - 8), 8) == 0);
	WANT(fault_read(copy, address(memory + PAGE - 7), 8) == -EFAULT && copy[0] == 0);
	WANT(fault_read(copy, address(memory + PAGE - 60), 61) == -EFAULT);
	WANT(fault_read_str(copy, address(memory + PAGE - 20), 20) == 20 && copy[18] == 'x' &&
	     !copy[19]);
	WANT(fault_read_str(copy, address(memory + PAGE - 20), 64) == -EFAULT && copy[0] == 0);
	memory[PAGE - 1] = 0;
	WANT(fault_read_str(copy, address(memory + PAGE - 20), 64) == 20);
	return 0;
}

static int strings(void)
{
	char text[600], copy[600];

	for (size_t length = 0; length < 590; length++) {
		memset(text, 'a', sizeof(text));
		text[length + 3] = 0;
		memset(copy, 'b', sizeof(copy));
		WANT(fault_read_str(copy, address(text + 3), sizeof(copy)) == (int)length + 1);
		WANT(strlen(copy) == length && copy[length + 1] == 'b');
	}
	WANT(fault_read_str(copy, address(text), 10) == 10 && strlen(copy) == 9);
	WANT(fault_read_str(copy, address(text), 1) == 1 && !copy[0]);
	WANT(fault_read_str(copy, address(text), 0) == 0);
	return 0;
}

static int new_mapping(void)
{
	char *memory = pages(1, PROT_READ | PROT_WRITE);

	memory[5] = 42;
	WANT(!fault_wants_refresh);
	WANT(fault_load(address(memory), 8) == 42ull << 40);
	WANT(fault_wants_refresh);
	WANT(fault_refresh() == 0 && !fault_wants_refresh);
	WANT(fault_load(address(memory), 8) == 42ull << 40);
	return fault_wants_refresh;
}

/* The snapshot says readable, the page says no: the handler's case. */
static int vanished_mapping(void)
{
	char *memory = pages(4, PROT_READ | PROT_WRITE), copy[3 * PAGE];

	memset(memory, 'x', 4 * PAGE);
	WANT(fault_refresh() == 0);
	munmap(memory + PAGE, PAGE);
	mprotect(memory + 2 * PAGE, PAGE, PROT_NONE);
	for (u32 size = 1; size <= 32; size++) {
		copy[0] = 1;
		WANT(fault_read(copy, address(memory + PAGE), size) == -EFAULT && !copy[0]);
		WANT(fault_read(copy, address(memory + 2 * PAGE), size) == -EFAULT);
		WANT(fault_read(copy, address(memory + 3 * PAGE), size) == 0 && copy[0] == 'x');
	}
	WANT(fault_load(address(memory + PAGE + 100), 8) == 0);
	WANT(fault_read_str(copy, address(memory + PAGE - 10), 100) == -EFAULT);
	WANT(fault_read(copy, address(memory), 2 * PAGE) == -EFAULT);
	return 0;
}

static int truncated_file(void)
{
	int fd = (int)syscall(SYS_memfd_create, "file", 0);
	char *memory, copy[8];

	WANT(ftruncate(fd, 2 * PAGE) == 0);
	memory = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	WANT(fault_refresh() == 0);
	WANT(ftruncate(fd, PAGE) == 0);
	WANT(fault_read(copy, address(memory), 8) == 0);
	WANT(fault_read(copy, address(memory + PAGE), 8) == -EFAULT);
	return 0;
}

/* Blocked SIGSEGV: a fault would kill, so even an address inside the snapshot is read by the kernel. */
static void *read_blocked(void *memory)
{
	u64 word;
	bool right = fault_read(&word, 0, 8) == -EFAULT &&
		     fault_read(&word, 0x8000000000000000, 8) == -EFAULT &&
		     fault_read(&word, address(memory), 8) == -EFAULT &&
		     fault_read(&word, address((char *)memory + PAGE), 8) == 0;

	return right ? memory : NULL;
}

static int blocked_signals(void)
{
	char *memory = pages(2, PROT_READ | PROT_WRITE);
	pthread_t thread;
	sigset_t all;
	void *result;

	WANT(fault_refresh() == 0);
	mprotect(memory, PAGE, PROT_NONE);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_create(&thread, NULL, read_blocked, memory);
	pthread_join(thread, &result);
	return result != memory;
}

static volatile int seen_signal, seen_code, seen_calls;
static void *volatile seen_address;
static sigset_t seen_mask;
static sigjmp_buf back;

static void program_handler(int signal, siginfo_t *info, void *context)
{
	(void)context;
	seen_signal = signal;
	seen_code = info->si_code;
	seen_address = info->si_addr;
	seen_calls++;
	pthread_sigmask(SIG_BLOCK, NULL, &seen_mask);
	siglongjmp(back, 1);
}

static void set_handler(void (*handler)(int, siginfo_t *, void *), struct sigaction *old)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigaddset(&action.sa_mask, SIGUSR1);
	sigaction(SIGSEGV, &action, old);
}

/* Faults at `at` as a program would; true when its handler was told of exactly that. */
static bool faults_reach_the_program(char *at)
{
	seen_calls = 0;
	if (!sigsetjmp(back, 1))
		*(volatile char *)at = 1;
	return seen_calls == 1 && seen_signal == SIGSEGV && seen_address == at &&
	       seen_code == SEGV_ACCERR && sigismember(&seen_mask, SIGUSR1) == 1 &&
	       sigismember(&seen_mask, SIGSEGV) == 1;
}

static int earlier_handler(void)
{
	char *memory = pages(2, PROT_READ);
	u64 word;

	fault_done();
	set_handler(program_handler, NULL);
	WANT(fault_init() == 0);
	WANT(faults_reach_the_program(memory + 123));
	munmap(memory + PAGE, PAGE);
	WANT(fault_read(&word, address(memory + PAGE), 8) == -EFAULT);
	WANT(faults_reach_the_program(memory));
	return 0;
}

static struct sigaction replaced;

static void chaining_handler(int signal, siginfo_t *info, void *context)
{
	if (replaced.sa_flags & SA_SIGINFO)
		replaced.sa_sigaction(signal, info, context);
	else
		replaced.sa_handler(signal);
}

/* Earlier handler <- ours <- the program's later one, which calls ours <- ours again. */
static int later_handler_that_chains(void)
{
	char *memory = pages(2, PROT_READ);
	u64 word;

	fault_done();
	set_handler(program_handler, NULL);
	WANT(fault_init() == 0);
	set_handler(chaining_handler, &replaced);
	WANT(faults_reach_the_program(memory));
	WANT(fault_refresh() == 0);
	WANT(faults_reach_the_program(memory));
	munmap(memory + PAGE, PAGE);
	WANT(fault_read(&word, address(memory + PAGE), 8) == -EFAULT);
	sigaction(SIGSEGV, &replaced, NULL); /* the program takes its later handler out again */
	WANT(faults_reach_the_program(memory));
	WANT(fault_refresh() == 0);
	WANT(faults_reach_the_program(memory));
	return 0;
}

static int toggling_handler(void)
{
	char *memory = pages(1, PROT_READ);
	struct sigaction ours;

	for (int i = 0; i < 50; i++) {
		set_handler(program_handler, &ours);
		WANT(fault_refresh() == 0);
		WANT(faults_reach_the_program(memory));
		sigaction(SIGSEGV, &ours, NULL);
		WANT(fault_refresh() == 0);
	}
	return 0;
}

/* Without a refresh in between, the tick alone puts ours in front again. */
static int kept_handler(void)
{
	char *memory = pages(2, PROT_READ);
	u64 word;

	WANT(fault_refresh() == 0);
	set_handler(program_handler, NULL);
	fault_keep_handlers();
	mprotect(memory + PAGE, PAGE, PROT_NONE);
	WANT(!fault_wants_refresh);
	WANT(fault_read(&word, address(memory + PAGE), 8) == -EFAULT);
	WANT(fault_wants_refresh);
	WANT(faults_reach_the_program(memory));
	return 0;
}

static int default_action(void)
{
	*(volatile char *)pages(1, PROT_NONE) = 1;
	return 0;
}

static int sent_signal(void)
{
	raise(SIGSEGV);
	return 0;
}

static int ignored_signal(void)
{
	fault_done();
	signal(SIGSEGV, SIG_IGN);
	WANT(fault_init() == 0);
	raise(SIGSEGV);
	return 7;
}

static int ignored_fault(void)
{
	return ignored_signal() == 7 ? default_action() : 1;
}

static int undone(void)
{
	struct sigaction action;

	fault_done();
	sigaction(SIGSEGV, NULL, &action);
	WANT(action.sa_handler == SIG_DFL);
	sigaction(SIGBUS, NULL, &action);
	WANT(action.sa_handler == SIG_DFL);
	return 0;
}

static int keeps_errno(void)
{
	u64 word;

	errno = 1234;
	fault_read(&word, 0, 8);
	fault_load(address(pages(1, PROT_NONE)), 4);
	return errno != 1234;
}

#define CASE(run, status)                                                                          \
	static void test_##run(void)                                                               \
	{                                                                                          \
		CHECK_EQ(in_child(run), status);                                                   \
	}

CASE(good_reads, 0)
CASE(bad_reads, 0)
CASE(across_the_end, 0)
CASE(strings, 0)
CASE(new_mapping, 0)
CASE(vanished_mapping, 0)
CASE(truncated_file, 0)
CASE(blocked_signals, 0)
CASE(earlier_handler, 0)

static void test_later_handler_that_chains(void)
{
#ifdef __SANITIZE_THREAD__
	SKIP("ThreadSanitizer answers sigaction itself and hides our handler from the program");
#endif
	CHECK_EQ(in_child(later_handler_that_chains), 0);
}

CASE(toggling_handler, 0)
CASE(kept_handler, 0)
CASE(default_action, 1000 + SIGSEGV)
CASE(sent_signal, 1000 + SIGSEGV)
CASE(ignored_signal, 7)
CASE(ignored_fault, 1000 + SIGSEGV)
CASE(undone, 0)
CASE(keeps_errno, 0)

int main(void)
{
	RUN(test_good_reads);
	RUN(test_bad_reads);
	RUN(test_across_the_end);
	RUN(test_strings);
	RUN(test_new_mapping);
	RUN(test_vanished_mapping);
	RUN(test_truncated_file);
	RUN(test_blocked_signals);
	RUN(test_earlier_handler);
	RUN(test_later_handler_that_chains);
	RUN(test_toggling_handler);
	RUN(test_kept_handler);
	RUN(test_default_action);
	RUN(test_sent_signal);
	RUN(test_ignored_signal);
	RUN(test_ignored_fault);
	RUN(test_undone);
	RUN(test_keeps_errno);
	return test_done();
}
