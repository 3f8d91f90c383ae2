/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads an object through libbpf and says how the verifier fared with each program: what bench/verify runs twice, by itself and
 * under `inlay run`.
 *
 * usage: verify_load OBJECT.bpf.o TYPE        TYPE: a number of enum bpf_prog_type, for all programs
 * One JSON line a program: id, whether it was accepted, instructions processed, us as the verifier measured them.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int main(int argc, char **argv)
{
	static char logs[MAX_PROGRAMS][LOG_SIZE];
	struct bpf_program *program;
	struct bpf_object *object;
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
		bpf_program__set_type(program, (enum bpf_prog_type)atoi(argv[2]));
		bpf_program__set_flags(program, BPF_F_TEST_RND_HI32);
		bpf_program__set_log_level(program, 4);
		bpf_program__set_log_buf(program, logs[count++], LOG_SIZE);
	}
	error = bpf_object__load(object);
	count = 0;
	bpf_object__for_each_program(program, object)
	{
		const char *log = logs[count++];

		printf("{\"id\":\"%s\",\"accepted\":%s,\"insns\":%lu,\"us\":%lu}\n",
		       bpf_program__name(program), error ? "false" : "true",
		       number_after(log, "processed "), number_after(log, "verification time "));
		if (count == MAX_PROGRAMS)
			break;
	}
	bpf_object__close(object);
	return 0;
}
