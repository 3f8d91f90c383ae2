/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contexts of program types. A row says where a field lies, which accesses it admits and what a read of it gives. Offsets
 * are those of linux/bpf.h; pt_regs is that of x86-64 (the kernel's struct of 168 bytes).
 */
#include "verify/ctx.h"

#include "verify/log.h"
#include "verify/state.h"

#define R	   CTX_READ
#define RW	   (CTX_READ | CTX_WRITE)
#define SKB(field) offsetof(struct __sk_buff, field)
#define SKB_WORD(field, access)                                                                    \
	{                                                                                          \
		SKB(field), SKB(field) + 4, 4, CTX_NARROW, access, 0, 0                            \
	}
#define SKB_POINTER(field, type)                                                                   \
	{                                                                                          \
		SKB(field), SKB(field) + 4, 4, CTX_WHOLE, R, type, 0                               \
	}
#define SKB_CB                                                                                     \
	{                                                                                          \
		SKB(cb), SKB(cb) + 20, 8, CTX_ANY, RW, 0, 0                                        \
	}
#define SKB_SK                                                                                     \
	{                                                                                          \
		SKB(sk), SKB(sk) + 8, 8, CTX_WHOLE, R, PTR_SOCK_COMMON, 0                          \
	}
#define SKB_TSTAMP(access)                                                                         \
	{                                                                                          \
		SKB(tstamp), SKB(tstamp) + 8, 8, CTX_WHOLE, access, 0, 0                           \
	}
#define SKB_HWTSTAMP                                                                               \
	{                                                                                          \
		SKB(hwtstamp), SKB(hwtstamp) + 8, 8, CTX_WHOLE, R, 0, 0                            \
	}
#define SKB_ADDRESSES                                                                              \
	SKB_WORD(family, R), {SKB(remote_ip4), SKB(remote_port), 4, CTX_WHOLE, R, 0, 0},           \
		SKB_WORD(remote_port, R), SKB_WORD(local_port, R)
/* Fields that every reader of an sk_buff sees, and no one writes. */
#define SKB_COMMON                                                                                 \
	SKB_WORD(len, R), SKB_WORD(pkt_type, R), SKB_WORD(protocol, R), SKB_WORD(vlan_present, R), \
		SKB_WORD(vlan_tci, R), SKB_WORD(vlan_proto, R), SKB_WORD(ingress_ifindex, R),      \
		SKB_WORD(ifindex, R), SKB_WORD(hash, R), SKB_WORD(napi_id, R),                     \
		SKB_WORD(gso_segs, R), SKB_WORD(gso_size, R), SKB_SK

static const struct ctx_field socket_filter_fields[] = {
	SKB_COMMON,
	SKB_CB,
	SKB_WORD(queue_mapping, R),
	SKB_WORD(mark, R),
	SKB_WORD(priority, R),
	SKB_WORD(tc_index, R),
};

static const struct ctx_field cls_fields[] = {
	SKB_COMMON,
	SKB_CB,
	SKB_TSTAMP(RW),
	SKB_HWTSTAMP,
	SKB_WORD(queue_mapping, RW),
	SKB_WORD(mark, RW),
	SKB_WORD(priority, RW),
	SKB_WORD(tc_index, RW),
	SKB_WORD(tc_classid, RW),
	SKB_WORD(wire_len, R),
	SKB_POINTER(data, PTR_PACKET),
	SKB_POINTER(data_end, PTR_PACKET_END),
	SKB_POINTER(data_meta, PTR_PACKET_META),
	{SKB(tstamp) + 8 + 20, SKB(tstamp) + 8 + 21, 1, CTX_WHOLE, R, 0, 0}, /* tstamp_type */
};

static const struct ctx_field cgroup_skb_fields[] = {
	SKB_COMMON,
	SKB_CB,
	SKB_ADDRESSES,
	SKB_TSTAMP(RW),
	SKB_HWTSTAMP,
	SKB_WORD(queue_mapping, R),
	SKB_WORD(mark, RW),
	SKB_WORD(priority, RW),
	SKB_WORD(tc_index, R),
	SKB_POINTER(data, PTR_PACKET),
	SKB_POINTER(data_end, PTR_PACKET_END),
};

static const struct ctx_field lwt_fields[] = {
	SKB_COMMON,
	SKB_CB,
	SKB_WORD(queue_mapping, R),
	SKB_WORD(mark, RW),
	SKB_WORD(priority, RW),
	SKB_WORD(tc_index, R),
	SKB_POINTER(data, PTR_PACKET),
	SKB_POINTER(data_end, PTR_PACKET_END),
};

static const struct ctx_field sk_skb_fields[] = {
	SKB_COMMON,
	{SKB(cb), SKB(cb) + 20, 8, CTX_ANY, R, 0, 0},
	SKB_ADDRESSES,
	SKB_WORD(queue_mapping, R),
	SKB_WORD(priority, RW),
	SKB_WORD(tc_index, RW),
	SKB_POINTER(data, PTR_PACKET),
	SKB_POINTER(data_end, PTR_PACKET_END),
};

static const struct ctx_field xdp_fields[] = {
	{0, 4, 4, CTX_WHOLE, R, PTR_PACKET, 0},
	{4, 8, 4, CTX_WHOLE, R, PTR_PACKET_END, 0},
	{8, 12, 4, CTX_WHOLE, R, PTR_PACKET_META, 0},
	{12, 20, 4, CTX_WHOLE, R, 0, 0},
};

static const struct ctx_field pt_regs_fields[] = {{0, 168, 8, CTX_ANY, R, 0, 0}};
static const struct ctx_field tracepoint_fields[] = {{8, 8192, 8, CTX_ANY, R, 0, 0}};
static const struct ctx_field raw_tracepoint_fields[] = {{0, 96, 8, CTX_ANY, R, 0, 0}};
/* Twelve words of arguments, and a result; the result only of a function whose type is known. */
#define TRACING_UNTYPED 96
static const struct ctx_field tracing_fields[] = {{0, 104, 8, CTX_ANY, R, 0, 0}};
static const struct ctx_field raw_tracepoint_writable_fields[] = {
	{0, 8, 8, CTX_WHOLE, R, PTR_TP_BUFFER, 0},
	{8, 96, 8, CTX_ANY, R, 0, 0},
};

static const struct ctx_field perf_event_fields[] = {
	{0, 168, 8, CTX_WHOLE, R, 0, 0},
	{168, 184, 8, CTX_NARROW, R, 0, 0},
};

#define SK(field)  offsetof(struct bpf_sock, field)
#define ON_SOCK	   (ON(BPF_CGROUP_INET_SOCK_CREATE) | ON(BPF_CGROUP_INET_SOCK_RELEASE))
#define ON(attach) (1ull << (attach))
static const struct ctx_field cgroup_sock_fields[] = {
	{SK(bound_dev_if), SK(bound_dev_if) + 4, 4, CTX_WHOLE, RW, 0, ON_SOCK},
	{SK(mark), SK(priority) + 4, 4, CTX_WHOLE, RW, 0, ON_SOCK},
	{SK(family), SK(protocol) + 4, 4, CTX_NARROW, R, 0, 0},
	{SK(src_ip4), SK(src_ip4) + 4, 4, CTX_NARROW, R, 0, ON(BPF_CGROUP_INET4_POST_BIND)},
	{SK(src_ip6), SK(src_ip6) + 16, 4, CTX_NARROW, R, 0, ON(BPF_CGROUP_INET6_POST_BIND)},
	{SK(src_port), SK(src_port) + 4, 4, CTX_WHOLE, R, 0,
	 ON(BPF_CGROUP_INET4_POST_BIND) | ON(BPF_CGROUP_INET6_POST_BIND)},
	{SK(dst_port), SK(dst_port) + 2, 2, CTX_NARROW, R, 0, 0},
	{SK(dst_ip4), SK(dst_ip6) + 16, 4, CTX_NARROW, R, 0, 0},
	{SK(state), SK(rx_queue_mapping) + 4, 4, CTX_NARROW, R, 0, 0},
};

static const struct ctx_field sock_fields[] = {
	{SK(family), SK(protocol) + 4, 4, CTX_NARROW, R, 0, 0},
	{SK(bound_dev_if), SK(bound_dev_if) + 4, 4, CTX_WHOLE, R, 0, 0},
	{SK(mark), SK(priority) + 4, 4, CTX_WHOLE, R, 0, 0},
	{SK(src_ip4), SK(src_port) + 4, 4, CTX_NARROW, R, 0, 0},
	{SK(dst_port), SK(dst_port) + 4, 4, CTX_WHOLE, R, 0, 0},
	{SK(dst_port), SK(dst_port) + 2, 2, CTX_NARROW, R, 0, 0},
	{SK(dst_ip4), SK(rx_queue_mapping) + 4, 4, CTX_NARROW, R, 0, 0},
};
static const struct ctx_field sock_common_fields[] = {
	{SK(bound_dev_if), SK(bound_dev_if) + 4, 4, CTX_WHOLE, R, 0, 0},
	{SK(family), SK(family) + 4, 4, CTX_NARROW, R, 0, 0},
	{SK(src_ip4), SK(src_port) + 4, 4, CTX_NARROW, R, 0, 0},
	{SK(dst_port), SK(dst_port) + 4, 4, CTX_WHOLE, R, 0, 0},
	{SK(dst_port), SK(dst_port) + 2, 2, CTX_NARROW, R, 0, 0},
	{SK(dst_ip4), SK(rx_queue_mapping) + 4, 4, CTX_NARROW, R, 0, 0},
};
#define TCP(field) offsetof(struct bpf_tcp_sock, field)
static const struct ctx_field tcp_sock_fields[] = {
	{TCP(snd_cwnd), TCP(bytes_received), 4, CTX_WHOLE, R, 0, 0},
	{TCP(bytes_received), TCP(bytes_acked) + 8, 8, CTX_WHOLE, R, 0, 0},
	{TCP(dsack_dups), sizeof(struct bpf_tcp_sock), 4, CTX_WHOLE, R, 0, 0},
};
static const struct ctx_field xdp_sock_fields[] = {{0, 4, 4, CTX_WHOLE, R, 0, 0}};

#define MSG(field) offsetof(struct sk_msg_md, field)
static const struct ctx_field sk_msg_fields[] = {
	{MSG(data), MSG(data) + 8, 8, CTX_WHOLE, R, PTR_PACKET, 0},
	{MSG(data_end), MSG(data_end) + 8, 8, CTX_WHOLE, R, PTR_PACKET_END, 0},
	{MSG(family), MSG(size) + 4, 4, CTX_WHOLE, R, 0, 0},
	{MSG(sk), MSG(sk) + 8, 8, CTX_WHOLE, R, PTR_SOCK, 0},
};

#define OPS(field) offsetof(struct bpf_sock_ops, field)
static const struct ctx_field sock_ops_fields[] = {
	{OPS(op), OPS(op) + 4, 4, CTX_WHOLE, R, 0, 0},
	{OPS(reply), OPS(replylong) + 16, 4, CTX_WHOLE, RW, 0, 0},
	{OPS(family), OPS(sk_txhash), 4, CTX_WHOLE, R, 0, 0},
	{OPS(sk_txhash), OPS(sk_txhash) + 4, 4, CTX_WHOLE, RW, 0, 0},
	{OPS(bytes_received), OPS(bytes_acked) + 8, 8, CTX_WHOLE, R, 0, 0},
	{OPS(sk), OPS(sk) + 8, 8, CTX_WHOLE, R, PTR_SOCK, 0},
};

#define ADDR(field) offsetof(struct bpf_sock_addr, field)
#define ON_IP4                                                                                     \
	(ON(BPF_CGROUP_INET4_BIND) | ON(BPF_CGROUP_INET4_CONNECT) | ON(BPF_CGROUP_UDP4_SENDMSG))
#define ON_IP6                                                                                     \
	(ON(BPF_CGROUP_INET6_BIND) | ON(BPF_CGROUP_INET6_CONNECT) | ON(BPF_CGROUP_UDP6_SENDMSG))
static const struct ctx_field sock_addr_fields[] = {
	{ADDR(user_family), ADDR(user_family) + 4, 4, CTX_NARROW, R, 0, 0},
	{ADDR(user_ip4), ADDR(user_ip4) + 4, 4, CTX_NARROW, RW, 0, ON_IP4},
	{ADDR(user_ip6), ADDR(user_ip6) + 16, 8, CTX_ANY, RW, 0, ON_IP6},
	{ADDR(user_port), ADDR(user_port) + 4, 4, CTX_NARROW, RW, 0, 0},
	{ADDR(family), ADDR(protocol) + 4, 4, CTX_NARROW, R, 0, 0},
	{ADDR(msg_src_ip4), ADDR(msg_src_ip4) + 4, 4, CTX_NARROW, RW, 0,
	 ON(BPF_CGROUP_UDP4_SENDMSG)},
	{ADDR(msg_src_ip6), ADDR(msg_src_ip6) + 16, 8, CTX_ANY, RW, 0, ON(BPF_CGROUP_UDP6_SENDMSG)},
	{ADDR(sk), ADDR(sk) + 8, 8, CTX_WHOLE, R, PTR_SOCK, 0},
};

#define LOOK(field) offsetof(struct bpf_sk_lookup, field)
static const struct ctx_field sk_lookup_fields[] = {
	{LOOK(sk), LOOK(sk) + 8, 8, CTX_WHOLE, R, PTR_SOCK, 0},
	{LOOK(family), LOOK(remote_port), 4, CTX_NARROW, R, 0, 0},
	{LOOK(remote_port), LOOK(remote_port) + 4, 4, CTX_NARROW, R, 0, 0},
	{LOOK(local_ip4), LOOK(ingress_ifindex) + 4, 4, CTX_NARROW, R, 0, 0},
};

static const struct ctx_field cgroup_device_fields[] = {{0, 12, 4, CTX_NARROW, R, 0, 0}};
static const struct ctx_field sysctl_fields[] = {
	{0, 4, 4, CTX_NARROW, R, 0, 0},
	{4, 8, 4, CTX_ANY, RW, 0, 0},
};

#define OPT(field) offsetof(struct bpf_sockopt, field)
static const struct ctx_field sockopt_fields[] = {
	{OPT(sk), OPT(sk) + 8, 8, CTX_WHOLE, R, PTR_SOCK, 0},
	{OPT(optval), OPT(optval) + 8, 8, CTX_WHOLE, R, PTR_PACKET, 0},
	{OPT(optval_end), OPT(optval_end) + 8, 8, CTX_WHOLE, R, PTR_PACKET_END, 0},
	{OPT(level), OPT(retval) + 4, 4, CTX_WHOLE, RW, 0, 0},
};

#define PORT(field) offsetof(struct sk_reuseport_md, field)
static const struct ctx_field reuseport_fields[] = {
	{PORT(data), PORT(data) + 8, 8, CTX_WHOLE, R, PTR_PACKET, 0},
	{PORT(data_end), PORT(data_end) + 8, 8, CTX_WHOLE, R, PTR_PACKET_END, 0},
	{PORT(len), PORT(hash) + 4, 4, CTX_NARROW, R, 0, 0},
};

#define RULES(type, bytes, table, read, write, abs)                                                \
	{                                                                                          \
		BPF_PROG_TYPE_##type, bytes, table, ARRAY_SIZE(table), read, write, abs            \
	}
static const struct ctx_rules rules[] = {
	RULES(SOCKET_FILTER, sizeof(struct __sk_buff), socket_filter_fields, false, false, true),
	RULES(SCHED_CLS, sizeof(struct __sk_buff), cls_fields, true, true, true),
	RULES(SCHED_ACT, sizeof(struct __sk_buff), cls_fields, true, true, true),
	RULES(CGROUP_SKB, sizeof(struct __sk_buff), cgroup_skb_fields, true, false, false),
	RULES(LWT_IN, sizeof(struct __sk_buff), lwt_fields, true, false, false),
	RULES(LWT_OUT, sizeof(struct __sk_buff), lwt_fields, true, false, false),
	RULES(LWT_XMIT, sizeof(struct __sk_buff), lwt_fields, true, true, false),
	RULES(SK_SKB, sizeof(struct __sk_buff), sk_skb_fields, true, true, false),
	RULES(XDP, sizeof(struct xdp_md), xdp_fields, true, true, false),
	RULES(KPROBE, 168, pt_regs_fields, false, false, false),
	RULES(TRACEPOINT, 8192, tracepoint_fields, false, false, false),
	RULES(RAW_TRACEPOINT, 96, raw_tracepoint_fields, false, false, false),
	RULES(RAW_TRACEPOINT_WRITABLE, 96, raw_tracepoint_writable_fields, false, false, false),
	RULES(PERF_EVENT, 184, perf_event_fields, false, false, false),
	RULES(TRACING, 104, tracing_fields, false, false, false),
	RULES(CGROUP_SOCK, sizeof(struct bpf_sock), cgroup_sock_fields, false, false, false),
	RULES(SK_MSG, sizeof(struct sk_msg_md), sk_msg_fields, true, true, false),
	RULES(SOCK_OPS, sizeof(struct bpf_sock_ops), sock_ops_fields, false, false, false),
	RULES(CGROUP_SOCK_ADDR, sizeof(struct bpf_sock_addr), sock_addr_fields, false, false,
	      false),
	RULES(SK_LOOKUP, sizeof(struct bpf_sk_lookup), sk_lookup_fields, false, false, false),
	RULES(CGROUP_DEVICE, 12, cgroup_device_fields, false, false, false),
	RULES(CGROUP_SYSCTL, 8, sysctl_fields, false, false, false),
	RULES(CGROUP_SOCKOPT, sizeof(struct bpf_sockopt), sockopt_fields, true, true, false),
	RULES(SK_REUSEPORT, sizeof(struct sk_reuseport_md), reuseport_fields, true, false, false),
};

const struct ctx_rules *ctx_rules_of(u32 prog_type)
{
	for (u32 i = 0; i < ARRAY_SIZE(rules); i++) {
		if (rules[i].prog_type == prog_type)
			return &rules[i];
	}
	return NULL;
}

static bool covers(const struct ctx_field *field, s64 off, u32 size, bool write)
{
	if (off < field->off || off + size > field->end || off % size)
		return false;
	if (!(field->access & (write ? CTX_WRITE : CTX_READ)))
		return false;
	switch (field->width) {
	case CTX_WHOLE:
		return size == field->size;
	case CTX_NARROW:
		return write ? size == field->size : size <= field->size;
	case CTX_ANY:
		return size <= field->size;
	}
	return false;
}

static const struct ctx_field *find_field(struct verifier *env, s64 off, u32 size, bool write)
{
	u32 attach = env->request->attach_type;

	if (env->request->prog_type == BPF_PROG_TYPE_TRACING &&
	    off + (s64)size > (env->request->typed_ctx ? env->request->ctx_size : TRACING_UNTYPED))
		return NULL;
	/* Clients from before there were attach types give none. */
	if (env->request->prog_type == BPF_PROG_TYPE_CGROUP_SOCK && !attach)
		attach = BPF_CGROUP_INET_SOCK_CREATE;

	for (u32 i = 0; i < env->ctx->field_cnt; i++) {
		const struct ctx_field *field = &env->ctx->fields[i];

		if (field->attach_mask && (attach >= 64 || !(field->attach_mask & 1ull << attach)))
			continue;
		if (covers(field, off, size, write))
			return field;
	}
	return NULL;
}

static u8 packet_kind(u8 type)
{
	return type == PTR_PACKET	? CTX_PACKET + 1
	       : type == PTR_PACKET_END ? CTX_PACKET_END + 1
					: CTX_PACKET_META + 1;
}

int ctx_access(struct verifier *env, s64 off, u32 size, bool write, struct reg *ret_reg)
{
	const struct ctx_field *field = find_field(env, off, size, write);

	if (!field)
		return verify_reject(env, WHY_CTX, -1, -EACCES,
				     "invalid bpf_context access off=%lld size=%u", (long long)off,
				     size);
	for (s64 word = off / 8; word <= (off + size - 1) / 8; word++)
		env->result->ctx_words |= word < 32 ? 1u << word : ~0u;
	if (write)
		return 0;
	if (!field->gives) {
		reg_set_unknown(ret_reg);
		return 0;
	}
	reg_set_pointer(ret_reg, field->gives);
	if (reg_is_packet(ret_reg) || ret_reg->type == PTR_PACKET_END)
		env->facts[env->insn].access_kind = packet_kind(field->gives);
	if (reg_is_socket(ret_reg) && env->ctx->prog_type != BPF_PROG_TYPE_SOCK_OPS &&
	    env->ctx->prog_type != BPF_PROG_TYPE_SK_MSG) {
		ret_reg->maybe_null = env->ctx->prog_type != BPF_PROG_TYPE_CGROUP_SOCK_ADDR &&
				      env->ctx->prog_type != BPF_PROG_TYPE_CGROUP_SOCKOPT;
		ret_reg->id = ret_reg->maybe_null ? ++env->next_id : 0;
	} else if (env->ctx->prog_type == BPF_PROG_TYPE_SOCK_OPS && reg_is_socket(ret_reg)) {
		ret_reg->maybe_null = true;
		ret_reg->id = ++env->next_id;
	}
	return 0;
}

#define SOCKET(table)                                                                              \
	{                                                                                          \
		table, ARRAY_SIZE(table)                                                           \
	}
bool ctx_socket_covers(u8 type, s64 off, u32 size)
{
	static const struct {
		const struct ctx_field *fields;
		u32 cnt;
	} tables[REG_TYPE_MAX] = {
		[PTR_SOCK] = SOCKET(sock_fields),
		[PTR_SOCK_COMMON] = SOCKET(sock_common_fields),
		[PTR_TCP_SOCK] = SOCKET(tcp_sock_fields),
		[PTR_XDP_SOCK] = SOCKET(xdp_sock_fields),
	};

	for (u32 i = 0; i < tables[type].cnt; i++) {
		if (covers(&tables[type].fields[i], off, size, false))
			return true;
	}
	return false;
}
