/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pre-fork server without requests: workers that call forked_work in turns, and are replaced all the time. It begins with a
 * line of input. At the end it prints how often forked_work was called by all of them together, which the workers count in
 * shared memory.
 *
 * usage: forks WORKERS CALLS PAUSE_US DEPTH [raw]
 *   each worker calls forked_work CALLS times with a pause in between, and ends; every third one forks a worker itself, down
 *   to DEPTH. raw: by clone(2), behind libc's back. After SIGUSR1 no more are started; when all have ended it prints the sums, and
 *   waits for the end of its input.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
	long calls, wrong, workers;
};

static struct shared *shared;
static volatile sig_atomic_t quiet;
static long workers, calls, pause_us;
static int raw;

__attribute__((noinline, noipa)) long forked_work(long a, long b);
__attribute__((noinline, noipa)) long forked_work(long a, long b)
{
	return a * 7 + b;
}

static void hush(int number)
{
	(void)number;
	quiet = 1;
}

static pid_t make(void)
{
	return raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
}

static void work(long depth)
{
	pid_t child = 0;
	int status = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	__atomic_fetch_add(&shared->workers, 1, __ATOMIC_RELAXED);
	for (long i = 0; i < calls; i++) {
		if (depth && i == calls / 2 && getpid() % 3 == 0) {
			child = make();
			if (!child) {
				work(depth - 1);
				_exit(0);
			}
		}
		if (forked_work(i, 3) != i * 7 + 3)
			__atomic_fetch_add(&shared->wrong, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&shared->calls, 1, __ATOMIC_RELAXED);
		if (pause_us)
			usleep((useconds_t)pause_us);
	}
	if (child > 0 && (waitpid(child, &status, 0) != child || status))
		__atomic_fetch_add(&shared->wrong, 1, __ATOMIC_RELAXED);
}

static void start(long depth)
{
	pid_t pid = make();

	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (!pid) {
		signal(SIGUSR1, SIG_IGN);
		work(depth);
		_exit(0);
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = hush};
	long depth, running = 0;

	if (argc < 5)
		return 2;
	workers = atol(argv[1]);
	calls = atol(argv[2]);
	pause_us = atol(argv[3]);
	depth = atol(argv[4]);
	raw = argc > 5 && !strcmp(argv[5], "raw");
	sigaction(SIGUSR1, &action, NULL);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getchar() == EOF)
		return 2;
	for (;;) {
		int status;

		while (!quiet && running < workers) {
			start(depth);
			running++;
		}
		if (!running)
			break;
		if (wait(&status) > 0) {
			running--;
			if (status) {
				printf("a worker ended with %#x\n", status);
				return 1;
			}
		}
	}
	printf("%ld calls %ld wrong %ld workers\n", shared->calls, shared->wrong, shared->workers);
	while (getchar() != EOF)
		;
	return shared->wrong != 0;
}
