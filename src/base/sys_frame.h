/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A signal frame by hand: what a thread that runs sigreturn at it becomes.
 *
 * A thread borrowed by ptrace gets one under its borrowed stack. Should the borrower die, the thread returns into it and
 * is again what it was, signal mask and extended registers included.
 */
#ifndef INLAY_BASE_SYS_FRAME_H
#define INLAY_BASE_SYS_FRAME_H

#include "base/sys_regs.h"
#include "base/types.h"

/*
 * Writes at most room bytes to `to`, for a frame that will lie at address (8-aligned): sigreturn runs with that stack pointer.
 * xstate as PTRACE_GETREGSET of NT_X86_XSTATE gives it. A call that was interrupted will run again (one that counts time down
 * fails with EINTR instead). Returns the frame's size, or -E2BIG. Pure.
 */
long sys_frame_build(u8 *to, size_t room, u64 address, const sys_regs *regs, u64 mask,
		     const u8 *xstate, size_t xstate_size);

#endif
