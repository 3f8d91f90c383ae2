/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of bench/hook: a function compiled with -pg, run under `uftrace record`. Entry and exit are both recorded. */
#include "hook_peer.h"

static __attribute__((noinline)) void traced(void)
{
	__asm__ volatile("");
}

PEER static void bare(void)
{
	__asm__ volatile("");
}

PEER int main(void)
{
	peer_measure("uftrace record (entry and exit)", traced, bare);
	return 0;
}
