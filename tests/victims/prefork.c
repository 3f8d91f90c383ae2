/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A server that forks its workers. Commands on stdin, a character each; each answers one line on stdout.
 *
 *   f  forks a worker, in the middle of fork_worker(): its process id
 *   s  runs a command by system(), one by posix_spawn and one by vfork, in run_commands(): "7 8 9", their exit codes
 *   x  executes itself anew: "new", from the new program
 *   q  ends the workers: "ended" and one exit code each, in the order they were forked; then the end
 *
 * A worker calls work() and thinks about each result, until SIGTERM: exit code 0, or 1 when one was wrong.
 */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 64

static volatile sig_atomic_t done;
static pid_t workers[WORKERS];
static int count;
extern char **environ;

long work(long a, long b);
int serve(long seed);
pid_t fork_worker(void);
int run_commands(int codes[3]);

__attribute__((noipa)) long work(long a, long b)
{
	return a * 3 + b;
}

static void stop(int number)
{
	(void)number;
	done = 1;
}

__attribute__((noipa)) int serve(long seed)
{
	int wrong = 0;

	for (long i = seed; !done; i++) {
		wrong |= work(i, 5) != i * 3 + 5;
		if (i % 1000 == 0)
			usleep(500);
	}
	return wrong;
}

__attribute__((noipa)) pid_t fork_worker(void)
{
	pid_t pid = fork();

	if (!pid)
		signal(SIGTERM, stop);
	return pid;
}

static int code_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

__attribute__((noipa)) int run_commands(int codes[3])
{
	char shell[] = "sh", option[] = "-c", exit_8[] = "exit 8", exit_9[] = "exit 9";
	char *const by_spawn[] = {shell, option, exit_8, NULL};
	char *const by_vfork[] = {shell, option, exit_9, NULL};
	int status = system("exit 7");
	pid_t pid;

	codes[0] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	codes[1] = posix_spawnp(&pid, "sh", NULL, NULL, by_spawn, environ) ? -1 : code_of(pid);
	pid = vfork();
	if (!pid) {
		execvp("sh", by_vfork);
		_exit(1);
	}
	codes[2] = code_of(pid);
	return 3;
}

/* SIGTERM waits until the worker has its handler: the server may end it before it has run at all. */
static void fork_one(void)
{
	sigset_t term;
	pid_t pid;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	pid = fork_worker();
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	if (!pid)
		exit(serve(count * 100));
	workers[count++] = pid;
	printf("%d\n", pid);
}

int main(int argc, char **argv)
{
	char new[] = "new", *const again[] = {argv[0], new, NULL};
	int codes[3], command;

	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0);
	if (argc > 1)
		puts(argv[1]);
	while ((command = getchar()) != EOF && command != 'q') {
		if (command == 'f' && count < WORKERS)
			fork_one();
		if (command == 's' && run_commands(codes) == 3)
			printf("%d %d %d\n", codes[0], codes[1], codes[2]);
		if (command == 'x')
			execv("/proc/self/exe", again);
		work(1, 2);
	}
	for (int i = 0; i < count; i++)
		kill(workers[i], SIGTERM);
	printf("ended");
	for (int i = 0; i < count; i++)
		printf(" %d", code_of(workers[i]));
	printf("\n");
	return 0;
}
