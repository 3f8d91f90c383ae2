/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BPF_PROG_TEST_RUN: programs run in this process on data of the client's. Limits and conversions are the kernel's, so that
 * a test gives the same answer on both.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "object/command.h"
#include "object/run.h"
#include "sync/percpu.h"

/* A page less what the kernel keeps before and behind the packet on 64-bit machines. */
#define PACKET_PAGE  4096u
#define SKB_HEADROOM 64u
#define SKB_TAILROOM 320u
#define XDP_HEADROOM 256u
#define LOOPBACK     1u
#define RAW_ARGS_MAX 12u

/* Room in front of and behind the packet, for helpers that move its ends. */
struct packet {
	char *memory;
	struct abi_packet_context *ctx;
	u32 size;
};

/* Copies out what the client has room for; -ENOSPC when that is not all. Without a buffer only the size is told. */
static int give_data(const struct command *command, const void *data, u32 size)
{
	const union bpf_attr *attr = &command->attr;
	u32 length = size;
	int error = 0;

	if (attr->test.data_size_out && length > attr->test.data_size_out) {
		length = attr->test.data_size_out;
		error = -ENOSPC;
	}
	if (attr->test.data_out && user_write(attr->test.data_out, data, length))
		return -EFAULT;
	if (COMMAND_RESULT(command, attr.test.data_size_out, size))
		return -EFAULT;
	return error;
}

static int give_context(const struct command *command, const void *ctx, u32 size)
{
	const union bpf_attr *attr = &command->attr;
	u32 length = size;
	int error = 0;

	if (!attr->test.ctx_out)
		return 0;
	if (attr->test.ctx_size_out < size) {
		length = attr->test.ctx_size_out;
		error = -ENOSPC;
	}
	if (user_write(attr->test.ctx_out, ctx, length) ||
	    COMMAND_RESULT(command, attr.test.ctx_size_out, size))
		return -EFAULT;
	return error;
}

static int give_verdict(const struct command *command, u32 value, u32 ns)
{
	if (COMMAND_RESULT(command, attr.test.retval, value) ||
	    COMMAND_RESULT(command, attr.test.duration, ns))
		return -EFAULT;
	return 0;
}

/* Reads the client's context, zero-extended; a longer one must end in zeros. */
static int read_context(const struct command *command, void *ctx, u32 size)
{
	u32 given = command->attr.test.ctx_size_in;
	u8 rest[512];

	if (!command->attr.test.ctx_in)
		return 0;
	if (given > size) {
		if (given - size > sizeof(rest))
			return -E2BIG;
		if (user_read(rest, command->attr.test.ctx_in + size, given - size))
			return -EFAULT;
		for (u32 i = 0; i < given - size; i++) {
			if (rest[i])
				return -E2BIG;
		}
	}
	return user_read(ctx, command->attr.test.ctx_in, MIN(given, size));
}

static void free_packet(struct packet *packet)
{
	free(packet->memory);
	run_free_context(packet->ctx);
}

static int read_packet(const struct command *command, u32 headroom, u32 tailroom,
		       struct packet *packet)
{
	u32 size = command->attr.test.data_size_in;

	if (size < ETH_HLEN || size > PACKET_PAGE - headroom - tailroom)
		return -EINVAL;
	/* Aligned as the kernel's: programs may store pointers' low bytes. */
	packet->memory = aligned_alloc(PACKET_PAGE, PACKET_PAGE);
	packet->ctx = run_alloc_context(sizeof(*packet->ctx));
	if (!packet->memory || !packet->ctx)
		return -ENOMEM;
	memset(packet->memory, 0, PACKET_PAGE);
	packet->size = size;
	packet->ctx->data = ptr_to_u64(packet->memory + headroom);
	packet->ctx->data_meta = packet->ctx->data;
	packet->ctx->data_end = packet->ctx->data + size;
	packet->ctx->link_header = packet->ctx->data;
	packet->ctx->room = ptr_to_u64(packet->memory);
	packet->ctx->room_end = ptr_to_u64(packet->memory + PACKET_PAGE - tailroom);
	packet->ctx->network_header = packet->ctx->data + ETH_HLEN;
	return user_read(packet->memory + headroom, command->attr.test.data_in, size);
}

/* Which bytes of a __sk_buff the client may set. */
static const struct {
	u32 from, to;
} settable[] = {
	{offsetof(struct __sk_buff, mark), offsetof(struct __sk_buff, queue_mapping)},
	{offsetof(struct __sk_buff, priority), offsetof(struct __sk_buff, tc_index)},
	{offsetof(struct __sk_buff, cb), offsetof(struct __sk_buff, hash)},
	{offsetof(struct __sk_buff, tstamp), offsetof(struct __sk_buff, gso_size) + 4},
	{offsetof(struct __sk_buff, hwtstamp), sizeof(struct __sk_buff)},
};

