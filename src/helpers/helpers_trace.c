/* SPDX-License-Identifier: BSD-2-Clause */
/* What programs tell people, and what a hit knows about itself. */
#include "arch/trampoline.h"
#include "base/mem.h"
#include "helpers/bprintf.h"
#include "helpers/call.h"
#include "helpers/helpers.h"
#include "helpers/vdso.h"
#include "maps/ringbuf.h"
#include "sync/reader.h"

#include <errno.h>
#include <time.h>

/* Longest text of one call, NUL included; and most arguments: the kernel's. */
#define PRINTK_TEXT 1024
#define VARARGS_MAX 12

static struct map *printk_ring;
static u64 printk_dropped;

void helpers_set_printk_ring(struct map *ring)
{
	__atomic_store_n(&printk_ring, ring, __ATOMIC_RELEASE);
}

u64 helpers_printk_dropped(void)
{
	return __atomic_load_n(&printk_dropped, __ATOMIC_RELAXED);
}

static void emit(const char *text, u32 length)
{
	struct map *ring = __atomic_load_n(&printk_ring, __ATOMIC_ACQUIRE);
	const struct reader *reader = reader_self();
	struct printk_record *record = NULL;

	length = MIN(length, PRINTK_TEXT - 1);
	if (ring)
		record = ringbuf_reserve(ring, sizeof(*record) + length + 1, 0);
	if (!record) {
		__atomic_fetch_add(&printk_dropped, 1, __ATOMIC_RELAXED);
		return;
	}
	record->time_ns = vdso_clock_ns(CLOCK_MONOTONIC);
	record->tid = reader ? reader->tid : 0;
	record->length = length;
	mem_copy_words(record->text, text, length);
	record->text[length] = 0;
	ringbuf_submit(record, 0);
}

static u64 print(u64 format, u32 size, const u64 *args, u32 count)
{
	char text[PRINTK_TEXT];
	int length = bprintf(text, sizeof(text), ptr_from_u64(format), size, args, count);

	if (length >= 0)
		emit(text, (u32)length);
	return helper_result(length);
}

HELPER_5(trace_printk, format, size, first, second, third)
{
	u64 args[] = {first, second, third};

	return print(format, (u32)size, args, ARRAY_SIZE(args));
}

static bool varargs_ok(u64 data, u32 size)
{
	return !(size & 7) && size <= VARARGS_MAX * 8 && (!size || data);
}

HELPER_4(trace_vprintk, format, size, data, data_size)
{
	if (!varargs_ok(data, (u32)data_size))
		return helper_result(-EINVAL);
	return print(format, (u32)size, ptr_from_u64(data), (u32)data_size / 8);
}

HELPER_5(snprintf, to, size, format, data, data_size)
{
	int length;

	if (!varargs_ok(data, (u32)data_size))
		return helper_result(-EINVAL);
	/* A constant string in a map: the verifier has seen its NUL. */
	length = bprintf(ptr_from_u64(to), (u32)size, ptr_from_u64(format), UINT32_MAX,
			 ptr_from_u64(data), (u32)data_size / 8);
	return helper_result(length < 0 ? length : length + 1);
}

/* The words in front of the registers: every context of a tracing program has them. */
static const struct hit *hit_of(u64 ctx)
{
	return ptr_from_u64(ctx - offsetof(struct hit, regs));
}

HELPER_1(get_func_ip, ctx)
{
	return hit_of(ctx)->func_ip;
}

HELPER_1(get_attach_cookie, ctx)
{
	return hit_of(ctx)->cookie;
}

/* Of a typed context; others have no arguments that are known. */
HELPER_3(get_func_arg, ctx, index, value)
{
	const struct hit *hit = hit_of(ctx);

	if ((u32)index >= (u32)hit->arguments)
		return helper_result(-EINVAL);
	*(u64 *)ptr_from_u64(value) = hit->regs[(u32)index];
	return 0;
}

HELPER_2(get_func_ret, ctx, value)
{
	const struct hit *hit = hit_of(ctx);

	if (!(hit->arguments & HIT_HAS_RESULT))
		return helper_result(-EOPNOTSUPP);
	*(u64 *)ptr_from_u64(value) = hit->regs[(u32)hit->arguments];
	return 0;
}

HELPER_1(get_func_arg_cnt, ctx)
{
	return (u32)hit_of(ctx)->arguments;
}
