// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/generated.h"

#include "arch/arch.h"
#include "unwind/modules.h"

#define NO_REGISTER 0xff

static u8 find_reg(u8 encoder)
{
	const struct arch *arch = arch_host();

	for (u8 i = 0; i < arch->frame.count; i++) {
		if (arch->frame.encoder[i] == encoder)
			return i;
	}
	return NO_REGISTER;
}

static void forget_saved(struct unwind_row *row)
{
	for (u32 i = 0; i < UNWIND_REGS - 1; i++)
		row->saved[i] = UNWIND_UNCHANGED;
}

static void follow_function(u64 address, struct unwind_row *row)
{
	bool known;
	const struct unwind_row *found = unwind_modules_find(address, &known);

	if (found)
		*row = *found;
	else
		row->rule = UNWIND_UNKNOWN;
}

static void set_saved(struct unwind_row *row, u8 reg, s8 words)
{
	if (reg != NO_REGISTER && reg > 0)
		row->saved[reg - 1] = words;
}

void unwind_fold_begin(struct unwind_fold *fold, const struct code_range *range)
{
	fold->range = range;
	fold->row = (struct unwind_row){.rule = UNWIND_UNKNOWN};
	fold->displaced = false;
	forget_saved(&fold->row);
}

static void set_cfa(struct unwind_fold *fold, const struct frame_note *note)
{
	u8 reg = find_reg(note->reg);

	if (fold->displaced)
		forget_saved(&fold->row);
	fold->displaced = false;
	fold->row.rule = reg == NO_REGISTER ? UNWIND_UNKNOWN : UNWIND_REGISTER;
	fold->row.reg = reg;
	fold->row.offset = note->offset;
}

void unwind_fold_note(struct unwind_fold *fold, u32 index)
{
	const struct frame_note *note = &fold->range->notes[index];
	struct unwind_row *row = &fold->row;

	switch (note->kind) {
	case FRAME_CFA:
		set_cfa(fold, note);
		break;
	case FRAME_SAVED:
		set_saved(row, find_reg(note->reg), (s8)(note->offset / 8));
		break;
	case FRAME_RESTORED:
		set_saved(row, find_reg(note->reg), UNWIND_UNCHANGED);
		break;
	case FRAME_DISPLACED:
		fold->displaced = true;
		follow_function(fold->range->window + (u64)(s64)note->offset, row);
		break;
	case FRAME_PUSHED:
		if (row->rule == UNWIND_REGISTER && row->reg == 0)
			row->offset += note->offset;
		break;
	default:
		break;
	}
}

bool unwind_generated_row(u64 pc, struct unwind_row *ret_row)
{
	const struct code_range *range = code_map_find(pc);
	struct unwind_fold fold;

	if (!range)
		return false;
	unwind_fold_begin(&fold, range);
	for (u32 i = 0; i < range->count && range->notes[i].at <= pc - range->start; i++)
		unwind_fold_note(&fold, i);
	*ret_row = fold.row;
	return true;
}
