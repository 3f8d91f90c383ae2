/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The probe of an object attached through the kernel's uprobes: what inlay is compared with. Needs root.
 *
 * usage: kernel-uprobe PID OBJECT.bpf.o PROGRAM FUNCTION
 * Prints "attached" and stays until it is interrupted; then the first value of the map `calls`. Exit 77: the kernel
 * (or who we are) does not offer it. It is never part of inlay.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static struct bpf_link *attach(struct bpf_object *object, pid_t pid, const char *program,
			       const char *function)
{
	LIBBPF_OPTS(bpf_uprobe_opts, options, .func_name = function);
	struct bpf_program *found = bpf_object__find_program_by_name(object, program);
	char link[64], path[PATH_MAX] = "";

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	if (!found || readlink(link, path, sizeof(path) - 1) < 0)
		return NULL;
	return bpf_program__attach_uprobe_opts(found, pid, path, 0, &options);
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_link *link;
	unsigned long long calls = 0;
	unsigned int zero = 0;
	sigset_t set;
	int number;

	if (argc != 5) {
		fprintf(stderr, "usage: %s PID OBJECT.bpf.o PROGRAM FUNCTION\n", argv[0]);
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	libbpf_set_print(quiet);
	object = bpf_object__open_file(argv[2], NULL);
	if (!object || bpf_object__load(object)) {
		fprintf(stderr, "kernel-uprobe: the kernel does not load it: %s\n",
			strerror(errno));
		return 77;
	}
	link = attach(object, atoi(argv[1]), argv[3], argv[4]);
	if (!link) {
		fprintf(stderr, "kernel-uprobe: the kernel does not attach it: %s\n",
			strerror(errno));
		return 77;
	}
	puts("attached");
	fflush(stdout);
	sigwait(&set, &number);
	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "calls"), &zero, &calls);
	printf("%llu\n", calls);
	bpf_link__destroy(link);
	bpf_object__close(object);
	return 0;
}
