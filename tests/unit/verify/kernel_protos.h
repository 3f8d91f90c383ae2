/* SPDX-License-Identifier: BSD-2-Clause */
/* Helper prototypes of the kernel, as far as the corpus calls them: the fake host's table. */
#ifndef INLAY_TESTS_UNIT_VERIFY_KERNEL_PROTOS_H
#define INLAY_TESTS_UNIT_VERIFY_KERNEL_PROTOS_H

#include <linux/bpf.h>

#include "verify/proto.h"

struct kernel_proto {
	struct helper_proto proto;
	unsigned long long types; /* bit = program type */
};

#define T(type) (1ull << BPF_PROG_TYPE_##type)
#define ALL	(~0ull)
#define SKB                                                                                        \
	(T(SOCKET_FILTER) | T(SCHED_CLS) | T(SCHED_ACT) | T(CGROUP_SKB) | T(LWT_IN) | T(LWT_OUT) | \
	 T(LWT_XMIT) | T(SK_SKB))
#define CLS (T(SCHED_CLS) | T(SCHED_ACT))
#define TRACE                                                                                      \
	(T(KPROBE) | T(TRACEPOINT) | T(PERF_EVENT) | T(RAW_TRACEPOINT) |                           \
	 T(RAW_TRACEPOINT_WRITABLE) | T(TRACING) | T(LSM))