static int check_skb(const struct __sk_buff *skb)
{
	const u8 *bytes = (const u8 *)skb;

	for (u32 i = 0; i < sizeof(*skb); i++) {
		bool allowed = false;

		for (u32 j = 0; j < ARRAY_SIZE(settable); j++)
			allowed |= i >= settable[j].from && i < settable[j].to;
		if (bytes[i] && !allowed)
			return -EINVAL;
	}
	return 0;
}

static u32 packet_type(const u8 *destination)
{
	static const u8 broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
			loopback[ETH_ALEN];

	if (!memcmp(destination, broadcast, ETH_ALEN))
		return PACKET_BROADCAST;
	if (destination[0] & 1)
		return PACKET_MULTICAST;
	return memcmp(destination, loopback, ETH_ALEN) ? PACKET_OTHERHOST : PACKET_HOST;
}

/* What the stack would have set when the packet came in at the loopback device. */
static int fill_skb(struct packet *packet, bool link_layer, bool has_context)
{
	struct __sk_buff *skb = &packet->ctx->skb;
	const u8 *frame = ptr_from_u64(packet->ctx->data);
	u32 length = packet->size - (link_layer ? 0 : ETH_HLEN);

	if (skb->wire_len && skb->wire_len < length)
		return -EINVAL;
	if (!skb->wire_len && has_context)
		skb->wire_len = packet->size;
	skb->len = length;
	skb->pkt_type = packet_type(frame);
	memcpy(&skb->protocol, frame + 2 * ETH_ALEN, sizeof(u16));
	skb->ifindex = LOOPBACK;
	if (!link_layer) {
		packet->ctx->data += ETH_HLEN;
		packet->ctx->data_meta = packet->ctx->data;
	}
	return 0;
}

/* What is before the packet as the program saw it: programs without a link layer get a blank one in front. */
static u64 whole_frame(struct packet *packet, bool link_layer)
{
	u64 data = packet->ctx->data;

	if (link_layer)
		return data;
	if (data - packet->ctx->room < ETH_HLEN) {
		u64 end = packet->ctx->data_end;

		if (packet->ctx->room_end - end < ETH_HLEN)
			return 0;
		memmove(ptr_from_u64(data + ETH_HLEN), ptr_from_u64(data), end - data);
		packet->ctx->data_end += ETH_HLEN;
		data += ETH_HLEN;
	}
	memset(ptr_from_u64(data - ETH_HLEN), 0, ETH_HLEN);
	return data - ETH_HLEN;
}

static int finish_skb(struct command *command, struct packet *packet, bool link_layer, u32 value,
		      u32 ns)
{
	struct __sk_buff *skb = &packet->ctx->skb;
	struct __sk_buff out = {
		.mark = skb->mark,
		.priority = skb->priority,
		.ingress_ifindex = skb->ingress_ifindex,
		.ifindex = skb->ifindex,
		.tstamp = skb->tstamp,
		.wire_len = skb->wire_len,
		.gso_segs = skb->gso_segs,
		.gso_size = skb->gso_size,
		.hwtstamp = skb->hwtstamp,
	};
	u64 data = whole_frame(packet, link_layer);
	int error;

	if (!data)
		return -ENOMEM;
	memcpy(out.cb, skb->cb, sizeof(out.cb));
	error = give_data(command, ptr_from_u64(data), (u32)(packet->ctx->data_end - data));
	if (!error || error == -ENOSPC) {
		if (give_verdict(command, value, ns))
			error = -EFAULT;
	}
	return error ? error : give_context(command, &out, sizeof(out));
}

static int run_skb(struct command *command, struct object *program, bool link_layer)
{
	const union bpf_attr *attr = &command->attr;
	struct packet packet = {0};
	u32 value, ns;
	int error;

	if (attr->test.flags || attr->test.cpu || attr->test.batch_size)
		return -EINVAL;
	error = read_packet(command, SKB_HEADROOM, SKB_TAILROOM, &packet);
	if (!error)
		error = read_context(command, &packet.ctx->skb, sizeof(packet.ctx->skb));
	if (!error)
		error = check_skb(&packet.ctx->skb);
	if (!error)
		error = fill_skb(&packet, link_layer, attr->test.ctx_in);
	if (!error)
		error = run_program(program, packet.ctx, MAX(attr->test.repeat, 1u), &value, &ns);
	if (!error)
		error = finish_skb(command, &packet, link_layer, value, ns);
	free_packet(&packet);
	return error;
}

