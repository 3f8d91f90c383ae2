/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that make tracing hard. Each calls victim_work now and then and dies with a message when anything that tracing
 * must not change has changed.
 *
 * usage: hostile MODE [NUMBER]
 *   blocked N    N threads that block every signal
 *   forks        forks and waits without a pause; the children call victim_work too
 *   many [N]     N threads (200), most of them asleep
 *   exec MS      becomes `hostile many 1` after so many milliseconds
 *   exit MS      exits with status 7 after so many milliseconds
 *   exact N      on each SIGUSR1, N threads call victim_work 100,000 times each; prints "done"
 *   calls        threads wait in every kind of system call that a stop can interrupt
 *   faults       on SIGUSR1 installs a SIGSEGV handler; then what victim_work's argument points to is unmapped
 *   unshares N, limits N, filters N
 *            N threads; at SIGUSR1 the main one takes a descriptor table, a file system view and (as root) namespaces of its own; or
 *            may make no more processes and threads; or puts all threads under a filter that refuses sockets and files; prints
 *            "done", or "skip REASON"
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

__attribute__((noinline, noipa)) long victim_work(long a, long b);
__attribute__((noinline, noipa)) long victim_work(long a, long b)
{
	return a * 31 + b;
}

static void die(const char *what)
{
	fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void work(long count)
{
	for (long i = 0; i < count; i++) {
		errno = 1234;
		if (victim_work(i, 7) != i * 31 + 7 || errno != 1234)
			die("victim_work went wrong");
	}
}

static void nap(long us)
{
	struct timespec left = {us / 1000000, us % 1000000 * 1000};

	if (nanosleep(&left, NULL))
		die("nanosleep");
}

static void start(void *(*function)(void *), void *argument)
{
	static pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	if (pthread_create(&thread, &small, function, argument))
		die("pthread_create");
}

/* ---- threads ---- */

static void *work_for_ever(void *us)
{
	for (;;) {
		work(10);
		nap((long)us);
	}
	return NULL;
}

static void *work_blocked(void *argument)
{
	sigset_t all, now;

	(void)argument;
	memset(&now, 0, sizeof(now));
	memset(&all, 0, sizeof(all));
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	memset(&all, 0, sizeof(all));
	pthread_sigmask(SIG_BLOCK, NULL, &all); /* what can be blocked */
	for (;;) {
		work(10);
		nap(1000);
		pthread_sigmask(SIG_BLOCK, NULL, &now);
		if (memcmp(&now, &all, sizeof(all)))
			die("the signal mask changed");
	}
	return NULL;
}

static void fork_for_ever(void)
{
	for (;;) {
		pid_t child = fork();
		int status;

		if (child < 0)
			die("fork");
		if (!child) {
			work(3);
			_exit(5);
		}
		work(1);
		if (waitpid(child, &status, 0) != child || status != 5 << 8) {
			fprintf(stderr, "hostile: child's status %#x\n", status);
			_exit(1);
		}
	}
}

/* ---- exact counts ---- */

static sem_t go, ready;

static void *work_exactly(void *argument)
{
	(void)argument;
	for (;;) {
		while (sem_wait(&go))
			;
		work(100000);
		sem_post(&ready);
	}
	return NULL;
}

static void count_exactly(long threads)
{
	sigset_t usr1;
	int number;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	for (long i = 0; i < threads; i++)
		start(work_exactly, NULL);
	for (;;) {
		if (sigwait(&usr1, &number))
			die("sigwait");
		for (long i = 0; i < threads; i++)
			sem_post(&go);
		for (long i = 0; i < threads; i++)
			while (sem_wait(&ready))
				;
		puts("done");
		fflush(stdout);
	}
}

/* ---- system calls ---- */

static int pipes[2];

static void *call_read(void *argument)
{
	char byte;

	(void)argument;
	read(pipes[0], &byte, 1);
	die("read");
	return NULL;
}

static void *call_poll(void *argument)
{
	struct pollfd row = {pipes[0], POLLIN, 0};

	(void)argument;
	poll(&row, 1, 3600000);
	die("poll");
	return NULL;
}

static void *call_select(void *argument)
{
	fd_set set;

	(void)argument;
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	select(pipes[0] + 1, &set, NULL, NULL, NULL);
	die("select");
	return NULL;
}

static void *call_epoll(void *timeout)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(0);

	if (epoll_ctl(fd, EPOLL_CTL_ADD, pipes[0], &event))
		die("epoll_ctl");
	epoll_wait(fd, &event, 1, (int)(long)timeout);
	die("epoll_wait");
	return NULL;
}

