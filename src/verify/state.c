/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers, frames and states as values. */
#include "verify/state.h"

#include <stdlib.h>
#include <string.h>

void reg_set_none(struct reg *reg)
{
	memset(reg, 0, sizeof(*reg));
	reg->type = REG_NONE;
	scalar_set_unknown(&reg->s);
}

void reg_set_unknown(struct reg *reg)
{
	reg_set_none(reg);
	reg->type = REG_SCALAR;
}

void reg_set_const(struct reg *reg, u64 value)
{
	memset(reg, 0, sizeof(*reg));
	reg->type = REG_SCALAR;
	scalar_set_const(&reg->s, value);
}

void reg_set_pointer(struct reg *reg, enum reg_type type)
{
	reg_set_const(reg, 0);
	reg->type = (u8)type;
}

int frame_need_slot(struct frame *frame, u32 slot)
{
	struct slot *slots;

	if (slot < frame->slot_cnt)
		return 0;
	slots = realloc(frame->slots, (slot + 1) * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	frame->slots = slots;
	for (; frame->slot_cnt <= slot; frame->slot_cnt++) {
		memset(&slots[frame->slot_cnt], 0, sizeof(*slots));
		reg_set_none(&slots[frame->slot_cnt].spill);
	}
	return 0;
}

struct frame *frame_new(u32 number, u32 subprog, u32 callsite)
{
	struct frame *frame = calloc(1, sizeof(*frame));

	if (!frame)
		return NULL;
	frame->number = number;
	frame->subprog = subprog;
	frame->callsite = callsite;
	for (u32 i = 0; i < REG_CNT; i++)
		reg_set_none(&frame->regs[i]);
	reg_set_pointer(&frame->regs[REG_FP], PTR_STACK);
	frame->regs[REG_FP].frame = number;
	return frame;
}

void frame_free(struct frame *frame)
{
	if (!frame)
		return;
	free(frame->slots);
	free(frame);
}

static struct frame *copy_frame(const struct frame *from)
{
	struct frame *to = malloc(sizeof(*to));

	if (!to)
		return NULL;
	*to = *from;
	to->slots = NULL;
	if (from->slot_cnt) {
		to->slots = malloc(from->slot_cnt * sizeof(*to->slots));
		if (!to->slots) {
			free(to);
			return NULL;
		}
		memcpy(to->slots, from->slots, from->slot_cnt * sizeof(*to->slots));
	}
	return to;
}

void state_done(struct state *state)
{
	for (u32 i = 0; i < INSN_MAX_FRAMES; i++) {
		frame_free(state->frames[i]);
		state->frames[i] = NULL;
	}
	state->depth = 0;
}

int state_copy(struct state *to, const struct state *from)
{
	state_done(to);
	*to = *from;
	memset(to->frames, 0, sizeof(to->frames));
	for (u32 i = 0; i < from->depth; i++) {
		to->frames[i] = copy_frame(from->frames[i]);
		if (!to->frames[i]) {
			state_done(to);
			return -ENOMEM;
		}
	}
	return 0;
}

void state_each_reg(struct verifier *env, struct state *state, state_visit visit, void *arg)
{
	for (u32 f = 0; f < state->depth; f++) {
		struct frame *frame = state->frames[f];

		for (u32 i = 0; i < REG_FP; i++)
			visit(env, &frame->regs[i], arg);
		for (u32 i = 0; i < frame->slot_cnt; i++) {
			if (frame->slots[i].kind[0] == BYTE_SPILL)
				visit(env, &frame->slots[i].spill, arg);
		}
	}
}