#define NET	(ALL & ~TRACE)
#define SOCKETS (CLS | T(XDP) | T(SK_SKB) | T(CGROUP_SOCK_ADDR) | T(CGROUP_SKB) | T(SOCK_OPS))
#define PKT	PROTO_PACKET_ACCESS
#define P(id, name, ret, flags, types, ...)                                                        \
	{                                                                                          \
		{id, "bpf_" #name, ret, {__VA_ARGS__}, flags}, types                               \
	}
#define MAP    ARG_CONST_MAP_PTR
#define ANY    ARG_ANYTHING
#define CTX    ARG_PTR_TO_CTX
#define MEM    ARG_PTR_TO_MEM
#define UNINIT ARG_PTR_TO_UNINIT_MEM
#define SIZE   ARG_CONST_SIZE
#define SIZE0  ARG_CONST_SIZE_OR_ZERO
#define SKC    ARG_PTR_TO_BTF_ID_SOCK_COMMON

static const struct kernel_proto kernel_protos[] = {
	P(1, map_lookup_elem, RET_PTR_TO_MAP_VALUE_OR_NULL, PKT, ALL, MAP, ARG_PTR_TO_MAP_KEY),
	P(2, map_update_elem, RET_INTEGER, PKT, ALL, MAP, ARG_PTR_TO_MAP_KEY, ARG_PTR_TO_MAP_VALUE,
	  ANY),
	P(3, map_delete_elem, RET_INTEGER, PKT, ALL, MAP, ARG_PTR_TO_MAP_KEY),
	P(4, probe_read, RET_INTEGER, PROTO_GPL_ONLY, TRACE, UNINIT, SIZE0, ANY),
	P(5, ktime_get_ns, RET_INTEGER, 0, ALL, ARG_NONE),
	P(6, trace_printk, RET_INTEGER, PROTO_GPL_ONLY, ALL, MEM, SIZE),
	P(7, get_prandom_u32, RET_INTEGER, 0, ALL, ARG_NONE),
	P(8, get_smp_processor_id, RET_INTEGER, 0, ALL, ARG_NONE),
	P(9, skb_store_bytes, RET_INTEGER, PROTO_CHANGES_PACKET, CLS | T(LWT_XMIT) | T(SK_SKB), CTX,
	  ANY, MEM, SIZE, ANY),
	P(10, l3_csum_replace, RET_INTEGER, PROTO_CHANGES_PACKET, CLS, CTX, ANY, ANY, ANY, ANY),
	P(11, l4_csum_replace, RET_INTEGER, PROTO_CHANGES_PACKET, CLS, CTX, ANY, ANY, ANY, ANY),
	P(12, tail_call, RET_VOID, 0, ALL, CTX, MAP, ANY),
	P(14, get_current_pid_tgid, RET_INTEGER, 0, ALL, ARG_NONE),
	P(16, get_current_comm, RET_INTEGER, 0, ALL, UNINIT, SIZE),
	P(17, get_cgroup_classid, RET_INTEGER, 0, CLS, CTX),
	P(18, skb_vlan_push, RET_INTEGER, PROTO_CHANGES_PACKET, CLS, CTX, ANY, ANY),
	P(19, skb_vlan_pop, RET_INTEGER, PROTO_CHANGES_PACKET, CLS, CTX),
	P(25, perf_event_output, RET_INTEGER, PROTO_GPL_ONLY, ALL, CTX, MAP, ANY, MEM, SIZE0),
	P(26, skb_load_bytes, RET_INTEGER, 0, SKB, CTX, ANY, UNINIT, SIZE),
	P(27, get_stackid, RET_INTEGER, PROTO_GPL_ONLY, TRACE, CTX, MAP, ANY),
	P(28, csum_diff, RET_INTEGER, PKT, ALL, ARG_PTR_TO_MEM_OR_NULL, SIZE0,
	  ARG_PTR_TO_MEM_OR_NULL, SIZE0, ANY),
	P(34, get_hash_recalc, RET_INTEGER, 0, CLS, CTX),
	P(40, csum_update, RET_INTEGER, 0, CLS, CTX, ANY),
	P(43, skb_change_head, RET_INTEGER, PROTO_CHANGES_PACKET, CLS | T(LWT_XMIT) | T(SK_SKB),
	  CTX, ANY, ANY),
	P(44, xdp_adjust_head, RET_INTEGER, PROTO_CHANGES_PACKET, T(XDP), CTX, ANY),
	P(46, get_socket_cookie, RET_INTEGER, 0, SKB | T(CGROUP_SOCK_ADDR) | T(CGROUP_SOCK), CTX),
	P(51, redirect_map, RET_INTEGER, 0, T(XDP), MAP, ANY, ANY),
	P(54, xdp_adjust_meta, RET_INTEGER, PROTO_CHANGES_PACKET, T(XDP), CTX, ANY),
	P(67, get_stack, RET_INTEGER, PROTO_GPL_ONLY, TRACE, CTX, UNINIT, SIZE0, ANY),
	P(57, getsockopt, RET_INTEGER, 0, ALL, CTX, ANY, ANY, UNINIT, SIZE),
	P(69, fib_lookup, RET_INTEGER, PROTO_GPL_ONLY, CLS | T(XDP), CTX, MEM, SIZE, ANY),
	P(81, get_local_storage, RET_PTR_TO_MAP_VALUE, 0, ALL & ~TRACE, MAP, ANY),
	P(82, sk_select_reuseport, RET_INTEGER, 0, T(SK_REUSEPORT), CTX, MAP, ARG_PTR_TO_MAP_KEY,
	  ANY),
	P(84, sk_lookup_tcp, RET_PTR_TO_SOCKET_OR_NULL, PROTO_ACQUIRES | PKT, SOCKETS, CTX, MEM,
	  SIZE, ANY, ANY),
	P(85, sk_lookup_udp, RET_PTR_TO_SOCKET_OR_NULL, PROTO_ACQUIRES | PKT, SOCKETS, CTX, MEM,
	  SIZE, ANY, ANY),
	P(86, sk_release, RET_INTEGER, PROTO_RELEASES, SOCKETS | T(SK_LOOKUP), SKC),
	P(93, spin_lock, RET_VOID, 0, ALL & ~(TRACE & ~T(TRACING)), ARG_PTR_TO_SPIN_LOCK),
	P(94, spin_unlock, RET_VOID, 0, ALL & ~(TRACE & ~T(TRACING)), ARG_PTR_TO_SPIN_LOCK),
	P(95, sk_fullsock, RET_PTR_TO_SOCKET_OR_NULL, PROTO_CASTS, CLS | T(CGROUP_SKB),
	  ARG_PTR_TO_SOCK_COMMON),
	P(96, tcp_sock, RET_PTR_TO_TCP_SOCK_OR_NULL, PROTO_CASTS, CLS | T(CGROUP_SKB),
	  ARG_PTR_TO_SOCK_COMMON),
	P(98, get_listener_sock, RET_PTR_TO_SOCKET_OR_NULL, 0, CLS | T(CGROUP_SKB),
	  ARG_PTR_TO_SOCK_COMMON),
	P(99, skc_lookup_tcp, RET_PTR_TO_SOCK_COMMON_OR_NULL, PROTO_ACQUIRES | PKT, SOCKETS, CTX,
	  MEM, SIZE, ANY, ANY),
	P(105, strtol, RET_INTEGER, 0, ALL, MEM, SIZE, ANY, ARG_PTR_TO_LONG),
	P(106, strtoul, RET_INTEGER, 0, ALL, MEM, SIZE, ANY, ARG_PTR_TO_LONG),
	P(107, sk_storage_get, RET_PTR_TO_MAP_VALUE_OR_NULL, 0, CLS | T(CGROUP_SKB), MAP, SKC,
	  ARG_PTR_TO_MAP_VALUE_OR_NULL, ANY),
	P(112, probe_read_user, RET_INTEGER, PROTO_GPL_ONLY, ALL, UNINIT, SIZE0, ANY),
	P(113, probe_read_kernel, RET_INTEGER, PROTO_GPL_ONLY, ALL, UNINIT, SIZE0, ANY),
	P(114, probe_read_user_str, RET_INTEGER, PROTO_GPL_ONLY, ALL, UNINIT, SIZE0, ANY),
	P(115, probe_read_kernel_str, RET_INTEGER, PROTO_GPL_ONLY, ALL, UNINIT, SIZE0, ANY),
	P(118, jiffies64, RET_INTEGER, 0, ALL, ARG_NONE),
	P(122, get_netns_cookie, RET_INTEGER, 0, NET, ARG_PTR_TO_CTX_OR_NULL),
	P(130, ringbuf_output, RET_INTEGER, 0, ALL, MAP, MEM, SIZE0, ANY),
	P(131, ringbuf_reserve, RET_PTR_TO_ALLOC_MEM_OR_NULL, PROTO_ACQUIRES, ALL, MAP,
	  ARG_CONST_ALLOC_SIZE_OR_ZERO, ANY),
	P(132, ringbuf_submit, RET_VOID, PROTO_RELEASES, ALL, ARG_PTR_TO_ALLOC_MEM, ANY),
	P(133, ringbuf_discard, RET_VOID, PROTO_RELEASES, ALL, ARG_PTR_TO_ALLOC_MEM, ANY),
	P(137, skc_to_tcp_sock, RET_PTR_TO_BTF_ID_OR_NULL, PROTO_CASTS, ALL, SKC),
	P(139, skc_to_tcp_request_sock, RET_PTR_TO_BTF_ID_OR_NULL, PROTO_CASTS, ALL, SKC),
	P(160, ktime_get_coarse_ns, RET_INTEGER, 0, NET, ARG_NONE),
	P(164, for_each_map_elem, RET_INTEGER, 0, ALL, MAP, ARG_PTR_TO_FUNC,
	  ARG_PTR_TO_STACK_OR_NULL, ANY),
	P(169, timer_init, RET_INTEGER, 0, ALL, ARG_PTR_TO_TIMER, MAP, ANY),
	P(181, loop, RET_INTEGER, 0, ALL, ANY, ARG_PTR_TO_FUNC, ARG_PTR_TO_STACK_OR_NULL, ANY),
	P(182, strncmp, RET_INTEGER, 0, ALL, MEM, SIZE, ARG_PTR_TO_CONST_STR),
};

static const struct kernel_proto *kernel_proto_row(u32 id)
{
	for (size_t i = 0; i < sizeof(kernel_protos) / sizeof(*kernel_protos); i++) {
		if (kernel_protos[i].proto.id == id)
			return &kernel_protos[i];
	}
	return NULL;
}

static const struct helper_proto *kernel_proto(u32 id)
{
	const struct kernel_proto *row = kernel_proto_row(id);

	return row ? &row->proto : NULL;
}

static bool kernel_proto_allowed(u32 id, u32 prog_type, u32 attach_type)
{
	(void)attach_type;
	return kernel_proto_row(id)->types >> prog_type & 1;
}

#endif
