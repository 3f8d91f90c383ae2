/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that do what an agent in their process might not survive. Each calls victim_work all the while, checks every
 * result, and exits 1 at the first wrong one.
 *
 * usage: odd mdwe        under PR_SET_MDWE
 *        odd closer      closes every descriptor from 3 on, over and over
 *        odd exits       its main thread calls pthread_exit at SIGUSR1; the other goes on, and exits 0 at the next one
 *        odd drops       becomes nobody at SIGUSR1
 *        odd forks       at SIGUSR1 forks a child that makes 1000 calls, and exits 0 when that one did
 *        odd breeds      the same, but the child calls until SIGUSR1 too, which its parent passes on and exits as it did
 *        odd execs       at SIGUSR1 becomes /bin/true
 *        odd masked      blocks every signal but SIGUSR1, at which it exits 0
 *        odd spawns      starts threads that make some calls and end, a few at a time
 *        odd floats      computes the same sums in vector registers over and over, and exits 1 when one differs
 *        odd handler     a timer's handler makes calls too, many of them while the main thread is in a call
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static volatile sig_atomic_t told;

__attribute__((noinline, noipa)) long victim_work(long a, long b);
__attribute__((noinline, noipa)) long victim_work(long a, long b)
{
	return a * 31 + b;
}

#if defined(__x86_64__)
/* Its first instruction is as long as a branch, and the last byte of a word: only a stop changes it. */
long victim_edge(long a, long b);
__asm__(".text\n.balign 64\n.skip 7, 0x90\n.globl victim_edge\n.type victim_edge, @function\nvictim_edge:\n"
	"lea 0x100(%rdi), %rax\nadd %rsi, %rax\nret\n.size victim_edge, .-victim_edge\n");
#else
static long victim_edge(long a, long b)
{
	return a + 0x100 + b;
}
#endif

static void call(long count)
{
	errno = 99;
	for (long i = 0; i < count; i++) {
		if (victim_work(i, 7) != i * 31 + 7 || victim_edge(i, 7) != i + 0x107) {
			fprintf(stderr, "call %ld went wrong\n", i);
			_exit(1);
		}
	}
	if (errno != 99) {
		fprintf(stderr, "errno became %d\n", errno);
		_exit(1);
	}
}

static void rest(void)
{
	const struct timespec pause = {0, 1000000};

	nanosleep(&pause, NULL);
}

static void tell(int signal)
{
	(void)signal;
	told++;
}

static void call_from_handler(int signal)
{
	int before = errno;

	(void)signal;
	call(10);
	errno = before;
}

/* Calls until it has been told `times` times. */
static void call_until(int times)
{
	while (told < times) {
		call(100);
		rest();
	}
}

static void *outlive_main(void *arg)
{
	(void)arg;
	call_until(2);
	_exit(0);
}

static int forks(void)
{
	int status;
	pid_t child;

	call_until(1);
	child = fork();
	if (child == 0) {
		call(1000);
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int breeds(void)
{
	int status;
	pid_t child;

	call_until(1);
	child = fork();
	if (child == 0) {
		call_until(2);
		_exit(0);
	}
	call_until(2);
	kill(child, SIGUSR1);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int exits(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, outlive_main, NULL);
	call_until(1);
	pthread_exit(NULL);
}

static int execs(void)
{
	call_until(1);
	execl("/bin/true", "true", NULL);
	return 1;
}

static int drops(void)
{
	call_until(1);
	if (setgid(65534) || setuid(65534))
		return 1;
	call_until(2);
	return 0;
}

static int closer(void)
{
	while (told < 1) {
		syscall(SYS_close_range, 3, ~0u, 0);
		call(100);
		rest();
	}
	return 0;
}

static int masked(void)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGUSR1);
	sigprocmask(SIG_SETMASK, &all, NULL);
	call_until(1);
	return 0;
}

static void *call_some(void *arg)
{
	(void)arg;
	call(2000);
	return NULL;
}

static int spawns(void)
{
	while (told < 1) {
		pthread_t threads[4];

		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, call_some, NULL);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
	return 0;
}

static double sum(void)
{
	double parts[8] = {0}, total = 0;

	for (int i = 1; i < 100000; i++) {
		for (int p = 0; p < 8; p++)
			parts[p] += 1.0 / (i + p);
	}
	for (int p = 0; p < 8; p++)
		total += parts[p];
	return total;
}

static int floats(void)
{
	double first = sum();

	while (told < 1) {
		if (sum() != first)
			return 1;
	}
	return 0;
}

static int handler(void)
{
	struct itimerval timer = {{0, 300}, {0, 300}};

	signal(SIGALRM, call_from_handler);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (told < 1)
		call(100000);
	return 0;
}

static int mdwe(void)
{
	if (prctl(PR_SET_MDWE, 1, 0, 0, 0))
		return 77;
	call_until(1);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} modes[] = {{"mdwe", mdwe},	 {"closer", closer},   {"exits", exits},
		     {"drops", drops},	 {"forks", forks},     {"execs", execs},
		     {"masked", masked}, {"handler", handler}, {"breeds", breeds},
		     {"spawns", spawns}, {"floats", floats}};

	signal(SIGUSR1, tell);
	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(argv[1], modes[i].name))
			return modes[i].run();
	}
	return 2;
}
