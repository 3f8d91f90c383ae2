/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding facts: Intel SDM volume 2 (INT3 CC, INT n CD, CALL E8, JMP E9, multi-byte NOP 0F 1F). */
#include "arch/trap.h"

#include <ucontext.h>

#include "arch/guard.h"
#include "base/mem.h"

#if defined(__x86_64__)

#define PATCH_SIZE 5u
#define OP_CALL	   0xe8
#define OP_JUMP	   0xe9

static bool is_nop(const u8 *bytes)
{
	static const u8 nop[PATCH_SIZE] = {0x0f, 0x1f, 0x44, 0x00, 0x00};

	return mem_equal(bytes, nop, PATCH_SIZE);
}

bool trap_can_emulate(const u8 *bytes)
{
	return bytes[0] == OP_CALL || bytes[0] == OP_JUMP || is_nop(bytes);
}

u64 trap_site(const void *ucontext)
{
	const ucontext_t *frame = ucontext;

	return (u64)frame->uc_mcontext.gregs[REG_RIP] - TRAP_SIZE;
}

bool trap_is_gone(const u8 *bytes)
{
	/* INT 3 in its two-byte form looks the same to the kernel, and is not ours. */
	return bytes[1] != trap_bytes[0] && !(bytes[0] == 0xcd && bytes[1] == 3);
}

void trap_retry(void *ucontext)
{
	*guard_frame_pc(ucontext) = trap_site(ucontext);
}

void trap_emulate(void *ucontext, const u8 *bytes)
{
	ucontext_t *frame = ucontext;
	u64 next = trap_site(ucontext) + PATCH_SIZE;
	s32 distance;

	mem_copy(&distance, bytes + 1, sizeof(distance));
	if (bytes[0] == OP_CALL) {
		u64 *sp = (u64 *)&frame->uc_mcontext.gregs[REG_RSP];

		*sp -= sizeof(next);
		mem_copy(ptr_from_u64(*sp), &next, sizeof(next));
	}
	*guard_frame_pc(ucontext) =
		bytes[0] == OP_CALL || bytes[0] == OP_JUMP ? next + (u64)(s64)distance : next;
}

#else

bool trap_can_emulate(const u8 *bytes)
{
	(void)bytes;
	return false;
}

u64 trap_site(const void *ucontext)
{
	(void)ucontext;
	return 0;
}

bool trap_is_gone(const u8 *bytes)
{
	(void)bytes;
	return false;
}

void trap_retry(void *ucontext)
{
	(void)ucontext;
}

void trap_emulate(void *ucontext, const u8 *bytes)
{
	(void)ucontext;
	(void)bytes;
}

#endif
