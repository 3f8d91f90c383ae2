/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changing packets of socket buffers. A packet is one linear piece inside a buffer with room at both ends (room, room_end
 * of the context); the verifier forgets every pointer into it at these calls, so it may be moved.
 */
#include <errno.h>
#include <limits.h>
#include <linux/if_ether.h>

#include "base/mem.h"
#include "format/bpf_abi.h"
#include "helpers/call.h"

#define VLAN_TAG    4u
#define ETHER_MACS  (2u * ETH_ALEN)
#define MAX_LENGTH  (65535u + ETH_HLEN)
#define STORE_FLAGS (BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH)

/* Moves the bytes [from, end) to a higher or lower place that may overlap them. */
static void move_bytes(u64 to, u64 from, u64 size)
{
	u8 *target = ptr_from_u64(to);
	const u8 *source = ptr_from_u64(from);

	for (u64 i = 0; i < size; i++) {
		u64 at = to < from ? i : size - 1 - i;

		target[at] = source[at];
	}
}

/* Gives the packet size more bytes in front, whose contents are undefined; moves it towards the end when need be. */
static int grow_front(struct abi_packet_context *ctx, u32 size)
{
	u64 length = ctx->data_end - ctx->data;
	u64 shift = ctx->room_end - ctx->data_end;

	if (!ctx->room || ctx->data - ctx->room + shift < size)
		return -ENOMEM;
	if (ctx->data - ctx->room < size) {
		move_bytes(ctx->data + shift, ctx->data, length);
		ctx->data += shift;
		ctx->data_end += shift;
		ctx->network_header += shift;
	}
	ctx->data -= size;
	ctx->data_meta = ctx->data;
	ctx->link_header = ctx->data;
	ctx->skb.len += size;
	return 0;
}

static bool is_vlan(u32 protocol)
{
	return protocol == __builtin_bswap16(ETH_P_8021Q) ||
	       protocol == __builtin_bswap16(ETH_P_8021AD);
}

/* The tag in front of the packet's protocol. */
struct tag {
	u16 protocol, control;
};

static int push_tag(struct abi_packet_context *ctx)
{
	struct tag tag = {(u16)ctx->skb.vlan_proto, __builtin_bswap16((u16)ctx->skb.vlan_tci)};
	int error = grow_front(ctx, VLAN_TAG);

	if (error)
		return error;
	move_bytes(ctx->data, ctx->data + VLAN_TAG, ETHER_MACS);
	__builtin_memcpy(ptr_from_u64(ctx->data + ETHER_MACS), &tag, sizeof(tag));
	ctx->skb.protocol = tag.protocol;
	return 0;
}

/* Takes the tag out of the bytes, when there is one, and makes it the packet's own. */
static int pull_tag(struct abi_packet_context *ctx)
{
	u8 *at = ptr_from_u64(ctx->data + ETHER_MACS);
	struct tag tag;
	u16 inner;

	if (!is_vlan(ctx->skb.protocol))
		return 0;
	if (ctx->data_end - ctx->data < ETHER_MACS + VLAN_TAG + sizeof(u16))
		return -ENOMEM;
	__builtin_memcpy(&tag, at, sizeof(tag));
	__builtin_memcpy(&inner, at + VLAN_TAG, sizeof(inner));
	move_bytes(ctx->data + VLAN_TAG, ctx->data, ETHER_MACS);
	ctx->data += VLAN_TAG;
	ctx->data_meta = ctx->data;
	ctx->link_header = ctx->data;
	ctx->skb.len -= VLAN_TAG;
	ctx->skb.protocol = inner;
	ctx->skb.vlan_present = 1;
	ctx->skb.vlan_proto = tag.protocol;
	ctx->skb.vlan_tci = __builtin_bswap16(tag.control);
	return 0;
}

HELPER_3(skb_vlan_push, ctx_word, protocol, control)
{
	struct abi_packet_context *ctx = ptr_from_u64(ctx_word);

	if (ctx->skb.vlan_present) {
		int error = push_tag(ctx);

		if (error)
			return helper_result(error);
	}
	ctx->skb.vlan_present = 1;
	ctx->skb.vlan_proto =
		is_vlan((u16)protocol) ? (u16)protocol : __builtin_bswap16(ETH_P_8021Q);
	ctx->skb.vlan_tci = (u16)control;
	return 0;
}

HELPER_1(skb_vlan_pop, ctx_word)
{
	struct abi_packet_context *ctx = ptr_from_u64(ctx_word);

	if (!ctx->skb.vlan_present) {
		int error = pull_tag(ctx);

		if (error || !ctx->skb.vlan_present)
			return helper_result(error);
	}
	ctx->skb.vlan_present = 0;
	ctx->skb.vlan_proto = 0;
	ctx->skb.vlan_tci = 0;
	return helper_result(pull_tag(ctx));
}

HELPER_5(skb_store_bytes, ctx_word, offset, from, size_word, flags)
{
	struct abi_packet_context *ctx = ptr_from_u64(ctx_word);
	u32 size = (u32)size_word;

	if (flags & ~(u64)STORE_FLAGS)
		return helper_result(-EINVAL);
	if ((u32)offset > INT_MAX || (u64)(u32)offset + size > ctx->data_end - ctx->data)
		return helper_result(-EFAULT);
	mem_copy_words(ptr_from_u64(ctx->data + (u32)offset), ptr_from_u64(from), size);
	if (flags & BPF_F_INVALIDATE_HASH)
		ctx->skb.hash = 0;
	return 0;
}

HELPER_3(skb_change_head, ctx_word, size_word, flags)
{
	struct abi_packet_context *ctx = ptr_from_u64(ctx_word);
	u64 length = ctx->data_end - ctx->data + (u32)size_word;
	int error;

	if (flags || length > MAX_LENGTH)
		return helper_result(-EINVAL);
	error = grow_front(ctx, (u32)size_word);
	if (!error)
		mem_zero(ptr_from_u64(ctx->data), (u32)size_word);
	return helper_result(error);
}

/* Nothing computes a flow's hash here: it is the one that came with the packet, 0 for none. */
HELPER_1(get_hash_recalc, ctx_word)
{
	const struct abi_packet_context *ctx = ptr_from_u64(ctx_word);

	return ctx->skb.hash;
}

/* As for any packet whose hardware has not summed it up. */
HELPER_2(csum_update, ctx_word, sum)
{
	(void)ctx_word;
	(void)sum;
	return helper_result(-ABI_ENOTSUPP);
}

/* No packet here has a socket: 0 is what the kernel says then. */
HELPER_1(get_socket_cookie, ctx_word)
{
	(void)ctx_word;
	return 0;
}

/* 0: the class of whoever was put into none, and nobody here is. */
HELPER_1(get_cgroup_classid, ctx_word)
{
	(void)ctx_word;
	return 0;
}
