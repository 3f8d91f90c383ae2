/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One program on its way to machine code, as the JIT driver (exec/jit.c) hands it to a CPU's selector.
 *
 * Passes: the driver emits the whole program again and again. Offsets below are those of the pass before; sizes only
 * shrink from pass to pass, and when two passes agree the code is right. In the first pass far is set: the
 * offsets mean nothing, every branch takes its longest form.
 *
 * References are resolved before: values[i] is the 64-bit constant of the LD_IMM64 at i, or the address of the
 * helper called at i.
 *
 * Tail calls: one at i whose map and key are constant has values[i] = 1 + its number in tails, and its code has two
 * patchable branches, each inside an aligned word:
 *
 *   bypass: jmp out | nop;  count;  unwind the frame;  target: nop | jmp entry of the other program;  out:
 *
 * A callback's address is that of an entry of its own, emitted before its prologue, which C calls: the helper in between has had
 * the registers for itself, so what the callback's run has used up of its tail calls is not known there, and all tail calls that
 * it leads to fall through. (A count from 0 would let programs recurse without end.)
 *
 * It is emitted as {jmp out, nop}; exec/tail.c changes it. Others have values[i] = 0 and read the map's slots.
 */
#ifndef INLAY_ARCH_JIT_UNIT_H
#define INLAY_ARCH_JIT_UNIT_H

#include <linux/bpf.h>

#include "base/types.h"
#include "format/insn.h"

struct jit_sub {
	u32 start, end;	 /* its instructions: [start, end) */
	u32 stack_depth; /* bytes, multiple of 8 */
	u16 used;	 /* bit per BPF register that it names, and JIT_NEAR_* */
	u64 near;	 /* with JIT_NEAR_*: a constant that its loops need, or need ones near to */
	bool from_c;	 /* C calls it: the main program, callbacks */
	bool callback;	 /* C calls it too, and subprograms make tail calls: see below */
	u32 may_goto; /* 0, or how far below the frame pointer the u64 is that counts what is left to may_goto */
	bool calls;   /* calls something: the stack must be aligned for it */
	u32 entry;    /* offset of its prologue */
	u32 epilogue; /* offset of its epilogue */
};

/*
 * A helper's call done without calling: r0 = base + key * stride + slot * slot_stride, or 0 where the key or the slot is not
 * below its count. A part whose count is 0 is left out.
 */
struct jit_in_place {
	u64 base;
	u32 count, stride;	/* key: the u32 that r2 points to */
	u32 slots, slot_stride; /* slot: as percpu_slot() says (sync/percpu.h) */
};

/* Offsets in the code, written by the selector. */
struct jit_tail {
	u32 bypass, target, out;
};

/*
 * Registers beyond BPF's, for jit_sub.near: one that calls and divisions leave alone, for subprograms that have some (programs with
 * tail calls lack it), and one for others. Constants are near if their difference is below JIT_NEAR_REACH.
 */
#define JIT_NEAR_KEPT  11
#define JIT_NEAR_FREE  12
#define JIT_NEAR_REACH (1 << 29)
/* A register for the constant of an instruction that is JIT_BLINDED. */
#define JIT_BLIND_REG 13

/* Bits of targets. */
#define JIT_TARGET	1 /* control comes here from elsewhere than the instruction before */
#define JIT_LOOP_HEAD	2 /* it comes from behind */
#define JIT_DIRECT_TAIL 4 /* a tail call that reads neither map nor key */
#define JIT_IN_PLACE                                                                               \
	8 /* a helper's call that reads nothing: values[i] is the number of its struct jit_in_place */
#define JIT_READS_KEY 16 /* with JIT_IN_PLACE: reads r2 */
#define JIT_BLINDED                                                                                \
	32 /* values[i], a constant that is not to be in the code, goes to JIT_BLIND_REG or is an LD_IMM64\'s */

#define JIT_FEATURE_BMI2 (1u << 0) /* x86-64: shifts by any register */
#define JIT_FEATURE_LSE	 (1u << 1) /* arm64: atomics of one instruction */

struct jit_unit {
	const struct bpf_insn *insns;
	u32 insn_cnt;
	const struct jit_sub *subs;
	u32 sub_cnt;
	const u64 *values;
	const u32 *offsets; /* code offset of each instruction */
	const u16 *
		live; /* bit per BPF register that is read behind each instruction before it is written */
	const u8 *targets; /* JIT_TARGET and so on */
	const struct jit_in_place *in_place;
	bool far;
	u32 features;	 /* JIT_FEATURE_* that may be used */
	bool tail_calls; /* the program makes some: it is entered through arch->jit.entry */
	u64 blind_key;	 /* random: what blinded constants are hidden with */
	bool retpolines; /* no indirect branch that is predicted */
	u32 tail_slots;	 /* offset in a map's handle of the pointer to its struct tail_slots */
	struct jit_tail *tails; /* one a direct tail call */
	s64 reader_tls;	 /* offset of the reader pointer (sync/reader.h) from the thread pointer */
	u64 percpu_slot; /* address of percpu_slot() */
	u64 fault_load;	 /* address of fault_load() */
	u64 helper_lookup; /* address of exec_env.helper, for a call through a register */
	u32 (*helper_clobbers)(u32 id); /* NULL: every caller-saved register */
};

/* The subprogram that contains the instruction. */
static inline const struct jit_sub *jit_unit_sub(const struct jit_unit *unit, u32 index)
{
	u32 low = 0, high = unit->sub_cnt;

	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (unit->subs[middle].start <= index)
			low = middle;
		else
			high = middle;
	}
	return &unit->subs[low];
}

/* Where the jump at index goes. */
static inline s64 jit_unit_target(const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];

	return (s64)index + 1 + (insn->code == (BPF_JMP32 | BPF_JA) ? insn->imm : insn->off);
}

/* Is the conditional jump at index one over an unconditional one, which nothing else comes to? *ret_target: of that. */
static inline bool jit_unit_jumps_over_jump(const struct jit_unit *unit, u32 index, s64 *ret_target)
{
	const struct bpf_insn *over = &unit->insns[index + 1];
	s64 target;

	if (unit->insns[index].off != 1 || index + 2 >= jit_unit_sub(unit, index)->end ||
	    unit->targets[index + 1] ||
	    (over->code != (BPF_JMP | BPF_JA) && over->code != (BPF_JMP32 | BPF_JA)))
		return false;
	target = jit_unit_target(unit, index + 1);
	if (target < 0 || target >= unit->insn_cnt)
		return false;
	*ret_target = target;
	return true;
}

#endif
