/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads an object through libbpf and says how the verifier fared with each program: what bench/verify and bench/compile run
 * twice, by itself and under `inlay run`.
 *
 * usage: verify_load OBJECT.bpf.o TYPE        TYPE: a number of enum bpf_prog_type, for all programs; 0: as their sections say
 * One JSON line a program: id, whether it was accepted, instructions processed, us as the verifier measured them,
 * instructions. Then one for the object: us of this thread's CPU time for loading all of it, and of what the first test runs took
 * longer than the second ones (who compiles late does it there).
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOG_SIZE     (1 << 16)
#define MAX_PROGRAMS 64

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static unsigned long number_after(const char *log, const char *words)
{
	const char *at = strstr(log, words);

	return at ? strtoul(at + strlen(words), NULL, 10) : 0;
}

static double cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double run_us(const struct bpf_program *program)
{
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet));
	double start = cpu_us();

	bpf_prog_test_run_opts(bpf_program__fd(program), &options);
	return cpu_us() - start;
}

int main(int argc, char **argv)
{
	static char logs[MAX_PROGRAMS][LOG_SIZE];
	static size_t lengths[MAX_PROGRAMS]; /* libbpf forgets them when it has loaded */
	struct bpf_program *program;
	struct bpf_object *object;
	double start, taken, late = 0;
	int count = 0, error;

	if (argc != 3) {
		fprintf(stderr, "usage: %s OBJECT.bpf.o TYPE\n", argv[0]);
		return 2;
	}
	libbpf_set_print(quiet);
	object = bpf_object__open_file(argv[1], NULL);
	if (!object) {
		perror(argv[1]);
		return 1;
	}
	bpf_object__for_each_program(program, object)
	{
		if (count == MAX_PROGRAMS)
			break;
		if (atoi(argv[2]))
			bpf_program__set_type(program, (enum bpf_prog_type)atoi(argv[2]));
		lengths[count] = bpf_program__insn_cnt(program);
		bpf_program__set_flags(program, BPF_F_TEST_RND_HI32);
		bpf_program__set_log_level(program, 4);
		bpf_program__set_log_buf(program, logs[count++], LOG_SIZE);
	}
	start = cpu_us();
	error = bpf_object__load(object);
	taken = cpu_us() - start;
	bpf_object__for_each_program(program, object)
	{
		if (!error)
			late += run_us(program);
		if (!error)
			late -= run_us(program);
	}
	count = 0;
	bpf_object__for_each_program(program, object)
	{
		const char *log = logs[count];

		printf("{\"id\":\"%s\",\"accepted\":%s,\"insns\":%lu,\"us\":%lu,\"length\":%zu}\n",
		       bpf_program__name(program), error ? "false" : "true",
		       number_after(log, "processed "), number_after(log, "verification time "),
		       lengths[count]);
		if (++count == MAX_PROGRAMS)
			break;
	}
	printf("{\"object\":\"%s\",\"load_us\":%.1f,\"late_us\":%.1f}\n", argv[1], taken, late);
	bpf_object__close(object);
	return 0;
}
