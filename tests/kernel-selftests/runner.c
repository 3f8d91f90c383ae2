/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs the kernel's test_tailcalls() as a TAP program. Its objects are in the working directory. */
#include "test_progs.h"

#include <arpa/inet.h>

#include "network_helpers.h"

void test_tailcalls(void);

struct ipv4_packet pkt_v4 = {
	.eth.h_proto = __constant_htons(ETH_P_IP),
	.iph = {.ihl = 5, .version = 4, .protocol = 6, .tot_len = __constant_htons(100)},
	.tcp = {.urg_ptr = 123, .doff = 5},
};

static const char *running;
static int count, failures, failed_here;

static void finish(void)
{
	if (!running)
		return;
	printf("%sok %d - %s\n", failed_here ? "not " : "", ++count, running);
	fflush(stdout);
	failures += failed_here != 0;
	failed_here = 0;
}

bool test__start_subtest(const char *name)
{
	finish();
	running = name;
	return true;
}

void harness_fail(const char *file, int line, const char *what, long long got, long long want)
{
	printf("# %s:%d: %s is %lld, want %lld\n", file, line, what, got, want);
	failed_here++;
}

int bpf_prog_test_load(const char *file, enum bpf_prog_type type, struct bpf_object **ret_object,
		       int *ret_prog_fd)
{
	struct bpf_object *object = bpf_object__open_file(file, NULL);
	struct bpf_program *program;
	int error;

	if (!object)
		return -errno;
	program = bpf_object__next_program(object, NULL);
	if (program && type != BPF_PROG_TYPE_UNSPEC)
		bpf_program__set_type(program, type);
	error = program ? bpf_object__load(object) : -ENOENT;
	if (error) {
		bpf_object__close(object);
		return error;
	}
	*ret_object = object;
	*ret_prog_fd = bpf_program__fd(program);
	return 0;
}

int main(void)
{
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	test_tailcalls();
	finish();
	printf("1..%d\n", count);
	return failures != 0;
}
