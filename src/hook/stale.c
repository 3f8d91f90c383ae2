// SPDX-License-Identifier: BSD-2-Clause
#include "hook/stale.h"

#include "arch/arch.h"
#include "arch/trampoline.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/sys_regs.h"
#include "base/text.h"
#include "sync/reader.h"

/* Words of the stack that are looked at together: a hit has little room. */
#define SCAN_WORDS 64

static bool on_alternate_stack(void)
{
	stack_t stack = {.ss_flags = SS_ONSTACK};

	return sys_call2(__NR_sigaltstack, 0, &stack) != 0 || stack.ss_flags & SS_ONSTACK;
}

/* By system call: a coroutine's stack may have been unmapped. Returns how many bytes there were. */
static long read_memory(u64 at, void *to, size_t size)
{
	struct iovec local = {.iov_base = to, .iov_len = size};
	struct iovec remote = {.iov_base = ptr_from_u64(at), .iov_len = size};

	return sys_process_vm_readv(sys_getpid(), &local, &remote);
}

/* An image that is under way, suspended or not, has its reader's address in its frame. */
static bool frame_is_there(const struct reader *reader)
{
	u64 at =
		reader->sp + (u64)arch_host()->trampoline.hit_offset + offsetof(struct hit, reader);
	u64 value = 0;

	return read_memory(at, &value, 8) == 8 && value == ptr_to_u64(reader);
}

static bool is_signal_frame(u64 saved_ip_at)
{
	u8 code[sizeof(sys_regs_sigreturn)];
	u64 return_address = 0;

	return read_memory(saved_ip_at - SYS_REGS_FRAME_RETURN, &return_address, 8) == 8 &&
	       read_memory(return_address, code, sizeof(code)) == (long)sizeof(code) &&
	       mem_equal(code, sys_regs_sigreturn, sizeof(code));
}

/* Will a signal handler whose frame is on this stack, from sp to its end, return into generated code? */
static bool is_interrupted(u64 sp)
{
	u64 words[SCAN_WORDS];
	long got;

	/* What is asked for lies in one page, so that the last of them is read to its end. */
	for (u64 at = ALIGN_DOWN(sp, sizeof(words));; at += sizeof(words)) {
		got = read_memory(at, words, sizeof(words));
		if (got != (long)sizeof(words))
			return false;
		for (u32 i = 0; i < SCAN_WORDS; i++) {
			if (at + 8 * i >= sp && text_contains(words[i]) &&
			    is_signal_frame(at + 8 * i))
				return true;
		}
	}
}

/*
 * A mark without a stack pointer is being set or cleared: its thread is in those few instructions, interrupted by whoever asks, or
 * jumped out of them.
 */
static bool is_live(const struct reader *reader, u64 sp)
{
	if (!reader->sp)
		return on_alternate_stack() || is_interrupted(sp);
	if (sp < reader->sp)
		return true;
	/* At the very place: two calls cannot both be under way there. */
	return sp != reader->sp && (on_alternate_stack() || frame_is_there(reader));
}

void stale_judge_mark(struct reader *reader, u64 sp)
{
	if (is_live(reader, sp))
		return;
	reader->active = 0;
	reader->percpu_slot &= ~READER_PERCPU_HELD;
	reader->percpu_depth = 0;
	reader->sp = 0;
	reader->generation++;
	__atomic_store_n(&reader->nest, 0, __ATOMIC_RELEASE);
}