static void *call_semop(void *argument)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf down = {0, -1, 0};

	(void)argument;
	if (semctl(id, 0, SETVAL, 0))
		die("semctl");
	semop(id, &down, 1);
	die("semop");
	return NULL;
}

static int queue;

static void *call_msgrcv(void *argument)
{
	struct {
		long type;
		char text[8];
	} message;

	(void)argument;
	msgrcv(queue, &message, sizeof(message.text), 0, 0);
	die("msgrcv");
	return NULL;
}

static void *call_sigwait(void *argument)
{
	sigset_t set;

	(void)argument;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigwaitinfo(&set, NULL);
	die("sigwaitinfo");
	return NULL;
}

static void *call_recv(void *with_timeout)
{
	struct timeval hour = {3600, 0};
	int pair[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		die("socketpair");
	if (with_timeout)
		setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof(hour));
	recv(pair[0], &byte, 1, 0);
	die(with_timeout ? "recv with a timeout" : "recv");
	return NULL;
}

static void *call_futex(void *argument)
{
	static int word;
	struct timespec hour = {3600, 0};

	syscall(SYS_futex, &word, 0, 0, argument ? &hour : NULL, NULL, 0);
	die("futex");
	return NULL;
}

static void *call_sleep(void *argument)
{
	(void)argument;
	usleep(3600u * 1000000u);
	die("usleep");
	return NULL;
}

static void *call_pause(void *argument)
{
	(void)argument;
	pause();
	die("pause");
	return NULL;
}

/* A wait that times out does so at its time, however often it was stopped. */
static void *call_nanosleep(void *argument)
{
	(void)argument;
	for (;;) {
		struct timespec begin, end;
		long long us;

		clock_gettime(CLOCK_MONOTONIC, &begin);
		nap(50000);
		clock_gettime(CLOCK_MONOTONIC, &end);
		us = (end.tv_sec - begin.tv_sec) * 1000000ll + (end.tv_nsec - begin.tv_nsec) / 1000;
		if (us < 50000)
			die("a sleep that was too short");
	}
	return NULL;
}

/* Signals that come while a thread waits still end the wait, each of them. */
static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
	(void)number;
	alarms++;
}

static void *call_epoll_alarmed(void *argument)
{
	struct sigaction action = {.sa_handler = count_alarm};
	struct epoll_event event;
	int fd = epoll_create1(0);

	(void)argument;
	sigaction(SIGALRM, &action, NULL);
	for (long i = 1;; i++) {
		struct sigevent to = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
		struct itimerspec in = {.it_value = {0, 1000000 + i * 7919 % 3000000}};
		timer_t timer;

		to._sigev_un._tid = (int)syscall(SYS_gettid);
		alarms = 0;
		if (timer_create(CLOCK_MONOTONIC, &to, &timer) ||
		    timer_settime(timer, 0, &in, NULL))
			die("timer");
		/* An alarm in front of the wait would be missed: the wait is cut short by its timeout then. */
		if (epoll_wait(fd, &event, 1, 2000) != -1 && alarms != 1)
			die("epoll_wait slept through an alarm");
		if (alarms != 1)
			die("a signal was lost, or epoll_wait interrupted without one");
		timer_delete(timer);
	}
	return NULL;
}

