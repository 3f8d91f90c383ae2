/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that call victim_work with short rests and check every result, beside threads that are asleep in it.
 *
 * usage: callers THREADS
 *
 * One thread is asleep in victim_work from the start. SIGUSR1: one more enters it and falls asleep there. SIGUSR2: all come to their
 * ends, the sleepers by returning; exits 0 when every result was right.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MOST 64

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static int done;

static __attribute__((noinline, noipa)) void sleep_here(void)
{
	pthread_mutex_lock(&mutex);
	while (!done)
		pthread_cond_wait(&woken, &mutex);
	pthread_mutex_unlock(&mutex);
}

__attribute__((noinline, noipa)) long victim_work(long a, long b);
__attribute__((noinline, noipa)) long victim_work(long a, long b)
{
	if (a < 0)
		sleep_here();
	return a * 31 + b;
}

static void check(long a)
{
	if (victim_work(a, 7) == a * 31 + 7)
		return;
	fprintf(stderr, "call %ld went wrong\n", a);
	_exit(1);
}

static void *call(void *opaque)
{
	const struct timespec rest = {0, 50000};

	for (long i = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); i++) {
		check(i);
		if (i % 1000 == 0)
			nanosleep(&rest, NULL);
	}
	return opaque;
}

static void *fall_asleep(void *opaque)
{
	check(-1);
	return opaque;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 4, count = 0, signal = 0;
	pthread_t ids[MOST];
	sigset_t told;

	sigemptyset(&told);
	sigaddset(&told, SIGUSR1);
	sigaddset(&told, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &told, NULL);
	pthread_create(&ids[count++], NULL, fall_asleep, NULL);
	for (int i = 0; i < threads && count < MOST; i++)
		pthread_create(&ids[count++], NULL, call, NULL);
	while (signal != SIGUSR2) {
		sigwait(&told, &signal);
		if (signal == SIGUSR1 && count < MOST)
			pthread_create(&ids[count++], NULL, fall_asleep, NULL);
	}
	pthread_mutex_lock(&mutex);
	__atomic_store_n(&done, 1, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&woken);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < count; i++)
		pthread_join(ids[i], NULL);
	return 0;
}
