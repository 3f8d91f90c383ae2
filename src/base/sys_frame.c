/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/sys_frame.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

/* arch/x86/include/uapi/asm/sigcontext.h and ucontext.h: the kernel's layout, which libc's differs from in its tail. */
#define FLAG_XSTATE    1
#define FLAG_SS	       2
#define FLAG_STRICT_SS 4
#define MAGIC1	       0x46505853u
#define MAGIC2	       0x46505845u
#define FX_SIZE	       512
#define FX_SOFTWARE                                                                                \
	464 /* bytes of the FXSAVE area that are the kernel's: before, XCR0; in a frame, the magic */
#define XSTATE_BV	   512
#define XSTATE_HEADER_SIZE 64

/* In-kernel results of an interrupted call that ptrace shows. */
#define ERESTARTSYS	      512
#define ERESTARTNOHAND	      514
#define ERESTART_RESTARTBLOCK 516

struct frame {
	u64 flags, link;
	u64 stack_sp;
	u32 stack_flags, pad;
	u64 stack_size;
	u64 r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, eflags;
	u16 cs, gs, fs, ss;
	u64 err, trapno, oldmask, cr2, fpstate, reserved[8];
	u64 mask;
};

struct software {
	u32 magic1, extended_size;
	u64 features;
	u32 xstate_size, padding[7];
};

/* Bytes of the standard layout that the features in use need. */
static u32 used_size(u64 features)
{
	u32 size = FX_SIZE + XSTATE_HEADER_SIZE;

	for (u32 i = 2; i < 63; i++) {
		u32 bytes, offset, c, d;

		if (!(features >> i & 1) || !__get_cpuid_count(0xd, i, &bytes, &offset, &c, &d))
			continue;
		size = MAX(size, offset + bytes);
	}
	return size;
}

static void set_registers(struct frame *frame, const sys_regs *regs)
{
	s64 result = (s64)regs->rax;

	*frame = (struct frame){
		.flags = FLAG_XSTATE | FLAG_SS | FLAG_STRICT_SS,
		.stack_flags = ~0u, /* not valid: the kernel leaves the alternate stack as it is */
		.r8 = regs->r8,
		.r9 = regs->r9,
		.r10 = regs->r10,
		.r11 = regs->r11,
		.r12 = regs->r12,
		.r13 = regs->r13,
		.r14 = regs->r14,
		.r15 = regs->r15,
		.di = regs->rdi,
		.si = regs->rsi,
		.bp = regs->rbp,
		.bx = regs->rbx,
		.dx = regs->rdx,
		.ax = regs->rax,
		.cx = regs->rcx,
		.sp = regs->rsp,
		.ip = regs->rip,
		.eflags = regs->eflags,
		.cs = (u16)regs->cs,
		.ss = (u16)regs->ss,
	};
	if (!sys_regs_in_call(regs) || result > -ERESTARTSYS || result < -ERESTART_RESTARTBLOCK)
		return;
	/*
	 * Sigreturn does not restart a call, so it is made again. A sleep begins anew: sigreturn forgets how much is left of it, and
	 * restart_syscall would answer EINTR.
	 */
	frame->ip -= SYS_REGS_CALL_BYTES;
	frame->ax = regs->orig_rax;
}

long sys_frame_build(u8 *to, size_t room, u64 address, const sys_regs *regs, u64 mask,
		     const u8 *xstate, size_t xstate_size)
{
	u64 at = ALIGN_UP(address + sizeof(struct frame), 64) - address, features, in_use;
	struct software software = {.magic1 = MAGIC1};
	struct frame frame;
	u32 magic2 = MAGIC2, size;

	if (xstate_size < FX_SIZE + XSTATE_HEADER_SIZE)
		return -E2BIG;
	memcpy(&features, xstate + FX_SOFTWARE, sizeof(features));
	memcpy(&in_use, xstate + XSTATE_BV, sizeof(in_use));
	size = used_size(in_use);
	if (size > xstate_size || at + size + sizeof(magic2) > room)
		return -E2BIG;
	set_registers(&frame, regs);
	frame.mask = mask;
	frame.fpstate = address + at;
	software.features = features;
	software.xstate_size = size;
	software.extended_size = size + (u32)sizeof(magic2);
	memset(to, 0, at);
	memcpy(to, &frame, sizeof(frame));
	memcpy(to + at, xstate, size);
	memcpy(to + at + FX_SOFTWARE, &software, sizeof(software));
	memcpy(to + at + size, &magic2, sizeof(magic2));
	return (long)(at + size + sizeof(magic2));
}
#endif
