/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does running a program cost, besides the probe around it?
 *
 * Thread-CPU ns: a call of a compiled empty program (r0 = 0; exit) and of an empty C function; a loop instruction in both
 * engines; compiling; guarded reads and what a system call would cost instead. Rounds interleave the variants; the value is
 * the median over rounds, the spread half the distance between quartiles.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "exec/exec.h"
#include "exec/fault.h"
#include "exec/raw_image.h"
#include "format/insn.h"
#include "sync/reader.h"

#define ROUNDS	  15
#define LOOP_RUNS 1000

struct variant {
	const char *name, *metric;
	void (*run)(int times);
	int times;
	double per; /* units of the metric in one time */
	double ns[ROUNDS];
};

static const struct exec_env env;
static struct image_header *empty_image, *loop_image;
static struct exec_code *empty_code, *loop_code;
static char text[] = "a string of some length: 42 chars, or so..";
static volatile u64 sink;

static __attribute__((noinline)) u64 empty_function(u64 r1, u64 r2)
{
	__asm__ volatile("" : : "r"(r1), "r"(r2));
	return 0;
}

static void call_function(int times)
{
	u64 (*volatile function)(u64, u64) = empty_function;

	for (int i = 0; i < times; i++)
		function(0, 0);
}

static void call_program(int times)
{
	u64 (*volatile entry)(u64, u64) = empty_code->entry;

	for (int i = 0; i < times; i++)
		entry(0, 0);
}

static void interpret_program(int times)
{
	for (int i = 0; i < times; i++)
		exec_interpret(empty_image, &env, 0, 0);
}

static void loop_compiled(int times)
{
	for (int i = 0; i < times; i++)
		sink = loop_code->entry(LOOP_RUNS, 0);
}

static void loop_interpreted(int times)
{
	for (int i = 0; i < times; i++)
		sink = exec_interpret(loop_image, &env, LOOP_RUNS, 0);
}

/* A block of the region is always taken (empty_code), so this is compiling and not mapping. */
static void compile(int times)
{
	for (int i = 0; i < times; i++) {
		struct exec_code *code;

		if (!exec_compile(loop_image, &env, 0, false, &code))
			exec_free(code);
	}
}

static void read_word(int times)
{
	u64 word;

	for (int i = 0; i < times; i++)
		fault_read(&word, ptr_to_u64(text), 8);
}

static void read_string(int times)
{
	char copy[64];

	for (int i = 0; i < times; i++)
		fault_read_str(copy, ptr_to_u64(text), sizeof(copy));
}

static void read_bad(int times)
{
	u64 word;

	for (int i = 0; i < times; i++)
		fault_read(&word, 1ull << 62, 8);
}

static void read_null(int times)
{
	u64 word;

	for (int i = 0; i < times; i++)
		fault_read(&word, 8, 8);
}

static void read_by_kernel(int times)
{
	u64 word;
	struct iovec local = {&word, 8}, remote = {text, 8};

	for (int i = 0; i < times; i++)
		sink = (u64)process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

static struct variant variants[] = {
	{"C function", "ns_per_call", call_function, 1000000, 1, {0}},
	{"compiled empty program", "ns_per_call", call_program, 1000000, 1, {0}},
	{"interpreted empty program", "ns_per_call", interpret_program, 20000, 1, {0}},
	{"compiled", "ns_per_insn", loop_compiled, 300, 3 * LOOP_RUNS, {0}},
	{"interpreted", "ns_per_insn", loop_interpreted, 30, 3 * LOOP_RUNS, {0}},
	{"compile 5 instructions", "ns_per_call", compile, 3000, 1, {0}},
	{"guarded 8 bytes", "ns_per_read", read_word, 1000000, 1, {0}},
	{"guarded string of 42", "ns_per_read", read_string, 300000, 1, {0}},
	{"guarded pointer near NULL", "ns_per_read", read_null, 300000, 1, {0}},
	{"guarded bad pointer", "ns_per_read", read_bad, 20000, 1, {0}},
	{"process_vm_readv", "ns_per_read", read_by_kernel, 20000, 1, {0}},
};

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static bool prepare(void)
{
	static const struct bpf_insn empty[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	/* r0 = 0; do r0 ^= r1, r1 -= 1 while r1 */
	static const struct bpf_insn loop[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_ALU64 | BPF_XOR | BPF_X, .src_reg = BPF_REG_1},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_1, .imm = -1},
		{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = BPF_REG_1, .off = -3},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return !reader_init() && !fault_init() &&
	       !raw_image_create(empty, ARRAY_SIZE(empty), &empty_image) &&
	       !raw_image_create(loop, ARRAY_SIZE(loop), &loop_image) &&
	       !exec_compile(empty_image, &env, ptr_to_u64((const void *)prepare), false,
			     &empty_code) &&
	       !exec_compile(loop_image, &env, 0, false, &loop_code);
}

int main(void)
{
	if (!prepare()) {
		fputs("exec: cannot prepare the programs\n", stderr);
		return 1;
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
			struct variant *v = &variants[i];
			double start = now_ns();

			v->run(v->times);
			v->ns[round] = (now_ns() - start) / v->times / v->per;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		struct variant *v = &variants[i];

		qsort(v->ns, ROUNDS, sizeof(double), by_value);
		printf("{\"bench\":\"exec\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"ns\",\"value\":%.3f,"
		       "\"spread\":%.3f}\n",
		       v->name, v->metric, v->ns[ROUNDS / 2],
		       (v->ns[ROUNDS * 3 / 4] - v->ns[ROUNDS / 4]) / 2);
	}
	return 0;
}
