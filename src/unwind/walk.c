// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/walk.h"

#include <errno.h>

#include "arch/arch.h"
#include "unwind/generated.h"
#include "unwind/modules.h"

#define SP 0
#define FP 1

/* A frame without any table (code made at run time, mostly): believed to keep frame pointers, when that leads up the stack. */
#define MAX_FRAME (1u << 20)

static int by_frame_pointer(const struct unwind_env *env, struct unwind_frame *frame)
{
	u64 fp = frame->regs[FP], ip, outer;

	if (fp & 7 || fp < frame->regs[SP] || fp - frame->regs[SP] > MAX_FRAME ||
	    env->read(fp, &outer) || env->read(fp + 8, &ip) || !ip)
		return -ENOENT;
	frame->regs[FP] = outer;
	frame->regs[SP] = fp + 16;
	frame->ip = env->resolve(fp + 8, ip);
	frame->exact = false;
	return 1;
}

static int through_signal(const struct unwind_env *env, struct unwind_frame *frame)
{
	const struct arch *arch = arch_host();
	u64 at = frame->regs[SP];
	struct unwind_frame outer = {.exact = true};

	for (u32 i = 0; i < arch->frame.count; i++) {
		if (env->read(at + arch->frame.signal_reg[i], &outer.regs[i]))
			return -EFAULT;
	}
	if (env->read(at + arch->frame.signal_ip, &outer.ip))
		return -EFAULT;
	*frame = outer;
	return 1;
}

static int find_cfa(const struct unwind_env *env, const struct unwind_frame *frame,
		    const struct unwind_row *row, u64 *ret_cfa, u64 *ret_base)
{
	u64 sum = frame->regs[row->rule == UNWIND_PLT ? SP : row->reg % UNWIND_REGS] +
		  (u64)(s64)row->offset;

	*ret_base = sum;
	*ret_cfa = sum;
	switch (row->rule) {
	case UNWIND_REGISTER:
		return 0;
	case UNWIND_PLT:
		if ((frame->ip & 15) >= row->reg)
			*ret_cfa = *ret_base = sum + 8;
		return 0;
	case UNWIND_DEREF:
		*ret_base = frame->regs[row->reg % UNWIND_REGS];
		return env->read(sum, ret_cfa);
	default:
		return -ENOENT;
	}
}

static int by_row(const struct unwind_env *env, struct unwind_frame *frame,
		  const struct unwind_row *row)
{
	struct unwind_frame outer = *frame;
	u64 cfa, base, ip;
	int err = find_cfa(env, frame, row, &cfa, &base);

	if (err)
		return err;
	for (u32 i = 1; i < UNWIND_REGS; i++) {
		if (row->saved[i - 1] != UNWIND_UNCHANGED &&
		    env->read(base + (u64)((s64)row->saved[i - 1] * 8), &outer.regs[i]))
			return -EFAULT;
	}
	if (env->read(cfa - 8, &ip))
		return -EFAULT;
	/* A caller is farther up its stack; only a signal frame may lead to another one. */
	if (cfa <= frame->regs[SP] && cfa + 8 <= frame->regs[SP])
		return -ENOENT;
	outer.regs[SP] = cfa;
	outer.ip = env->resolve(cfa - 8, ip);
	outer.exact = false;
	if (!outer.ip)
		return 0;
	*frame = outer;
	return 1;
}

int unwind_step(const struct unwind_env *env, struct unwind_frame *frame)
{
	u64 pc = frame->exact ? frame->ip : frame->ip - 1;
	const struct unwind_row *row;
	struct unwind_row made;
	bool known;

	if (unwind_generated_row(pc, &made)) {
		row = &made;
		goto step;
	}
	row = unwind_modules_find(pc, &known);
	/* A signal's return trampoline is entered by a ret of the kernel's making: nothing precedes it. */
	if (!frame->exact && (!row || row->rule == UNWIND_UNKNOWN)) {
		const struct unwind_row *at = unwind_modules_find(frame->ip, &known);

		if (at && at->rule == UNWIND_SIGNAL)
			row = at;
	}
	if (!row || row->rule == UNWIND_UNKNOWN)
		return by_frame_pointer(env, frame);
step:
	if (row->rule == UNWIND_OUTERMOST)
		return 0;
	if (row->rule == UNWIND_SIGNAL)
		return through_signal(env, frame);
	return by_row(env, frame, row);
}
