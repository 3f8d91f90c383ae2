/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stack slots. A slot is 8 aligned bytes; it holds a spilled register in its first 1, 2, 4 or 8 bytes (pointers: always 8),
 * or data of which each byte is unknown, zero or was never written.
 */
#include "verify/stack.h"

#include <string.h>

#include "verify/log.h"
#include "verify/state.h"

static u32 slot_of(s64 off)
{
	return (u32)((-off - 1) / SLOT_SIZE);
}

static u32 byte_of(s64 off)
{
	return (u32)(off + (s64)SLOT_SIZE * (slot_of(off) + 1));
}

static struct frame *frame_of(struct verifier *env, int regno)
{
	return env->state->frames[running_regs(env)[regno].frame];
}

u32 stack_spill_size(const struct slot *slot)
{
	u32 size = 0;

	while (size < SLOT_SIZE && slot->kind[size] == BYTE_SPILL)
		size++;
	return size;
}

int stack_check_bounds(struct verifier *env, int regno, s32 off, s64 size, enum stack_access access)
{
	const char *word = access == STACK_READ ? "read from" : "write to";
	const struct reg *reg = &running_regs(env)[regno];
	bool fixed = scalar_is_const(&reg->s);
	s64 base = (s64)reg->off + off, min, max;
	char text[TNUM_TEXT_MAX];
	int err = 0;

	if (!fixed && (reg->s.smax >= MAX_VAR_OFF || reg->s.smin <= -MAX_VAR_OFF))
		return verify_reject(env, WHY_STACK_BOUNDS, regno, -EACCES,
				     "invalid unbounded variable-offset %s stack R%d", word, regno);
	min = base + (fixed ? (s64)reg->s.bits.value : reg->s.smin);
	max = base + (fixed ? (s64)reg->s.bits.value : reg->s.smax) + size;
	if (min < -INSN_MAX_STACK || min >= 0)
		err = -EACCES;
	else if (max > 0 || size < 0)
		err = -EINVAL;
	if (!err)
		return 0;
	if (fixed)
		return verify_reject(env, WHY_STACK_BOUNDS, regno, err,
				     "invalid %s stack R%d off=%lld size=%lld", word, regno,
				     (long long)min, (long long)size);
	return verify_reject(env, WHY_STACK_BOUNDS, regno, err,
			     "invalid variable-offset %s stack R%d var_off=%s off=%lld size=%lld",
			     word, regno, tnum_text(reg->s.bits, text), (long long)base,
			     (long long)size);
}

/* What remains of a spill when one of its bytes is overwritten is unknown data. */
static void scrub(struct slot *slot)
{
	for (u32 i = 0; i < SLOT_SIZE; i++) {
		if (slot->kind[i] == BYTE_SPILL)
			slot->kind[i] = BYTE_MISC;
	}
	reg_set_none(&slot->spill);
}

static void note_depth(struct verifier *env, const struct frame *frame, s64 off)
{
	struct subprog *subprog = &env->subprogs[frame->subprog];
	u32 depth = (u32)-off;

	subprog->stack_depth = MAX(subprog->stack_depth, depth);
}

static bool fits(const struct reg *value, u32 size)
{
	return size == 8 || value->s.umax < 1ull << (8 * size);
}

static void spill(struct verifier *env, struct slot *slot, const struct reg *value, u32 size)
{
	slot->spill = *value;
	if (!fits(value, size))
		slot->spill.id = 0;
	for (u32 i = 0; i < SLOT_SIZE; i++) {
		if (i < size)
			slot->kind[i] = BYTE_SPILL;
		else if (slot->kind[i] == BYTE_SPILL ||
			 (slot->kind[i] == BYTE_INVALID && env->allow_uninit_stack))
			slot->kind[i] = BYTE_MISC;
	}
}

static int write_fixed(struct verifier *env, struct frame *frame, s64 off, u32 size,
		       const struct reg *value)
{
	struct slot *slot;
	bool pointer = value && reg_is_pointer(value);
	bool zero = value && reg_is_null(value);
	int err = frame_need_slot(frame, slot_of(off));

	if (err)
		return err;
	note_depth(env, frame, off);
	slot = &frame->slots[slot_of(off)];
	if (!env->privileged && stack_spill_size(slot) == 8 && reg_is_pointer(&slot->spill) &&
	    size != 8)
		return verify_reject(env, WHY_SPILL, -1, -EACCES,
				     "attempt to corrupt spilled pointer on stack");
	if (pointer && size != 8)
		return verify_reject(env, WHY_SPILL, -1, -EACCES, "invalid size of register spill");
	if (pointer && value->type == PTR_STACK && frame != running(env))
		return verify_reject(
			env, WHY_SPILL, -1, -EINVAL,
			"cannot spill pointers to stack into stack frame of the caller");
	env->logged_slots |= frame == running(env) ? 1ull << slot_of(off) : 0;
	if (value && !byte_of(off) && size <= 8 && (pointer || env->privileged || size == 8)) {
		spill(env, slot, value, size);
		return 0;
	}
	for (s64 at = off; at < off + size; at++) {
		slot = &frame->slots[slot_of(at)];
		if (stack_spill_size(slot))
			scrub(slot);
		slot->kind[byte_of(at)] = zero ? BYTE_ZERO : BYTE_MISC;
	}
	return 0;
}

