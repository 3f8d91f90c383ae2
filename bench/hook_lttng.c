/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of bench/hook: a function with a tracepoint of one integer, while a session records it. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "hook_lttng_events.h"
#include "hook_peer.h"

PEER static void traced(void)
{
	lttng_ust_tracepoint(inlay_bench, hit, 1);
	__asm__ volatile("");
}

PEER static void bare(void)
{
	__asm__ volatile("");
}

int main(void)
{
	if (!lttng_ust_tracepoint_enabled(inlay_bench, hit)) {
		fprintf(stderr, "hook_lttng: the tracepoint is not enabled\n");
		return 1;
	}
	peer_measure("LTTng-UST tracepoint", traced, bare);
	return 0;
}
