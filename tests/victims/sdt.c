/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program with SDT notes that checks itself: registers, red zone, flags and memory must survive its probes.
 * usage: sdt [ROUNDS]: prints how many rounds ran, and exits 1 at the first wrong result.
 */
#define _SDT_HAS_SEMAPHORES 1
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <unistd.h>

#define SEMAPHORE __attribute__((section(".probes"), used)) unsigned short

SEMAPHORE lab_request_semaphore;
SEMAPHORE lab_leaf_semaphore;
SEMAPHORE lab_pair_semaphore;
SEMAPHORE lab_table_semaphore;
SEMAPHORE lab_gated_semaphore;

static volatile uint32_t gated;

static __attribute__((noinline)) long request(int id, long size, const char *name)
{
	char local[64];

	snprintf(local, sizeof(local), "%s-%d", name, id);
	STAP_PROBE5(lab, request, id, size, name, (short)-7, &local[0]);
	return size + id + local[0];
}

/* A leaf: what it keeps is in the red zone, and a carry is live across the probe. */
static __attribute__((noinline)) uint64_t leaf(uint64_t a, uint64_t b)
{
	uint64_t sum, high;

	__asm__ volatile("movq %[a], -8(%%rsp)\n\t"
			 "movq %[b], -128(%%rsp)\n\t"
			 "movq %[a], %%rax\n\t"
			 "addq %[b], %%rax\n\t"
			 "990: nop\n\t"
			 "movl $0, %%ecx\n\t"
			 "adcq $0, %%rcx\n\t"
			 "addq -8(%%rsp), %%rax\n\t"
			 "addq -128(%%rsp), %%rax\n\t"
			 ".pushsection .note.stapsdt,\"\",\"note\"\n\t"
			 ".balign 4\n\t"
			 ".4byte 992f-991f, 994f-993f, 3\n"
			 "991: .asciz \"stapsdt\"\n"
			 "992: .balign 4\n"
			 "993: .8byte 990b, 0, lab_leaf_semaphore\n\t"
			 ".asciz \"lab\"\n\t"
			 ".asciz \"leaf\"\n\t"
			 ".asciz \"8@-8(%%rsp) 8@%%rax 8@-128(%%rsp)\"\n"
			 "994: .balign 4\n\t"
			 ".popsection"
			 : "=&a"(sum), "=&c"(high)
			 : [a] "r"(a), [b] "r"(b)
			 : "memory", "cc");
	return sum + high;
}

/* The instruction behind the probe is jumped to: the window must lie in front of it. */
static __attribute__((noinline)) uint64_t before(uint64_t n)
{
	uint64_t sum = 0;

	__asm__ volatile("leaq 1(%[n]), %%rdx\n\t"
			 "leaq 2(%%rdx), %%rdx\n\t"
			 "990: nop\n"
			 "1: addq %%rdx, %[sum]\n\t"
			 "decq %[n]\n\t"
			 "jnz 1b\n\t"
			 ".pushsection .note.stapsdt,\"\",\"note\"\n\t"
			 ".balign 4\n\t"
			 ".4byte 992f-991f, 994f-993f, 3\n"
			 "991: .asciz \"stapsdt\"\n"
			 "992: .balign 4\n"
			 "993: .8byte 990b, 0, 0\n\t"
			 ".asciz \"lab\"\n\t"
			 ".asciz \"before\"\n\t"
			 ".asciz \"8@%%rdx\"\n"
			 "994: .balign 4\n\t"
			 ".popsection"
			 : [sum] "+r"(sum), [n] "+r"(n)
			 :
			 : "rdx", "memory", "cc");
	return sum;
}

/* Jumped to from both sides: no window. */
static __attribute__((noinline)) uint64_t nowhere(uint64_t n)
{
	__asm__ volatile("jmp 990f\n"
			 "1: decq %[n]\n\t"
			 "990: nop\n"
			 "2: testq %[n], %[n]\n\t"
			 "jnz 1b\n\t"
			 "jc 2b\n\t"
			 ".pushsection .note.stapsdt,\"\",\"note\"\n\t"
			 ".balign 4\n\t"
			 ".4byte 992f-991f, 994f-993f, 3\n"
			 "991: .asciz \"stapsdt\"\n"
			 "992: .balign 4\n"
			 "993: .8byte 990b, 0, 0\n\t"
			 ".asciz \"lab\"\n\t"
			 ".asciz \"nowhere\"\n\t"
			 ".asciz \"\"\n"
			 "994: .balign 4\n\t"
			 ".popsection"
			 : [n] "+r"(n)
			 :
			 : "memory", "cc");
	return n;
}

static __attribute__((noinline)) int table(const int *values, long i)
{
	__asm__ volatile("990: nop\n\t"
			 "movq %[i], %%rdx\n\t"
			 "movq %[i], %%rdx\n\t"
			 ".pushsection .note.stapsdt,\"\",\"note\"\n\t"
			 ".balign 4\n\t"
			 ".4byte 992f-991f, 994f-993f, 3\n"
			 "991: .asciz \"stapsdt\"\n"
			 "992: .balign 4\n"
			 "993: .8byte 990b, 0, lab_table_semaphore\n\t"
			 ".asciz \"lab\"\n\t"
			 ".asciz \"table\"\n\t"
			 ".asciz \"-4@-4(%[values],%[i],4) 8f@%%xmm0 8@%[i]\"\n"
			 "994: .balign 4\n\t"
			 ".popsection"
			 :
			 : [values] "r"(values), [i] "r"(i)
			 : "rdx", "memory");
	return values[i - 1];
}

static __attribute__((noinline)) long pair(long n)
{
	if (n & 1) {
		STAP_PROBE1(lab, pair, n);
		n = n * 3 + 1;
	} else {
		STAP_PROBE2(lab, pair, n + 1000, 5);
		n = n / 2 + 7;
	}
	if (lab_gated_semaphore) {
		gated++;
		STAP_PROBE1(lab, gated, gated);
	}
	return n;
}

static int check(uint64_t round)
{
	static const int values[4] = {-10, -20, -30, -40};
	uint64_t a = round * 0x9e3779b97f4a7c15ull, b = ~round;
	uint64_t sum = a + b, n = round % 5 + 1;

	if (request((int)round, 100, "job") != 100 + (int)round + 'j')
		return 1;
	if (leaf(a, b) != sum + a + b + (sum < a))
		return 2;
	if (before(n) != n * (n + 3))
		return 3;
	if (nowhere(n))
		return 4;
	if (table(values, 3) != -30)
		return 5;
	if (pair(3) != 10 || pair(4) != 9)
		return 6;
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 0) : UINT64_MAX, i;

	for (i = 0; i < rounds; i++) {
		int wrong = check(i);

		if (wrong) {
			printf("wrong result %d in round %llu\n", wrong, (unsigned long long)i);
			return 1;
		}
		if (rounds == UINT64_MAX)
			usleep(100);
	}
	printf("%llu rounds\n", (unsigned long long)i);
	return 0;
}
