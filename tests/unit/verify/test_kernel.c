/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random programs near the border of acceptance, judged by verify_program and by the running kernel. What the kernel refuses
 * must be refused here. INLAY_FUZZ_PROGRAMS and INLAY_FUZZ_SEED choose how many and which; a difference is printed with its log.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "format/disasm.h"
#include "generate.h"
#include "kernel_protos.h"
#include "test.h"
#include "verify/verify.h"

static struct verify_map map = {
	.id = 1,
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 8,
	.value_size = VALUE_SIZE,
	.max_entries = 1,
	.spin_lock_off = ~0u,
	.timer_off = ~0u,
};

static const struct verify_map *map_by_fd(void *opaque, int fd)
{
	(void)opaque;
	return fd == map_fd ? &map : NULL;
}

static const struct verify_host host = {kernel_proto, kernel_proto_allowed, map_by_fd, NULL};

static int kernel_verdict(char *log, u32 log_size)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (u64)(uintptr_t)program,
		.insn_cnt = length,
		.license = (u64)(uintptr_t) "GPL",
		.log_level = log ? 2 : 0,
		.log_buf = (u64)(uintptr_t)log,
		.log_size = log_size,
	};
	long fd = syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

static int own_verdict(u32 level, struct verify_log *log)
{
	struct bpf_insn copy[MAX_INSNS];
	struct verify_result result;
	struct verify_request request = {
		.insns = copy,
		.insn_cnt = length,
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.gpl = true,
		.privileged = true,
		.log_level = level,
		.max_insns = 20000,
	};

	memcpy(copy, program, sizeof(copy));
	memset(log, 0, sizeof(*log));
	return verify_program(&request, &host, log, &result);
}

static void show_difference(u64 start, int own, int kernel)
{
	static char text[1 << 20];
	struct verify_log log;

	kernel_verdict(text, sizeof(text));
	own_verdict(2, &log);
	printf("# seed %llu: here %d, kernel %d\n--- kernel\n%s\n--- here\n%s\n",
	       (unsigned long long)start, own, kernel, text, log.text ? log.text : "");
	verify_log_free(&log);
}

static void kernel_agrees(void)
{
	union bpf_attr attr = {
		.map_type = map.type, .key_size = 8, .value_size = VALUE_SIZE, .max_entries = 1};
	const char *count = getenv("INLAY_FUZZ_PROGRAMS"), *first = getenv("INLAY_FUZZ_SEED");
	long programs = count ? atol(count) : 3000, accepted = 0, holes = 0, refused = 0;
	u64 start = first ? strtoull(first, NULL, 0) : 1;

	map_fd = (int)syscall(__NR_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	if (map_fd < 0)
		SKIP("bpf(2) is not allowed here");
	for (long i = 0; i < programs; i++, start++) {
		struct verify_log log;
		int own, kernel;

		seed = start * 0x9e3779b97f4a7c15ull + 1;
		generate();
		own = own_verdict(0, &log);
		verify_log_free(&log);
		if (own == -E2BIG) /* a long loop: both would take a second */
			continue;
		kernel = kernel_verdict(NULL, 0);
		accepted += !kernel;
		holes += !own && kernel;
		refused += own && !kernel;
		if ((!own && kernel && holes < 4) || (first && !own != !kernel))
			show_difference(start, own, kernel);
		else if (own && !kernel && refused < 10)
			printf("# refused here only: seed %llu\n", (unsigned long long)start);
	}
	close(map_fd);
	printf("# %ld programs, the kernel accepts %ld; accepted here only %ld, refused here only %ld\n",
	       programs, accepted, holes, refused);
	CHECK_EQ(holes, 0);
	CHECK(accepted * 20 > programs); /* the generator must stay near the border */
	CHECK(refused * 100 <= accepted);
}

int main(void)
{
	RUN(kernel_agrees);
	return test_done();
}
