/* SPDX-License-Identifier: BSD-2-Clause */
/* libbpf as it is, on object_bpf: what a skeleton does, from feature probes to reading a map. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int __attribute__((format(printf, 2, 0)))
quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	if (getenv("VERBOSE") || level == LIBBPF_WARN)
		vfprintf(stdout, format, args);
	return 0;
}

/* A temporary object file, compiled by clang; NULL: no clang. */
static const char *compile(const char *source)
{
	static char path[64];
	char command[512];
	FILE *pipe;

	snprintf(path, sizeof(path), "/tmp/inlay-test-%d.bpf.o", getpid());
	snprintf(
		command, sizeof(command),
		"clang -O2 -g -target bpf -D__TARGET_ARCH_x86 -I/usr/include/x86_64-linux-gnu -x c - -c -o %s",
		path);
	pipe = popen(command, "w");
	if (!pipe)
		return NULL;
	fputs(source, pipe);
	return pclose(pipe) ? NULL : path;
}

static const char counter[] =
	"#include <linux/bpf.h>\n"
	"#include <bpf/bpf_helpers.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16);\n"
	"	 __type(key, __u32); __type(value, __u64); } counts SEC(\".maps\");\n"
	"int total; const volatile int step = 1;\n"
	"SEC(\"uprobe\") int count(void *ctx) {\n"
	"	__u32 key = 7; __u64 one = 1, *value = bpf_map_lookup_elem(&counts, &key);\n"
	"	if (value) __sync_fetch_and_add(value, step);\n"
	"	else bpf_map_update_elem(&counts, &key, &one, BPF_ANY);\n"
	"	total += step;\n"
	"	return 0; }\n"
	"SEC(\"raw_tp\") int run(__u64 *ctx) { return count(ctx) + 5; }\n"
	"char LICENSE[] SEC(\"license\") = \"GPL\";\n";

static void skeleton_loads_and_runs(void)
{
	const char *path = compile(counter);
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct bpf_object *object;
	__u32 key = 7;
	__u64 value = 0;
	int map, prog;

	if (!path)
		SKIP("clang cannot compile for bpf");
	object = bpf_object__open_file(path, NULL);
	unlink(path);
	CHECK(object != NULL);
	if (!object)
		return;
	CHECK_EQ(bpf_object__load(object), 0);
	map = bpf_object__find_map_fd_by_name(object, "counts");
	prog = bpf_program__fd(bpf_object__find_program_by_name(object, "run"));
	CHECK(map >= 0 && prog >= 0);
	if (prog >= 0) {
		CHECK_EQ(bpf_prog_test_run_opts(prog, &opts), 0);
		CHECK_EQ(opts.retval, 5);
		CHECK_EQ(bpf_prog_test_run_opts(prog, &opts), 0);
		CHECK_EQ(bpf_map_lookup_elem(map, &key, &value), 0);
		CHECK_EQ(value, 2);
	}
	bpf_object__close(object);
}

int main(void)
{
	libbpf_set_print(quiet);
	RUN(skeleton_loads_and_runs);
	return test_done();
}