/* The client's xdp_md counts from the start of the metadata, which comes first in data_in. */
static int place_xdp(const struct command *command, struct packet *packet)
{
	struct xdp_md *md = &packet->ctx->xdp;

	if (!command->attr.test.ctx_in)
		md->data_end = packet->size;
	else if (md->data_meta || md->data_end != packet->size || md->data > md->data_end ||
		 md->data & 3 || md->data > XDP_HEADROOM - 40)
		return -EINVAL;
	if (md->ingress_ifindex > LOOPBACK || md->rx_queue_index || md->egress_ifindex)
		return -EINVAL;
	md->ingress_ifindex = LOOPBACK;
	packet->ctx->data_meta = packet->ctx->data;
	packet->ctx->data += md->data;
	return 0;
}

static int finish_xdp(struct command *command, struct packet *packet, u32 value, u32 ns)
{
	struct abi_packet_context *ctx = packet->ctx;
	struct xdp_md out = {
		.data = (u32)(ctx->data - ctx->data_meta),
		.data_end = (u32)(ctx->data_end - ctx->data_meta),
		.ingress_ifindex = ctx->xdp.ingress_ifindex,
	};
	int error = give_data(command, ptr_from_u64(ctx->data_meta), out.data_end);

	if ((!error || error == -ENOSPC) && give_verdict(command, value, ns))
		error = -EFAULT;
	return error ? error : give_context(command, &out, sizeof(out));
}

static int run_xdp(struct command *command, struct object *program)
{
	const union bpf_attr *attr = &command->attr;
	struct packet packet = {0};
	u32 value, ns;
	int error;

	if (attr->test.flags || attr->test.cpu || attr->test.batch_size)
		return -EINVAL;
	error = read_packet(command, XDP_HEADROOM, SKB_TAILROOM, &packet);
	if (!error)
		error = read_context(command, &packet.ctx->xdp, sizeof(packet.ctx->xdp));
	if (!error)
		error = place_xdp(command, &packet);
	if (!error)
		error = run_program(program, packet.ctx, MAX(attr->test.repeat, 1u), &value, &ns);
	if (!error)
		error = finish_xdp(command, &packet, value, ns);
	free_packet(&packet);
	return error;
}

/* Bytes of the context that the program reads, as far as the verifier could tell. */
static u32 context_read(const struct image_header *image)
{
	if (!image->ctx_words || image->ctx_words == ~0u)
		return 0;
	return (32u - (u32)__builtin_clz(image->ctx_words)) * (u32)sizeof(u64);
}

static int run_raw_tracepoint(struct command *command, struct object *program)
{
	const union bpf_attr *attr = &command->attr;
	u32 value, ns, size = attr->test.ctx_size_in;
	void *ctx;
	int error;

	if (attr->test.data_in || attr->test.data_out || attr->test.ctx_out ||
	    attr->test.duration || attr->test.repeat || attr->test.batch_size)
		return -EINVAL;
	if (size < context_read(program->program.image) || size > RAW_ARGS_MAX * sizeof(u64))
		return -EINVAL;
	if ((attr->test.flags & ~(u32)BPF_F_TEST_RUN_ON_CPU) ||
	    (!attr->test.flags && attr->test.cpu))
		return -EINVAL;
	if (attr->test.flags && attr->test.cpu >= percpu_count())
		return -ENXIO;
	ctx = run_alloc_context(RAW_ARGS_MAX * sizeof(u64));
	if (!ctx)
		return -ENOMEM;
	error = size ? user_read(ctx, attr->test.ctx_in, size) : 0;
	if (!error)
		error = run_program(program, ctx, 1, &value, &ns);
	if (!error)
		error = COMMAND_RESULT(command, attr.test.retval, value);
	run_free_context(ctx);
	return error;
}

static int run_by_type(struct command *command, struct object *program)
{
	switch (program->program.image->prog_type) {
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_LWT_IN:
	case BPF_PROG_TYPE_LWT_OUT:
	case BPF_PROG_TYPE_LWT_XMIT:
	case BPF_PROG_TYPE_LWT_SEG6LOCAL:
		return run_skb(command, program, false);
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
		return run_skb(command, program, true);
	case BPF_PROG_TYPE_XDP:
		return run_xdp(command, program);
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
		return run_raw_tracepoint(command, program);
	default:
		return -ABI_ENOTSUPP;
	}
}

long prog_test_run_command(struct command *command)
{
	const union bpf_attr *attr = &command->attr;
	struct object *program;
	int error;

	if ((attr->test.ctx_size_in && !attr->test.ctx_in) ||
	    (!attr->test.ctx_size_in && attr->test.ctx_in))
		return -EINVAL;
	if ((attr->test.ctx_size_out && !attr->test.ctx_out) ||
	    (!attr->test.ctx_size_out && attr->test.ctx_out))
		return -EINVAL;
	error = objects_get(OBJECT_PROG, (int)attr->test.prog_fd, &program);
	if (error)
		return error;
	error = run_by_type(command, program);
	objects_put(program);
	return error;
}
