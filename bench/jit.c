/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How good is compiled code? The programs of jit.bpf.c on our JIT, on the kernel's (BPF_PROG_TEST_RUN, as root) and as
 * native code of clang -O2.
 *
 * Thread-CPU ns of one run, variants interleaved; the value is the median over rounds, the spread half the distance between
 * quartiles. All three must give the same number. The kernel's frame around a run, measured by an empty loop of ours it does
 * not have, is less than 2 % of the shortest program and is not taken off.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/sys.h"
#include "kernel_side.h"
#include "object/object.h"

#define ROUNDS	 21
#define ROUND_NS 1000000.0

enum variant { OURS, KERNEL, NATIVE, VARIANTS };

static const char *const variants[] = {"inlay", "kernel", "clang -O2"};

#define PROGRAMS(X)                                                                                \
	X(hash_fnv)                                                                                \
	X(hash_sip)                                                                                \
	X(parse)                                                                                   \
	X(sort)                                                                                    \
	X(search)                                                                                  \
	X(checksum)                                                                                \
	X(crc32)                                                                                   \
	X(matrix)                                                                                  \
	X(bytecode)                                                                                \
	X(divide)                                                                                  \
	X(calls)                                                                                   \
	X(stack)                                                                                   \
	X(bsearch)                                                                                 \
	X(bits)

#define DECLARE(name) int jit_native_##name(void *ctx);
PROGRAMS(DECLARE)
DECLARE(fill)

#define ROW(program) {.name = #program, .native = jit_native_##program},
static struct program {
	const char *name;
	int (*native)(void *ctx);
	int fd[VARIANTS]; /* of NATIVE: none */
	u32 repeat;
	double ns[VARIANTS][ROUNDS];
} programs[] = {PROGRAMS(ROW){.name = "fill", .native = jit_native_fill}};

#define COUNT (ARRAY_SIZE(programs) - 1)

static bool has_kernel;

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static u32 run_bpf(enum variant variant, int fd, u32 repeat)
{
	static u8 packet[64];
	union bpf_attr attr = {.test = {.prog_fd = (u32)fd,
					.data_in = ptr_to_u64(packet),
					.data_size_in = sizeof(packet),
					.repeat = repeat}};
	long error = variant == KERNEL ? sys_call3(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr))
				       : object_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));

	if (error) {
		fprintf(stderr, "jit: %s: cannot run: %s\n", variants[variant],
			strerror((int)-error));
		exit(1);
	}
	return attr.test.retval;
}

static u32 run(enum variant variant, const struct program *program, u32 repeat)
{
	u32 value = 0;

	if (variant != NATIVE)
		return run_bpf(variant, program->fd[variant], repeat);
	for (u32 i = 0; i < repeat; i++)
		value = (u32)program->native(NULL);
	return value;
}

static struct program *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		if (!strcmp(programs[i].name, name))
			return &programs[i];
	}
	fprintf(stderr, "jit: no program %s\n", name);
	exit(1);
}

static void keep_kernel_fd(const char *name, int fd)
{
	find(name)->fd[KERNEL] = fd;
}

static bool prepare(const char *folder)
{
	char path[5000], loader[5000];
	struct bpf_object *object;
	struct bpf_program *each;

	snprintf(path, sizeof(path), "%s/jit.bpf.o", folder);
	snprintf(loader, sizeof(loader), "%s/parts/jit_kernel", folder);
	object = bpf_object__open_file(path, NULL);
	if (!object || bpf_object__load(object))
		return false;
	bpf_object__for_each_program(each, object) find(bpf_program__name(each))->fd[OURS] =
		bpf_program__fd(each);
	has_kernel = kernel_side_load(loader, path, object, keep_kernel_fd);
	if (!has_kernel)
		fputs("jit: the kernel loads no programs here: it is left out\n", stderr);
	return true;
}

static bool skips(enum variant variant)
{
	return variant == KERNEL && !has_kernel;
}

/* Results agree, and a round of a program takes about ROUND_NS. */
static bool check(void)
{
	for (int v = 0; v < VARIANTS; v++) {
		if (!skips(v))
			run(v, find("fill"), 1);
	}
	for (size_t i = 0; i < COUNT; i++) {
		struct program *program = &programs[i];
		u32 value = run(NATIVE, program, 1);
		double start;

		for (int v = 0; v < NATIVE; v++) {
			if (!skips(v) && run(v, program, 1) != value) {
				fprintf(stderr, "jit: %s: %s computes another number\n",
					program->name, variants[v]);
				return false;
			}
		}
		start = now_ns();
		run(OURS, program, 100);
		program->repeat = (u32)(ROUND_NS / ((now_ns() - start) / 100)) + 1;
	}
	return true;
}

static void measure(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < COUNT; i++) {
			struct program *program = &programs[i];

			for (int v = 0; v < VARIANTS; v++) {
				double start = now_ns();

				if (skips(v))
					continue;
				run(v, program, program->repeat);
				program->ns[v][round] = (now_ns() - start) / program->repeat;
			}
		}
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print(const char *variant, const char *metric, const char *unit, double value,
		  double spread)
{
	printf("{\"bench\":\"jit\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\","
	       "\"value\":%.3f,\"spread\":%.3f}\n",
	       variant, metric, unit, value, spread);
}

/* Geometric means without libm: the n-th root by bisection of the product. */
static double mean_ratio(enum variant to)
{
	double product = 1, low = 0, high = 100;

	for (size_t i = 0; i < COUNT; i++)
		product *= programs[i].ns[OURS][ROUNDS / 2] / programs[i].ns[to][ROUNDS / 2];
	for (int step = 0; step < 100; step++) {
		double middle = (low + high) / 2, power = 1;

		for (size_t i = 0; i < COUNT; i++)
			power *= middle;
		if (power < product)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static void print_sizes(const struct program *program)
{
	for (int v = 0; v < NATIVE; v++) {
		struct bpf_prog_info info = {0};
		union bpf_attr attr = {.info = {.bpf_fd = (u32)program->fd[v],
						.info_len = sizeof(info),
						.info = ptr_to_u64(&info)}};
		char metric[64];

		if (skips(v))
			continue;
		if (v == KERNEL ? sys_call3(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr))
				: object_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
			continue;
		snprintf(metric, sizeof(metric), "%s_code", program->name);
		print(variants[v], metric, "bytes", info.jited_prog_len, 0);
	}
}

int main(int argc, char **argv)
{
	const char *build = getenv("INLAY_BUILD");
	char folder[4096];

	(void)argc;
	(void)argv;
	snprintf(folder, sizeof(folder), "%s/bench", build ? build : ".");
	if (!prepare(folder) || !check())
		return 1;
	measure();
	for (size_t i = 0; i < COUNT; i++) {
		struct program *program = &programs[i];

		for (int v = 0; v < VARIANTS; v++) {
			if (skips(v))
				continue;
			qsort(program->ns[v], ROUNDS, sizeof(double), by_value);
			print(variants[v], program->name, "ns", program->ns[v][ROUNDS / 2],
			      (program->ns[v][ROUNDS * 3 / 4] - program->ns[v][ROUNDS / 4]) / 2);
		}
		print_sizes(program);
	}
	if (has_kernel)
		print("inlay / kernel", "geometric mean", "ratio", mean_ratio(KERNEL), 0);
	print("inlay / clang -O2", "geometric mean", "ratio", mean_ratio(NATIVE), 0);
	return 0;
}
