/* SPDX-License-Identifier: BSD-2-Clause */
/* Moving the ends of XDP packets, within the room of their context. */
#include <errno.h>
#include <linux/if_ether.h>

#include "format/bpf_abi.h"
#include "helpers/call.h"

#define FRAME_SIZE 40u	/* what the kernel keeps at the start of the headroom */
#define META_MAX   252u /* of metadata */

static u64 lowest_start(const struct abi_packet_context *ctx)
{
	return ctx->room ? ctx->room + FRAME_SIZE : ctx->data_meta;
}

HELPER_2(xdp_adjust_head, ctx_word, offset_word)
{
	struct abi_packet_context *ctx = ptr_from_u64(ctx_word);
	u64 offset = (u64)(s64)(s32)offset_word, meta = ctx->data - ctx->data_meta;
	s64 data = (s64)(ctx->data + offset);
	u8 *to = ptr_from_u64(ctx->data_meta + offset);
	const u8 *from = ptr_from_u64(ctx->data_meta);

	if (data < (s64)(lowest_start(ctx) + meta) || data > (s64)(ctx->data_end - ETH_HLEN))
		return helper_result(-EINVAL);
	for (u64 i = 0; i < meta; i++) {
		u64 at = to < from ? i : meta - 1 - i;

		to[at] = from[at];
	}
	ctx->data += offset;
	ctx->data_meta += offset;
	return 0;
}

HELPER_2(xdp_adjust_meta, ctx_word, offset_word)
{
	struct abi_packet_context *ctx = ptr_from_u64(ctx_word);
	s64 meta = (s64)(ctx->data_meta + (u64)(s64)(s32)offset_word);
	u64 size;

	if (meta < (s64)lowest_start(ctx) || meta > (s64)ctx->data)
		return helper_result(-EINVAL);
	size = ctx->data - (u64)meta;
	if (size & 3 || size > META_MAX)
		return helper_result(-EACCES);
	ctx->data_meta = (u64)meta;
	return 0;
}
