// SPDX-License-Identifier: BSD-2-Clause
#include "hook/stale.h"

#include "arch/arch.h"
#include "arch/trampoline.h"
#include "base/sys.h"
#include "sync/reader.h"

static bool on_alternate_stack(void)
{
	stack_t stack = {.ss_flags = SS_ONSTACK};

	return sys_call2(__NR_sigaltstack, 0, &stack) != 0 || stack.ss_flags & SS_ONSTACK;
}

/* An image that is under way, suspended or not, has its reader's address in its frame. */
static bool frame_is_there(const struct reader *reader)
{
	u64 at =
		reader->sp + (u64)arch_host()->trampoline.hit_offset + offsetof(struct hit, reader);
	u64 value = 0;
	struct iovec local = {.iov_base = &value, .iov_len = 8};
	struct iovec remote = {.iov_base = ptr_from_u64(at), .iov_len = 8};

	/* By system call: a coroutine's stack may have been unmapped. */
	return sys_process_vm_readv(sys_getpid(), &local, &remote) == 8 &&
	       value == ptr_to_u64(reader);
}

void stale_judge_mark(struct reader *reader, u64 sp)
{
	if (!reader->sp || sp < reader->sp)
		return;
	/* At the very place: two calls cannot both be under way there. */
	if (sp != reader->sp && (on_alternate_stack() || frame_is_there(reader)))
		return;
	reader->active = 0;
	reader->percpu_slot &= ~READER_PERCPU_HELD;
	reader->percpu_depth = 0;
	reader->sp = 0;
	reader->generation++;
	__atomic_store_n(&reader->nest, 0, __ATOMIC_RELEASE);
}
