// SPDX-License-Identifier: BSD-2-Clause
/*
 * Functions whose callers rely on more, or on other registers, than the System V convention says; each result is checked.
 * Built by gcc (-fipa-ra) and by clang (preserve_most, regcall). Prints "wrong NAME" and exits with status 1.
 */
#include <complex.h>
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__clang__)
#define VICTIM __attribute__((noinline, optnone))
#else
#define VICTIM __attribute__((noipa))
#endif
#define EXPECT(name, condition)                                                                    \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("wrong %s\n", name);                                                \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* ms_abi: arguments in rcx, rdx, r8, r9; rdi, rsi and xmm6-15 are the caller's. */
__attribute__((ms_abi)) long windows(long a, long b, long c, long d, long e, double f);
VICTIM __attribute__((ms_abi)) long windows(long a, long b, long c, long d, long e, double f)
{
	return a + 2 * b + 3 * c + 4 * d + 5 * e + (long)f;
}

static double kept_doubles(double seed, long count)
{
	double v[10];
	long sum = 0;

	for (int i = 0; i < 10; i++)
		v[i] = seed + i;
	for (long i = 0; i < count; i++) {
		sum += windows(i, 1, 2, 3, 4, seed);
		for (int k = 0; k < 10; k++)
			v[k] += (double)k;
	}
	return v[0] + v[1] + v[2] + v[3] + v[4] + v[5] + v[6] + v[7] + v[8] + v[9] + (double)sum;
}

static void check_windows(void)
{
	/* v: 10 * 1 + 45 + 5 * 45; sum: the i are 0 .. 4, each call adds 2 + 6 + 12 + 20 + 1. */
	EXPECT("windows", kept_doubles(1.0, 5) == 10 + 45 + 5 * 45 + 10 + 5 * 41);
}

#if defined(__clang__)
/* Everything but r11 is the caller's. No result: clang 14 restores rax over it. */
__attribute__((preserve_most)) void preserving(long a, long b, long *sum);
__attribute__((preserve_most, noinline)) void preserving(long a, long b, long *sum)
{
	__asm__ volatile("" : "+r"(a), "+r"(b));
	*sum += a * 3 + b;
}

/* Arguments in rax, rcx, rdx, rdi, rsi, r8-r15 and xmm0-15; so are results. */
__attribute__((regcall)) double many_registers(long a, long b, long c, long d, long e, long f,
					       long g, long h, long i, long j, double k, double l,
					       double m, double n, double o, double p, double q,
					       double r, double s, double t);
__attribute__((regcall, noinline)) double many_registers(long a, long b, long c, long d, long e,
							 long f, long g, long h, long i, long j,
							 double k, double l, double m, double n,
							 double o, double p, double q, double r,
							 double s, double t)
{
	__asm__ volatile("" : "+r"(a), "+r"(j), "+x"(k), "+x"(t));
	return (double)(a + b + c + d + e + f + g + h + i + 2 * j) + k + l + m + n + o + p + q + r +
	       s + 2 * t;
}

static void check_compiler(long seed)
{
	long a = seed, b = seed + 1, c = seed + 2, d = seed + 3, e = seed + 4, f = seed + 5;
	long sum = 0;

	for (int i = 0; i < 4; i++) {
		preserving(a, b, &sum);
		a += c;
		b += d;
		c += e;
		d += f;
		e += sum;
		f += i;
	}
	/* The same, called in no way. */
	long A = seed, B = seed + 1, C = seed + 2, D = seed + 3, E = seed + 4, F = seed + 5, S = 0;

	for (int i = 0; i < 4; i++) {
		S += A * 3 + B;
		A += C;
		B += D;
		C += E;
		D += F;
		E += S;
		F += i;
	}
	EXPECT("preserving", sum == S && a == A && b == B && c == C && d == D && e == E && f == F);
	EXPECT("many_registers", many_registers(1, 2, 3, 4, 5, 6, 7, 8, 9, seed, 1, 2, 3, 4, 5, 6,
						7, 8, 9, 10) == 45 + 2 * (double)seed + 45 + 20);
}
#else
/* Not noipa: the caller knows which registers this leaves alone and keeps values there (-fipa-ra). */
static __attribute__((noinline, noclone)) long leaves_alone(long a)
{
	__asm__ volatile("" : "+r"(a));
	return a + 1;
}

static void check_compiler(long seed)
{
	long a = seed, b = seed * 3, c = seed * 5, d = seed * 7, e = seed * 11, sum = 0;

	__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
	for (int i = 0; i < 8; i++)
		sum += leaves_alone(i) * (a ^ b) + (c ^ d) + e;
	EXPECT("leaves_alone",
	       sum == 36 * ((seed) ^ (seed * 3)) + 8 * (((seed * 5) ^ (seed * 7)) + seed * 11));
}
#endif

VICTIM static long double x87(long double a, long double b)
{
	return a * b + 1;
}

VICTIM static __int128 wide(__int128 a, long b)
{
	return a * b + 1;
}

VICTIM static double _Complex turn(double _Complex z)
{
	return z * I;
}

VICTIM static float _Complex turn_float(float _Complex z)
{
	return z * I;
}

VICTIM static long double _Complex turn_x87(long double _Complex z)
{
	return z * I; /* two results on the x87 stack */
}

static void check_numbers(int mode)
{
	__int128 big = (__int128)1 << 100;
	double _Complex z = turn(3 + 4 * I);
	float _Complex w = turn_float(3 + 4 * I);
	long double _Complex x = turn_x87(3 + 4 * I);

	fesetround(mode);
	EXPECT("x87", x87(3, 5) == 16 && 1 + x87(2, 2) * x87(1, 1) == 11);
	EXPECT("rounding", fegetround() == mode);
	EXPECT("wide", wide(big, 3) == 3 * big + 1);
	EXPECT("turn", creal(z) == -4 && cimag(z) == 3);
	EXPECT("turn_float", crealf(w) == -4 && cimagf(w) == 3);
	EXPECT("turn_x87", creall(x) == -4 && cimagl(x) == 3);
	fesetround(FE_TONEAREST);
}

typedef long vector512 __attribute__((vector_size(64)));

/* zmm arguments and result, values kept in zmm16-31 and mask registers over the call. */
__attribute__((target("avx512f"))) VICTIM static vector512 widest(vector512 a, vector512 b)
{
	return a + b;
}

__attribute__((target("avx512f"), noinline)) static void check_widest(void)
{
	vector512 ones = {1, 1, 1, 1, 1, 1, 1, 1}, sum = {0};
	unsigned mask = 0;

	for (int i = 0; i < 8; i++)
		sum = widest(sum, ones);
	for (int i = 0; i < 8; i++)
		EXPECT("widest", sum[i] == 8);
	/* What the function does not change, no probe on it may: caller and callee agree on these here. */
	__asm__ volatile("vpternlogd $0xff, %%zmm31, %%zmm31, %%zmm31\nmov $0xa5, %%eax\n"
			 "kmovw %%eax, %%k5\n"
			 :
			 :
			 : "eax", "xmm31", "k5");
	(void)widest(ones, ones);
	__asm__ volatile("vpcmpeqd %%zmm31, %%zmm31, %%k1\nkmovw %%k5, %0\n" : "=r"(mask) : : "k1");
	EXPECT("mask registers", mask == 0xa5);
}

int main(void)
{
	static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

	for (unsigned i = 0;; i++) {
		check_windows();
		check_compiler((long)(i % 1000));
		check_numbers(modes[i % 4]);
		if (__builtin_cpu_supports("avx512f"))
			check_widest();
		if (i % 64 == 0)
			usleep(200);
	}
}
