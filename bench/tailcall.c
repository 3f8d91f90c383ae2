/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a tail call costs: chains of 32 of them (tailcall.bpf.c) here and in the kernel (BPF_PROG_TEST_RUN with repeat, as
 * root), beside 32 plain calls.
 *
 * Thread-CPU ns of one call: a run less one of the empty program of the same side, by 32. Variants are interleaved, the value
 * is the median over rounds, the spread half the distance between quartiles.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/sys.h"
#include "kernel_side.h"
#include "object/object.h"

#define ROUNDS 41
#define REPEAT 5000
#define CALLS  32

enum side { OURS, RETPOLINE, KERNEL, SIDES };

static const char *const sides[] = {"inlay", "inlay, retpolines", "kernel"};

static struct program {
	const char *name, *what;
	int fd[SIDES];
	double ns[SIDES][ROUNDS];
} programs[] = {
	{.name = "empty0"},
	{.name = "direct0", .what = "direct"},
	{.name = "lean0", .what = "direct, no frame"},
	{.name = "self0", .what = "direct, to itself"},
	{.name = "indirect0", .what = "indirect"},
	{.name = "nested0", .what = "direct, from subprograms"},
	{.name = "mixed0", .what = "indirect, from subprograms"},
	{.name = "plain0", .what = "plain subprogram call"},
};

static bool has_kernel;

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static bool skips(enum side side)
{
	return side == KERNEL && !has_kernel;
}

/* ns of one run. */
static double run(enum side side, const struct program *program)
{
	static u8 packet[64];
	union bpf_attr attr = {.test = {.prog_fd = (u32)program->fd[side],
					.data_in = ptr_to_u64(packet),
					.data_size_in = sizeof(packet),
					.repeat = REPEAT}};
	double start = now_ns();
	long error = side == KERNEL ? sys_call3(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr))
				    : object_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));

	if (error || attr.test.retval != 77) {
		fprintf(stderr, "tailcall: %s: %s: error %ld, result %u\n", sides[side],
			program->name, error, attr.test.retval);
		exit(1);
	}
	return (now_ns() - start) / REPEAT;
}

static void keep(enum side side, const char *name, int fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		if (!strcmp(programs[i].name, name))
			programs[i].fd[side] = fd;
	}
}

static void keep_kernel(const char *name, int fd)
{
	keep(KERNEL, name, fd);
}

static struct bpf_object *load(const char *path, enum side side)
{
	static struct object_load_policy policy;
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *each;

	policy.retpolines = side == RETPOLINE;
	object_set_load_policy(&policy);
	if (!object || bpf_object__load(object))
		return NULL;
	bpf_object__for_each_program(each, object)
		keep(side, bpf_program__name(each), bpf_program__fd(each));
	return object;
}

static bool prepare(const char *folder)
{
	char path[5000], loader[5000];
	struct bpf_object *object;

	snprintf(path, sizeof(path), "%s/tailcall.bpf.o", folder);
	snprintf(loader, sizeof(loader), "%s/parts/jit_kernel", folder);
	object = load(path, OURS);
	if (!object || !load(path, RETPOLINE))
		return false;
	has_kernel = kernel_side_load(loader, path, object, keep_kernel);
	if (!has_kernel)
		fputs("tailcall: the kernel loads no programs here: it is left out\n", stderr);
	return true;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		for (int side = 0; side < SIDES; side++) {
			for (size_t i = 0; i < ARRAY_SIZE(programs) && !skips(side); i++) {
				struct program *program = &programs[i];

				run(side,
				    program); /* caches and predictors are those of the other side */
				program->ns[side][round] = run(side, program);
				if (i)
					program->ns[side][round] = (program->ns[side][round] -
								    programs[0].ns[side][round]) /
								   CALLS;
			}
		}
	}
}

static void print(const char *variant, const char *metric, const char *unit, double value,
		  double spread)
{
	printf("{\"bench\":\"tailcall\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\","
	       "\"value\":%.3f,\"spread\":%.3f}\n",
	       variant, metric, unit, value, spread);
}

int main(int argc, char **argv)
{
	const char *build = getenv("INLAY_BUILD");
	char folder[4096];

	(void)argc;
	(void)argv;
	snprintf(folder, sizeof(folder), "%s/bench", build ? build : ".");
	if (!prepare(folder))
		return 1;
	measure();
	for (size_t i = 1; i < ARRAY_SIZE(programs); i++) {
		struct program *program = &programs[i];

		for (int side = 0; side < SIDES; side++) {
			double *ns = program->ns[side];

			if (skips(side))
				continue;
			qsort(ns, ROUNDS, sizeof(double), by_value);
			print(sides[side], program->what, "ns", ns[ROUNDS / 2],
			      (ns[ROUNDS * 3 / 4] - ns[ROUNDS / 4]) / 2);
		}
		if (has_kernel)
			print("inlay / kernel", program->what, "ratio",
			      program->ns[OURS][ROUNDS / 2] / program->ns[KERNEL][ROUNDS / 2], 0);
	}
	return 0;
}
