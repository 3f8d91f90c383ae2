/* SPDX-License-Identifier: BSD-2-Clause */
/* The table behind helpers.h. */
#include "helpers/helpers.h"

#include <errno.h>

#include "helpers/call.h"
#include "helpers/task.h"
#include "helpers/vdso.h"

/* Who may call a helper: sets of program types. */
#define TYPE(name) (1ull << BPF_PROG_TYPE_##name)
#define SKB                                                                                        \
	(TYPE(SOCKET_FILTER) | TYPE(SCHED_CLS) | TYPE(SCHED_ACT) | TYPE(CGROUP_SKB) |              \
	 TYPE(LWT_IN) | TYPE(LWT_OUT) | TYPE(LWT_XMIT) | TYPE(LWT_SEG6LOCAL) | TYPE(SK_SKB))
#define ALL (~0ull)
#define XDP TYPE(XDP)
#define TRACING                                                                                    \
	(TYPE(KPROBE) | TYPE(TRACEPOINT) | TYPE(PERF_EVENT) | TYPE(RAW_TRACEPOINT) |               \
	 TYPE(RAW_TRACEPOINT_WRITABLE) | TYPE(TRACING) | TYPE(LSM))
#define NETWORKING                                                                                 \
	(SKB | TYPE(XDP) | TYPE(SOCK_OPS) | TYPE(SK_MSG) | TYPE(FLOW_DISSECTOR) |                  \
	 TYPE(SK_LOOKUP) | TYPE(SK_REUSEPORT) | TYPE(CGROUP_SOCK) | TYPE(CGROUP_SOCK_ADDR))
#define PACKET                                                                                     \
	(TYPE(SCHED_CLS) | TYPE(SCHED_ACT) | TYPE(XDP) | TYPE(LWT_IN) | TYPE(LWT_OUT) |            \
	 TYPE(LWT_XMIT) | TYPE(LWT_SEG6LOCAL))
#define CLS	     (TYPE(SCHED_CLS) | TYPE(SCHED_ACT))
#define SKB_OUT	     (CLS | TYPE(LWT_XMIT))
#define SOCKETS	     (CLS | TYPE(XDP) | TYPE(CGROUP_SKB) | TYPE(SK_SKB) | TYPE(CGROUP_SOCK_ADDR))
#define SOCKET_CASTS (NETWORKING & ~(TYPE(SK_REUSEPORT) | TYPE(CGROUP_SOCK)))

static u64 absent_number(HELPER_REST r1, HELPER_REST r2, HELPER_REST r3, HELPER_REST r4,
			 HELPER_REST r5)
{
	return helper_result(-EOPNOTSUPP);
}

static u64 absent_pointer(HELPER_REST r1, HELPER_REST r2, HELPER_REST r3, HELPER_REST r4,
			  HELPER_REST r5)
{
	return 0;
}

struct helper_row {
	struct helper_proto proto;
	u64 callers;
	exec_helper_fn function;
};

#define ARGS(...) __VA_ARGS__
#define HELPER(number, call, result, args_, flags_, callers_)                                      \
	[number] = {                                                                               \
		.proto = {.id = number,                                                            \
			  .name = "bpf_" #call,                                                    \
			  .ret = result,                                                           \
			  .args = {args_},                                                         \
			  .flags = flags_},                                                        \
		.callers = callers_,                                                               \
		.function = helper_##call,                                                         \
	},

#define HELPER_ABSENT(number, call, result, args_, flags_, callers_)                               \
	[number] = {                                                                               \
		.proto = {.id = number,                                                            \
			  .name = "bpf_" #call,                                                    \
			  .ret = result,                                                           \
			  .args = {args_},                                                         \
			  .flags = flags_},                                                        \
		.callers = callers_,                                                               \
		.function = (result) == RET_INTEGER ? absent_number : absent_pointer,              \
	},

static const struct helper_row rows[] = {
#include "helpers/absent.def"
#include "helpers/helpers.def"
};

static const struct helper_row *find_row(u32 id)
{
	return id < ARRAY_SIZE(rows) && rows[id].proto.name ? &rows[id] : NULL;
}

const struct helper_proto *helper_proto(u32 id)
{
	const struct helper_row *row = find_row(id);

	return row ? &row->proto : NULL;
}

bool helper_allowed(u32 id, u32 prog_type, u32 attach_type)
{
	const struct helper_row *row = find_row(id);

	(void)attach_type;
	return row && prog_type < 64 && (row->callers >> prog_type & 1);
}

exec_helper_fn helper_address(u32 id)
{
	const struct helper_row *row = find_row(id);

	/* Whoever asks for addresses is about to make a program runnable: the last moment before a hit. */
	vdso_init();
	task_init();
	return row ? row->function : NULL;
}

u32 helper_clobbers(u32 id)
{
	(void)id;
	return ~0u;
}
