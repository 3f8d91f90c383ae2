/* SPDX-License-Identifier: BSD-2-Clause */
/* Global functions: what they may assume of their arguments, and what callers may assume of their results. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct pair {
	__u64 left, right;
};

char table[8];

/* Right for any arguments. */
__attribute__((noinline)) int sum(const struct pair *pair, int factor)
{
	if (!pair)
		return 0;
	return (int)(pair->left + pair->right) * factor;
}

/* Wrong for NULL, which its prototype admits. */
__attribute__((noinline)) int unguarded(const struct pair *pair)
{
	return (int)pair->left;
}

__attribute__((noinline)) int three(struct bpf_raw_tracepoint_args *ctx)
{
	return ctx->args[0] == 0 ? 3 : 2;
}

SEC("raw_tp")
int accepted(struct bpf_raw_tracepoint_args *ctx)
{
	struct pair pair = {ctx->args[0], ctx->args[1]};

	return sum(&pair, 2) + sum(0, 3) + (three(ctx) & 7);
}

SEC("raw_tp")
int null_not_checked(struct bpf_raw_tracepoint_args *ctx)
{
	struct pair pair = {ctx->args[0], ctx->args[1]};

	return unguarded(&pair);
}

SEC("raw_tp")
int too_little_memory(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 half = ctx->args[0];

	return sum((void *)&half, 2);
}

SEC("raw_tp")
int result_believed(struct bpf_raw_tracepoint_args *ctx)
{
	return table[three(ctx)];
}

char _license[] SEC("license") = "GPL";