static int write_variable(struct verifier *env, int regno, s32 off, u32 size,
			  const struct reg *value)
{
	const struct reg *reg = &running_regs(env)[regno];
	struct frame *frame = frame_of(env, regno);
	s64 min = reg->off + off + reg->s.smin, max = reg->off + off + reg->s.smax + size;
	bool zero = value && reg_is_null(value);
	int err = frame_need_slot(frame, slot_of(min));

	if (err)
		return err;
	note_depth(env, frame, min);
	for (s64 at = min; at < max; at++) {
		struct slot *slot = &frame->slots[slot_of(at)];
		u8 *kind = &slot->kind[byte_of(at)];

		if (*kind == BYTE_SPILL && !env->privileged && reg_is_pointer(&slot->spill))
			return verify_reject(
				env, WHY_SPILL, regno, -EINVAL,
				"spilled ptr in range of var-offset stack write; insn %u, ptr off: %lld",
				env->insn, (long long)at);
		if (*kind == BYTE_SPILL && zero && reg_is_null(&slot->spill))
			continue;
		if (*kind == BYTE_INVALID && !env->allow_uninit_stack)
			return verify_reject(
				env, WHY_UNINIT_STACK, regno, -EINVAL,
				"uninit stack in range of var-offset write prohibited for !root; insn %u, off: %lld",
				env->insn, (long long)at);
		env->logged_slots |= frame == running(env) ? 1ull << slot_of(at) : 0;
		if (stack_spill_size(slot))
			scrub(slot);
		*kind = zero && *kind == BYTE_ZERO ? BYTE_ZERO : BYTE_MISC;
	}
	return 0;
}

int stack_write(struct verifier *env, int regno, s32 off, u32 size, const struct reg *value)
{
	const struct reg *reg = &running_regs(env)[regno];

	if (scalar_is_const(&reg->s))
		return write_fixed(env, frame_of(env, regno),
				   (s64)reg->off + off + (s64)reg->s.bits.value, size, value);
	return write_variable(env, regno, off, size, value);
}

static enum byte_kind kind_at(const struct frame *frame, s64 off)
{
	u32 slot = slot_of(off);

	return slot < frame->slot_cnt ? frame->slots[slot].kind[byte_of(off)] : BYTE_INVALID;
}

/* Bytes that are no whole spill: a number, zero when every byte is. */
static int read_bytes(struct verifier *env, const struct frame *frame, s64 off, u32 size, int dst)
{
	u32 zeros = 0;

	for (s64 at = off; at < off + size; at++) {
		enum byte_kind kind = kind_at(frame, at);
		const struct slot *slot = kind == BYTE_SPILL ? &frame->slots[slot_of(at)] : NULL;

		if (kind == BYTE_INVALID && !env->allow_uninit_stack)
			return verify_reject(env, WHY_UNINIT_STACK, -1, -EACCES,
					     "invalid read from stack off %lld+%lld size %u",
					     (long long)off, (long long)(at - off), size);
		zeros += kind == BYTE_ZERO || (slot && reg_is_null(&slot->spill));
	}
	if (dst < 0)
		return 0;
	if (zeros == size)
		reg_set_const(&running_regs(env)[dst], 0);
	else
		reg_set_unknown(&running_regs(env)[dst]);
	return 0;
}

static int read_fixed(struct verifier *env, const struct frame *frame, s64 off, u32 size, int dst)
{
	const struct slot *slot =
		slot_of(off) < frame->slot_cnt ? &frame->slots[slot_of(off)] : NULL;
	u32 spilled = slot ? stack_spill_size(slot) : 0;
	bool whole = spilled == size && !byte_of(off);

	if (!spilled || slot->spill.type == REG_NONE)
		return read_bytes(env, frame, off, size, dst);
	if (reg_is_pointer(&slot->spill)) {
		if (size != 8 || byte_of(off))
			return verify_reject(env, WHY_SPILL, -1, -EACCES,
					     "invalid size of register fill");
		if (dst >= 0)
			running_regs(env)[dst] = slot->spill;
		else if (!env->privileged)
			return verify_reject(env, WHY_SPILL, -1, -EACCES,
					     "leaking pointer from stack off %lld", (long long)off);
		return 0;
	}
	if (byte_of(off) || size > spilled)
		return read_bytes(env, frame, off, size, dst);
	if (dst < 0)
		return 0;
	running_regs(env)[dst] = slot->spill;
	if (!fits(&slot->spill, size)) {
		running_regs(env)[dst].id = 0;
		scalar_zext(&running_regs(env)[dst].s, size);
	} else if (!whole) {
		running_regs(env)[dst].id = slot->spill.id;
	}
	return 0;
}

