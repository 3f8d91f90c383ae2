/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of helpers.def, compared with what the running kernel answers about the same numbers. */
#include "helpers/helpers.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/sys.h"
#include "test.h"

static const u32 types[] = {
	BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_KPROBE,	BPF_PROG_TYPE_SCHED_CLS,
	BPF_PROG_TYPE_TRACEPOINT,    BPF_PROG_TYPE_XDP,		BPF_PROG_TYPE_PERF_EVENT,
	BPF_PROG_TYPE_CGROUP_SKB,    BPF_PROG_TYPE_SCHED_ACT,	BPF_PROG_TYPE_RAW_TRACEPOINT,
	BPF_PROG_TYPE_LWT_IN,	     BPF_PROG_TYPE_SK_SKB,	BPF_PROG_TYPE_SK_MSG,
	BPF_PROG_TYPE_SOCK_OPS,	     BPF_PROG_TYPE_CGROUP_SOCK, BPF_PROG_TYPE_FLOW_DISSECTOR,

};

/* Asks the kernel itself, past any interposed syscall(), to load `call id; exit`. The log stays in log. */
static long kernel_load(u32 type, u32 id, const char *license, char *log, u32 log_size)
{
	struct bpf_insn insns[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = (s32)id},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {0};
	long fd;

	attr.prog_type = type;
	attr.insn_cnt = 2;
	attr.insns = ptr_to_u64(insns);
	attr.license = ptr_to_u64(license);
	attr.log_level = 2;
	attr.log_size = log_size;
	attr.log_buf = ptr_to_u64(log);
	log[0] = 0;
	fd = sys_call3(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		close((int)fd);
	return fd;
}

static bool kernel_speaks_bpf(void)
{
	char log[4096];

	kernel_load(BPF_PROG_TYPE_SOCKET_FILTER, 5000, "GPL", log, sizeof(log));
	return strstr(log, "invalid func") != NULL;
}

static bool denied(const char *log)
{
	return strstr(log, "unknown func") || strstr(log, "cannot use helper") ||
	       strstr(log, "invalid func");
}

static void callers_are_the_kernels(void)
{
	char log[4096];

	if (!kernel_speaks_bpf())
		SKIP("bpf(2) does not answer here (needs root and a kernel with BPF)");
	for (u32 id = 1; id < 220; id++) {
		for (size_t i = 0; helper_proto(id) && i < ARRAY_SIZE(types); i++) {
			kernel_load(types[i], id, "GPL", log, sizeof(log));
			if (helper_allowed(id, types[i], 0) == denied(log))
				printf("# %s, program type %u\n", helper_proto(id)->name, types[i]);
			CHECK_EQ(helper_allowed(id, types[i], 0), !denied(log));
		}
	}
}

static void names_are_the_kernels(void)
{
	char log[4096];
	char call[128];

	if (!kernel_speaks_bpf())
		SKIP("bpf(2) does not answer here (needs root and a kernel with BPF)");
	for (u32 id = 1; id < 220; id++) {
		const struct helper_proto *proto = helper_proto(id);

		if (!proto)
			continue;
		CHECK_EQ(proto->id, id);
		kernel_load(BPF_PROG_TYPE_KPROBE, id, "GPL", log, sizeof(log));
		snprintf(call, sizeof(call), "call %s#%u", proto->name, id);
		if (!strstr(log, "invalid func") && !strstr(log, call)) {
			printf("# %s: %s\n", call, log);
			FAIL("name");
		}
	}
}

static void gpl_flags_are_the_kernels(void)
{
	char log[4096];

	if (!kernel_speaks_bpf())
		SKIP("bpf(2) does not answer here (needs root and a kernel with BPF)");
	for (u32 id = 1; id < 220; id++) {
		const struct helper_proto *proto = helper_proto(id);
		u32 type = BPF_PROG_TYPE_KPROBE;

		if (!proto)
			continue;
		if (!helper_allowed(id, type, 0))
			type = BPF_PROG_TYPE_SCHED_CLS;
		kernel_load(type, id, "Proprietary", log, sizeof(log));
		if (!strstr(log, "GPL") == !!(proto->flags & PROTO_GPL_ONLY))
			printf("# %s\n", proto->name);
		CHECK_EQ(!!(proto->flags & PROTO_GPL_ONLY), strstr(log, "GPL") != NULL);
	}
}

static void absent_rows_answer_nothing(void)
{
	CHECK(!helper_proto(0));
	CHECK(!helper_proto(100000));
	CHECK(!helper_address(0));
	CHECK(!helper_allowed(0, BPF_PROG_TYPE_KPROBE, 0));
	CHECK(!helper_allowed(5, 64, 0));
	for (u32 id = 0; id < 256; id++)
		CHECK_EQ(!helper_proto(id), !helper_address(id));
}

int main(void)
{
	RUN(callers_are_the_kernels);
	RUN(names_are_the_kernels);
	RUN(gpl_flags_are_the_kernels);
	RUN(absent_rows_answer_nothing);
	return test_done();
}
