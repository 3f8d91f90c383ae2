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

static void apply(const struct code_range *range, const struct frame_note *note, bool *displaced,
		  struct unwind_row *row)
{
	switch (note->kind) {
	case FRAME_CFA:
		if (*displaced)
			forget_saved(row);
		*displaced = false;
		row->rule = UNWIND_REGISTER;
		row->reg = find_reg(note->reg);
		row->offset = note->offset;
		break;
	case FRAME_SAVED:
		set_saved(row, find_reg(note->reg), (s8)(note->offset / 8));
		break;
	case FRAME_RESTORED:
		set_saved(row, find_reg(note->reg), UNWIND_UNCHANGED);
		break;
	case FRAME_DISPLACED:
		*displaced = true;
		follow_function(range->window + (u64)(s64)note->offset, row);
		break;
	case FRAME_PUSHED:
		if (row->rule == UNWIND_REGISTER && row->reg == 0)
			row->offset += note->offset;
		break;
	default:
		break;
	}
}

void unwind_generated_fold(const struct code_range *range, u32 count, struct unwind_row *ret_row)
{
	struct unwind_row row = {.rule = UNWIND_UNKNOWN};
	bool displaced = false;

	forget_saved(&row);
	for (u32 i = 0; i < count; i++)
		apply(range, &range->notes[i], &displaced, &row);
	if (row.reg == NO_REGISTER)
		row.rule = UNWIND_UNKNOWN;
	*ret_row = row;
}

bool unwind_generated_row(u64 pc, struct unwind_row *ret_row)
{
	const struct code_range *range = code_map_find(pc);
	u32 count = 0;

	if (!range)
		return false;
	while (count < range->count && range->notes[count].at <= pc - range->start)
		count++;
	unwind_generated_fold(range, count, ret_row);
	return true;
}
