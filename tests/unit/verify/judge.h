/* SPDX-License-Identifier: BSD-2-Clause */
/* The program that generate.h made last, judged by verify_program and by the running kernel. */
#ifndef INLAY_TESTS_UNIT_VERIFY_JUDGE_H
#define INLAY_TESTS_UNIT_VERIFY_JUDGE_H

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "format/btf.h"
#include "generate.h"
#include "kernel_protos.h"
#include "verify/verify.h"

#define MAX_WALKED 20000 /* instructions: a long loop would take both a second */

static struct verify_map judge_hash = {
	.id = 1,
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 8,
	.value_size = VALUE_SIZE,
	.max_entries = 1,
	.spin_lock_off = ~0u,
	.timer_off = ~0u,
};

static struct verify_map judge_ring = {
	.id = 2,
	.type = BPF_MAP_TYPE_RINGBUF,
	.max_entries = 4096,
	.spin_lock_off = ~0u,
	.timer_off = ~0u,
};

static int judge_btf_fd = -1;
static struct btf *judge_types;

static const struct verify_map *judge_map(void *opaque, int fd)
{
	(void)opaque;
	return fd == map_fd ? &judge_hash : fd == ring_fd ? &judge_ring : NULL;
}

static const struct verify_host judge_host = {kernel_proto, kernel_proto_allowed, judge_map, NULL};

static int judge_bpf(int command, union bpf_attr *attr)
{
	long fd = syscall(__NR_bpf, command, attr, sizeof(*attr));

	return fd < 0 ? -errno : (int)fd;
}

/* Makes the kernel's objects too when it is asked. 0, or -errno: bpf(2) is not allowed here. */
static int judge_open(bool kernel)
{
	union bpf_attr hash = {.map_type = judge_hash.type,
			       .key_size = judge_hash.key_size,
			       .value_size = VALUE_SIZE,
			       .max_entries = 1},
		       ring = {.map_type = judge_ring.type, .max_entries = judge_ring.max_entries},
		       btf = {.btf = (u64)(uintptr_t)&function_types,
			      .btf_size = sizeof(function_types)};

	map_fd = kernel ? judge_bpf(BPF_MAP_CREATE, &hash) : 3;
	ring_fd = kernel ? judge_bpf(BPF_MAP_CREATE, &ring) : 4;
	judge_btf_fd = kernel ? judge_bpf(BPF_BTF_LOAD, &btf) : -1;
	if (map_fd < 0 || ring_fd < 0 || (kernel && judge_btf_fd < 0))
		return -EPERM;
	return btf_parse_raw(&function_types, sizeof(function_types), NULL, &judge_types);
}

/* log may be NULL. */
static int judge_by_kernel(char *log, u32 log_size)
{
	union bpf_attr attr = {
		.prog_type = program_type(),
		.insns = (u64)(uintptr_t)program,
		.insn_cnt = length,
		.license = (u64)(uintptr_t) "GPL",
		.prog_btf_fd = (u32)judge_btf_fd,
		.func_info = (u64)(uintptr_t)functions,
		.func_info_cnt = function_cnt,
		.func_info_rec_size = sizeof(*functions),
		.log_level = log ? 2 : 0,
		.log_buf = (u64)(uintptr_t)log,
		.log_size = log_size,
	};
	int fd = judge_bpf(BPF_PROG_LOAD, &attr);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* The caller frees the log (verify_log_free). */
static int judge_here(u32 level, struct verify_log *log)
{
	struct bpf_insn copy[MAX_INSNS];
	struct verify_result result;
	struct verify_request request = {
		.insns = copy,
		.insn_cnt = length,
		.prog_type = program_type(),
		.gpl = true,
		.privileged = true,
		.btf = judge_types,
		.func_info = functions,
		.func_info_cnt = function_cnt,
		.func_info_rec = sizeof(*functions),
		.log_level = level,
		.max_insns = MAX_WALKED,
	};

	memcpy(copy, program, sizeof(copy));
	memset(log, 0, sizeof(*log));
	return verify_program(&request, &judge_host, log, &result);
}

static int judge_here_quietly(void)
{
	struct verify_log log;
	int verdict = judge_here(0, &log);

	verify_log_free(&log);
	return verdict;
}

static void judge_seed(u64 start)
{
	seed = start * 0x9e3779b97f4a7c15ull + 1;
	generate();
}

#endif