static void wait_in_calls(void)
{
	static void *(*const plain[])(void *) = {
		call_read,  call_poll,	call_select,  call_semop,     call_msgrcv,
		call_sleep, call_pause, call_sigwait, call_nanosleep, call_epoll_alarmed,
	};

	queue = msgget(IPC_PRIVATE, 0600);
	if (pipe(pipes) || queue < 0)
		die("pipe");
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		start(plain[i], NULL);
	start(call_epoll, (void *)-1);
	start(call_epoll, (void *)3600000);
	start(call_recv, NULL);
	start(call_recv, (void *)1);
	start(call_futex, NULL);
	start(call_futex, (void *)1);
	nap(100000);
	/* What is waited on vanishes with the process. */
	work_for_ever((void *)1000);
}

/* ---- faults ---- */

static sigjmp_buf back;
static volatile sig_atomic_t caught;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_addr != (void *)64)
		_exit(3); /* a fault that is not ours */
	caught++;
	siglongjmp(back, 1);
}

static void fault(void)
{
	char *volatile address = (char *)64;

	if (!sigsetjmp(back, 1))
		*(volatile char *)address = 1;
}

static void race_with_munmap(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	sigset_t usr1;
	int number;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	for (int round = 1;; round++) {
		char *page;

		if (sigwait(&usr1, &number))
			die("sigwait");
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		page[0] = 1;
		/* It is read long enough to be known. */
		for (int i = 0; i < 100; i++) {
			victim_work((long)page, 0);
			nap(10000);
		}
		if (sigaction(SIGSEGV, &action, NULL))
			die("sigaction");
		nap(600000);
		munmap(page, 4096);
		victim_work((long)page, 1);
		fault();
		if (caught != round)
			die("the program's own fault did not reach it");
		puts("done");
		fflush(stdout);
	}
}

/* ---- what a program may do while it is attached to ---- */

static void unshare_all(void)
{
	if (unshare(CLONE_FILES | CLONE_FS))
		die("unshare");
	if (!geteuid() && unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC))
		die("unshare of namespaces");
}

/* root is not bound by it: as nobody, since before there were threads. */
static void limit_processes(void)
{
	struct rlimit limit = {1, 1};

	if (setrlimit(RLIMIT_NPROC, &limit))
		die("setrlimit");
	if (fork() >= 0)
		puts("skip the limit binds nobody here");
}

static void filter_all(void)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socketpair, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(insns) / sizeof(insns[0]), insns};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		die("seccomp");
}

static void change_at_signal(long threads, void (*change)(void))
{
	sigset_t usr1;
	int number;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	for (long i = 0; i < threads; i++)
		start(work_for_ever, (void *)1000l);
	if (sigwait(&usr1, &number))
		die("sigwait");
	change();
	puts("done");
	fflush(stdout);
	work_for_ever((void *)1000l);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	long number = argc > 2 ? atol(argv[2]) : 0;

	if (!strcmp(mode, "blocked")) {
		for (long i = 1; i < number; i++)
			start(work_blocked, NULL);
		work_blocked(NULL);
	} else if (!strcmp(mode, "forks")) {
		fork_for_ever();
	} else if (!strcmp(mode, "many")) {
		for (long i = 1; i < (number ? number : 200); i++)
			start(work_for_ever, (void *)(i % 10 ? 3600000000l : 1000l));
		work_for_ever((void *)1000l);
	} else if (!strcmp(mode, "exec")) {
		nap(number * 1000);
		execl("/proc/self/exe", "hostile", "many", "1", (char *)NULL);
	} else if (!strcmp(mode, "exit")) {
		nap(number * 1000);
		return 7;
	} else if (!strcmp(mode, "exact")) {
		count_exactly(number);
	} else if (!strcmp(mode, "calls")) {
		wait_in_calls();
	} else if (!strcmp(mode, "unshares")) {
		change_at_signal(number, unshare_all);
	} else if (!strcmp(mode, "limits")) {
		if (!geteuid() && setresuid(65534, 65534, 65534))
			die("setresuid");
		change_at_signal(number, limit_processes);
	} else if (!strcmp(mode, "filters")) {
		change_at_signal(number, filter_all);
	} else if (!strcmp(mode, "faults")) {
		race_with_munmap();
	}
	return 2;
}
