/* SPDX-License-Identifier: BSD-2-Clause */
/* How bench/hook times another tool's probe: a process of its own, rounds of the traced function and the bare one in turn. */
#ifndef INLAY_BENCH_HOOK_PEER_H
#define INLAY_BENCH_HOOK_PEER_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PEER_ROUNDS 21
#define PEER_CALLS  50000
#define PEER	    __attribute__((no_instrument_function, noinline, unused))

PEER static double peer_time(void (*function)(void))
{
	struct timespec from, to;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (int i = 0; i < PEER_CALLS; i++)
		function();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
	       PEER_CALLS;
}

PEER static int peer_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Prints the row. The first round warms up. */
PEER static void peer_measure(const char *name, void (*traced)(void), void (*bare)(void))
{
	double over[PEER_ROUNDS];

	for (int round = -1; round < PEER_ROUNDS; round++) {
		double base = peer_time(bare);

		over[round < 0 ? 0 : round] = peer_time(traced) - base;
	}
	qsort(over, PEER_ROUNDS, sizeof(*over), peer_compare);
	printf("{\"bench\":\"hook\",\"variant\":\"%s\",\"metric\":\"over bare\",\"unit\":\"ns\",\"value\":%.3f,"
	       "\"spread\":%.3f}\n",
	       name, over[PEER_ROUNDS / 2],
	       (over[PEER_ROUNDS * 3 / 4] - over[PEER_ROUNDS / 4]) / 2);
}

#endif
