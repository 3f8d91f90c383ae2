/* SPDX-License-Identifier: BSD-2-Clause */
/* The caller's stack: bpf_get_stack, bpf_get_stackid. There is no kernel stack here: asking for it is -EFAULT. */
#include "arch/arch.h"
#include "arch/trampoline.h"
#include "base/mem.h"
#include "exec/fault.h"
#include "helpers/call.h"
#include "hook/shadow.h"
#include "maps/stack_trace.h"
#include "sync/reader.h"
#include "unwind/walk.h"

#include <errno.h>

/* Frames that are looked at: what the kernel looks at, and what may be skipped. */
#define MAX_FRAMES 127

static int read_word(u64 address, u64 *ret_word)
{
	return fault_read(ret_word, address, 8);
}

static u64 resolve(u64 slot, u64 value)
{
	return shadow_find(reader_self(), slot, value);
}

static const struct unwind_env env = {read_word, resolve};

/* What the context shows: its registers, and returns its instruction. */
static u64 first_registers(const struct hit *hit, struct unwind_frame *frame)
{
	const struct arch *arch = arch_host();
	bool typed = hit->arguments & HIT_TYPED;

	for (u32 i = 0; i < arch->frame.count; i++)
		frame->regs[i] = hit->regs[typed ? HIT_FRAME_WORD + i : arch->frame.hit_word[i]];
	return typed ? hit->func_ip : hit->regs[arch->frame.hit_ip];
}

/*
 * The frame that the context shows: the function just called, or where it returned to, or a point inside one. At entry the first instruction counts as exact: its
 * return address is the word at sp, whatever the tables say of a function that begins with a window. A typed program at the return is shown
 * the function as well.
 */
static u32 first_frames(u64 ctx, u64 *ips, struct unwind_frame *frame)
{
	const struct hit *hit = ptr_from_u64(ctx - offsetof(struct hit, regs));
	u64 sp;

	ips[0] = first_registers(hit, frame);
	frame->exact = hit->arguments & HIT_POINT;
	if (frame->exact || ips[0] == hit->return_address) {
		frame->ip = ips[0];
		return 1;
	}
	sp = frame->regs[0];
	frame->ip = ips[1] = resolve(sp, hit->return_address);
	frame->regs[0] = sp + 8;
	return 2;
}

/* At most `want` addresses behind the first `skip` ones; returns how many, or -EFAULT when there are not even skip. */
static s64 walk(u64 ctx, u32 skip, u32 want, u64 *ips)
{
	struct unwind_frame frame;
	u32 limit = MIN(skip + want, (u32)MAX_FRAMES), count;

	count = first_frames(ctx, ips, &frame);
	while (count < limit && unwind_step(&env, &frame) > 0)
		ips[count++] = frame.ip;
	count = MIN(count, limit);
	return count > skip ? (s64)(count - skip) : -EFAULT;
}

HELPER_3(get_stackid, ctx, map_address, flags)
{
	const u64 known = BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP |
			  BPF_F_REUSE_STACKID;
	struct map *map = ptr_from_u64(map_address);
	u32 skip = flags & BPF_F_SKIP_FIELD_MASK;
	u64 ips[MAX_FRAMES + 1];
	s64 count;

	if (flags & ~known)
		return helper_result(-EINVAL);
	if (!(flags & BPF_F_USER_STACK))
		return helper_result(-EFAULT);
	count = walk(ctx, skip, stack_trace_depth(map), ips);
	if (count < 0)
		return helper_result(count);
	return helper_result(stack_trace_id(map, ips + skip, (u32)count, flags));
}

HELPER_4(get_stack, ctx, to, size_word, flags)
{
	const u64 known = BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK;
	u32 size = (u32)size_word, skip = flags & BPF_F_SKIP_FIELD_MASK;
	char *out = ptr_from_u64(to);
	s64 count = -EINVAL;
	u64 ips[MAX_FRAMES + 1];

	if (flags & ~known || size % 8)
		goto failed;
	count = flags & BPF_F_USER_STACK ? walk(ctx, skip, size / 8, ips) : -EFAULT;
	if (count < 0)
		goto failed;
	count *= 8;
	mem_copy_words(out, ips + skip, (u64)count);
	mem_zero(out + count, size - (u64)count);
	return helper_result(count);

failed:
	mem_zero(out, size);
	return helper_result(count);
}
