// SPDX-License-Identifier: BSD-2-Clause
/*
 * Functions of many signatures, called in a loop, each result checked: built with -g, for typed programs.
 *
 * Prints "wrong NAME" and exits with status 1 when a call did not do what it should; "denied" lines up with fmod_ret.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROBED __attribute__((noipa))
#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("wrong %s\n", #condition);                                          \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

struct pair {
	long a;
	double b;
};

struct three {
	short a, b, c;
};

struct big {
	long words[5];
};

struct node {
	struct node *next;
	int value;
	char name[12];
};

int add_two(int a, int b);
long twelve(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k,
	    long l);
long thirteen(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j,
	      long k, long l, long m);
double mixed(int a, double x, long b, float y, const char *text, double z);
struct pair swap_pair(struct pair pair, long c);
int three_shorts(struct three three, bool flag);
long double long_double(long double x, int a);
__int128 wide(__int128 x, bool flag);
struct big make_big(long x);
long take_big(struct big big);
int variadic(const char *format, ...);
int node_sum(const struct node *node);
int may_enter(int who);
void nothing(int a);

PROBED int add_two(int a, int b)
{
	return a + b;
}

PROBED long twelve(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j,
		   long k, long l)
{
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k +
	       12 * l;
}

PROBED long thirteen(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j,
		     long k, long l, long m)
{
	return a + b + c + d + e + f + g + h + i + j + k + l + m;
}

PROBED double mixed(int a, double x, long b, float y, const char *text, double z)
{
	return a + x * 2 + (double)b + (double)y + z + text[0];
}

PROBED struct pair swap_pair(struct pair pair, long c)
{
	return (struct pair){(long)pair.b + c, (double)pair.a};
}

PROBED int three_shorts(struct three three, bool flag)
{
	return flag ? three.a + three.b * three.c : 0;
}

PROBED long double long_double(long double x, int a)
{
	return x * 2 + a;
}

PROBED __int128 wide(__int128 x, bool flag)
{
	return flag ? x + 1 : x - 1;
}

PROBED struct big make_big(long x)
{
	return (struct big){{x, x + 1, x + 2, x + 3, x + 4}};
}

PROBED long take_big(struct big big)
{
	return big.words[0] + big.words[4];
}

PROBED int variadic(const char *format, ...)
{
	va_list args;
	double sum = 0;

	va_start(args, format);
	for (; *format; format++)
		sum += *format == 'd' ? va_arg(args, int) : va_arg(args, double);
	va_end(args);
	return (int)sum;
}

PROBED int node_sum(const struct node *node)
{
	int sum = 0;

	for (; node; node = node->next)
		sum += node->value;
	return sum;
}

/* 0: yes. */
PROBED int may_enter(int who)
{
	return who == 1000 ? -1 : 0;
}

static volatile int last;

PROBED void nothing(int a)
{
	last = a;
}

static void call_all(void)
{
	static struct node second = {NULL, 5, "second"}, first = {&second, 7, "first"};
	__int128 x = ((__int128)5 << 64) | 9;
	struct pair pair = swap_pair((struct pair){7, 2.0}, 5);

	EXPECT(add_two(3, 4) == 7);
	EXPECT(twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) == 650);
	EXPECT(thirteen(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13) == 91);
	EXPECT(mixed(1, 2.5, 100, 0.25f, "A", 0.5) == 1 + 5 + 100 + 0.25 + 0.5 + 'A');
	EXPECT(pair.a == 7 && pair.b == 7.0);
	EXPECT(three_shorts((struct three){2, 3, 4}, true) == 14);
	EXPECT(long_double(1.5L, 4) == 7.0L);
	EXPECT(wide(x, true) == x + 1 && wide(x, false) == x - 1);
	EXPECT(make_big(40).words[4] == 44);
	EXPECT(take_big((struct big){{1, 2, 3, 4, 5}}) == 6);
	EXPECT(variadic("dfdfdfdfdfdf", 1, 2.0, 3, 4.0, 5, 6.0, 7, 8.0, 9, 10.0, 11, 12.0) == 78);
	EXPECT(node_sum(&first) == 12);
	nothing(77);
}

static void on_trap(int number)
{
	(void)number;
}

/* With an argument it has a handler for SIGTRAP. */
int main(int argc, char **argv)
{
	int denied = 0;

	(void)argv;
	if (argc > 1)
		signal(SIGTRAP, on_trap);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (;;) {
		call_all();
		if (may_enter(7) == -13 && may_enter(1000) == -1 && !denied++)
			printf("denied\n");
		usleep(1000);
	}
}