int stack_read(struct verifier *env, int regno, s32 off, u32 size, int dst)
{
	const struct reg *reg = &running_regs(env)[regno];
	const struct frame *frame = frame_of(env, regno);
	s64 min = (s64)reg->off + off + reg->s.smin, max = (s64)reg->off + off + reg->s.smax;
	char text[TNUM_TEXT_MAX];

	if (scalar_is_const(&reg->s)) {
		note_depth(env, frame, min);
		return read_fixed(env, frame, min, size, dst);
	}
	if (!env->privileged)
		return verify_reject(
			env, WHY_STACK_BOUNDS, regno, -EACCES,
			"R%d variable stack access prohibited for !root, var_off=%s off=%d", regno,
			tnum_text(reg->s.bits, text), off);
	note_depth(env, frame, min);
	return read_bytes(env, frame, min, (u32)(max - min) + size, dst);
}

static int helper_bytes(struct verifier *env, int regno, s64 min, s64 max, enum stack_helper mode,
			u32 size)
{
	const struct reg *reg = &running_regs(env)[regno];
	struct frame *frame = frame_of(env, regno);
	char text[TNUM_TEXT_MAX];
	bool fixed = scalar_is_const(&reg->s);

	for (s64 at = min; at < max; at++) {
		struct slot *slot =
			slot_of(at) < frame->slot_cnt ? &frame->slots[slot_of(at)] : NULL;
		enum byte_kind kind = kind_at(frame, at);

		if (kind == BYTE_SPILL && (env->privileged || slot->spill.type == REG_SCALAR)) {
			if (mode == STACK_HELPER_WRITES)
				scrub(slot);
			continue;
		}
		if (mode == STACK_HELPER_WRITES && fixed && slot) {
			if (kind == BYTE_SPILL)
				scrub(slot);
			slot->kind[byte_of(at)] = BYTE_MISC;
			continue;
		}
		if (kind == BYTE_MISC || kind == BYTE_ZERO ||
		    (kind == BYTE_INVALID && env->allow_uninit_stack)) {
			if (mode == STACK_HELPER_WRITES && slot)
				slot->kind[byte_of(at)] = BYTE_MISC;
			continue;
		}
		if (fixed)
			return verify_reject(env, WHY_UNINIT_STACK, regno, -EACCES,
					     "invalid read from stack R%d off %lld+%lld size %u",
					     regno, (long long)min, (long long)(at - min), size);
		return verify_reject(env, WHY_UNINIT_STACK, regno, -EACCES,
				     "invalid read from stack R%d var_off %s+%lld size %u", regno,
				     tnum_text(reg->s.bits, text), (long long)(at - min), size);
	}
	return 0;
}

int stack_helper_access(struct verifier *env, int regno, s64 size, enum stack_helper mode,
			bool zero_ok)
{
	const struct reg *reg = &running_regs(env)[regno];
	struct frame *frame = frame_of(env, regno);
	s64 min, max;
	char text[TNUM_TEXT_MAX];
	int err;

	if (!size && !zero_ok)
		return verify_reject(env, WHY_HELPER_SIZE, regno, -EACCES,
				     "invalid zero-sized read");
	err = stack_check_bounds(env, regno, 0, size,
				 mode == STACK_HELPER_WRITES ? STACK_WRITE : STACK_READ);
	if (err)
		return err;
	min = (s64)reg->off + (scalar_is_const(&reg->s) ? (s64)reg->s.bits.value : reg->s.smin);
	max = (s64)reg->off + (scalar_is_const(&reg->s) ? (s64)reg->s.bits.value : reg->s.smax) +
	      size;
	if (!scalar_is_const(&reg->s) && !env->privileged)
		return verify_reject(
			env, WHY_STACK_BOUNDS, regno, -EACCES,
			"R%d indirect variable offset stack access prohibited for !root, var_off=%s",
			regno, tnum_text(reg->s.bits, text));
	if (!size)
		return 0;
	note_depth(env, frame, min);
	err = mode == STACK_HELPER_WRITES ? frame_need_slot(frame, slot_of(min)) : 0;
	return err ? err : helper_bytes(env, regno, min, max, mode, (u32)size);
}
