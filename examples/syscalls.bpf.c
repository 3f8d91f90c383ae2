/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a program asks of the kernel through libc's syscall(): each call is dispatched by its number to a program of its own, as
 * the kernel's tracex5 does. Programs in slots are only called, not attached: their section names no function.
 */
#include "probe.bpf.h"

#include <asm/unistd.h>

#define SYSCALLS 512

int on_read(struct pt_regs *ctx);
int on_write(struct pt_regs *ctx);
int on_getpid(struct pt_regs *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SYSCALLS);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} by_number SEC(".maps") = {
	.values =
		{
			[__NR_read] = (void *)&on_read,
			[__NR_write] = (void *)&on_write,
			[__NR_getpid] = (void *)&on_getpid,
		},
};

enum { READ_BYTES, WRITTEN_BYTES, GETPIDS, OTHERS, COUNTS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} asked SEC(".maps");

static __always_inline void add(__u32 key, __u64 amount)
{
	__u64 *value = bpf_map_lookup_elem(&asked, &key);

	if (value)
		__sync_fetch_and_add(value, amount);
}

/* syscall(number, a, b, c): the size is c. */
SEC("uprobe") int on_read(struct pt_regs *ctx)
{
	add(READ_BYTES, PT_REGS_PARM4(ctx));
	return 0;
}

SEC("uprobe") int on_write(struct pt_regs *ctx)
{
	add(WRITTEN_BYTES, PT_REGS_PARM4(ctx));
	return 0;
}

SEC("uprobe") int on_getpid(struct pt_regs *ctx)
{
	(void)ctx;
	add(GETPIDS, 1);
	return 0;
}

SEC("uprobe/libc:syscall") int dispatch(struct pt_regs *ctx)
{
	bpf_tail_call(ctx, &by_number, PT_REGS_PARM1(ctx));
	add(OTHERS, 1); /* no program for that number */
	return 0;
}
