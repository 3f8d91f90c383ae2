/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls victim_work, checks its result each time, and exits 1 at the first wrong one.
 * usage: caller [CALLS]     without a number: until killed, about 100,000 calls a second
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

__attribute__((noinline, noipa)) long victim_work(long a, long b);
__attribute__((noinline, noipa)) long victim_work(long a, long b)
{
	return a * 31 + b;
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 0;
	const struct timespec pause = {0, 1000000};

	for (long i = 0; !calls || i < calls; i++) {
		if (victim_work(i, 7) != i * 31 + 7) {
			fprintf(stderr, "call %ld went wrong\n", i);
			return 1;
		}
		if (!calls && i % 100 == 0)
			nanosleep(&pause, NULL);
	}
	return 0;
}
