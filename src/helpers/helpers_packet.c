/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets: what socket filters, classifiers and XDP programs ask of theirs. One linear buffer, no fragments. */
#include "base/mem.h"
#include "format/bpf_abi.h"
#include "helpers/call.h"

#include <errno.h>
#include <limits.h>

/* Is [offset, offset + size) inside the packet? */
static bool holds(const struct abi_packet_context *ctx, u32 offset, u32 size)
{
	return (u64)offset + size <= ctx->data_end - ctx->data;
}

HELPER_4(skb_load_bytes, ctx_word, offset, to, size_word)
{
	const struct abi_packet_context *ctx = ptr_from_u64(ctx_word);
	u32 size = (u32)size_word;

	if ((u32)offset > INT_MAX || !holds(ctx, (u32)offset, size)) {
		mem_zero(ptr_from_u64(to), size);
		return helper_result(-EFAULT);
	}
	mem_copy_words(ptr_from_u64(to), ptr_from_u64(ctx->data + (u32)offset), size);
	return 0;
}

HELPER_1(xdp_get_buff_len, ctx_word)
{
	const struct abi_packet_context *ctx = ptr_from_u64(ctx_word);

	return ctx->data_end - ctx->data;
}

HELPER_4(xdp_load_bytes, ctx_word, offset, to, size)
{
	const struct abi_packet_context *ctx = ptr_from_u64(ctx_word);

	if ((u32)offset > 0xffff || (u32)size > 0xffff)
		return helper_result(-EFAULT);
	if (!holds(ctx, (u32)offset, (u32)size))
		return helper_result(-EINVAL);
	mem_copy_words(ptr_from_u64(to), ptr_from_u64(ctx->data + (u32)offset), (u32)size);
	return 0;
}
