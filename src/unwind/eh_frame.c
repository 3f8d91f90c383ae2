// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/eh_frame.h"

#include "arch/arch.h"
#include "base/code_map.h"
#include "unwind/generated.h"

/* Call frame instructions. */
enum {
	CFA_ADVANCE_LOC = 0x40, /* and how far, below 64 */
	CFA_ADVANCE_LOC4 = 0x04,
	CFA_OFFSET_EXTENDED_SF = 0x11,
	CFA_SAME_VALUE = 0x08,
	CFA_UNDEFINED = 0x07,
	CFA_DEF_CFA = 0x0c,
	CFA_DEF_CFA_EXPRESSION = 0x0f,
	CFA_EXPRESSION = 0x10,
	CFA_VAL_EXPRESSION = 0x16,
};

/* Operations of expressions. */
enum {
	OP_CONST1U = 0x08,
	OP_CONST8U = 0x0e,
	OP_DEREF = 0x06,
	OP_DUP = 0x12,
	OP_DROP = 0x13,
	OP_OVER = 0x14,
	OP_PICK = 0x15,
	OP_SWAP = 0x16,
	OP_MINUS = 0x1c,
	OP_MUL = 0x1e,
	OP_PLUS = 0x22,
	OP_PLUS_UCONST = 0x23,
	OP_BRA = 0x28,
	OP_EQ = 0x29,
	OP_SKIP = 0x2f,
	OP_LIT0 = 0x30,
	OP_BREG0 = 0x70,
	OP_DEREF_SIZE = 0x94,
};

static void put(struct eh_frame *out, u64 value, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++, out->size++) {
		if (out->bytes && out->size < out->capacity)
			out->bytes[out->size] = (u8)(value >> 8 * i);
	}
}

static void put_uleb(struct eh_frame *out, u64 value)
{
	do {
		put(out, (value & 0x7f) | (value > 0x7f ? 0x80 : 0), 1);
		value >>= 7;
	} while (value);
}

static void put_sleb(struct eh_frame *out, s64 value)
{
	bool more = true;

	while (more) {
		u8 byte = value & 0x7f;

		value >>= 7;
		more = !((value == 0 && !(byte & 0x40)) || (value == -1 && (byte & 0x40)));
		put(out, byte | (more ? 0x80u : 0), 1);
	}
}

static void set(struct eh_frame *out, u64 at, u64 value, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++) {
		if (out->bytes && at + i < out->capacity)
			out->bytes[at + i] = (u8)(value >> 8 * i);
	}
}

/* A branch whose target is not there yet: returns where its offset is. */
static u64 put_forward(struct eh_frame *out, u8 op)
{
	put(out, op, 1);
	put(out, 0, 2);
	return out->size - 2;
}

static void land(struct eh_frame *out, u64 branch)
{
	set(out, branch, out->size - branch - 2, 2);
}

static void put_back(struct eh_frame *out, u8 op, u64 target)
{
	put(out, op, 1);
	put(out, target - out->size - 2, 2);
}

static void put_pick(struct eh_frame *out, u8 index)
{
	put(out, OP_PICK, 1);
	put(out, index, 1);
}

/* Pushes the word of the entry whose address is on top, which stays. */
static void put_field(struct eh_frame *out, u32 offset)
{
	put(out, OP_DUP, 1);
	put(out, OP_PLUS_UCONST, 1);
	put_uleb(out, offset);
	put(out, OP_DEREF, 1);
}

/* [slot value stack i] -> [... slot value stack i entry] */
static void put_entry_address(struct eh_frame *out, const struct unwind_hooked *hooked)
{
	put(out, OP_OVER, 1);
	put(out, OP_OVER, 1);
	put(out, OP_CONST1U, 1);
	put(out, hooked->entry_size, 1);
	put(out, OP_MUL, 1);
	put(out, OP_PLUS, 1);
	put(out, OP_PLUS_UCONST, 1);
	put_uleb(out, hooked->entries);
}

/*
 * One entry: [slot value stack i]. When it is the slot's and its landing is the value, the value becomes its target. Elements are left
 * behind on the expression's stack then, four for each function that shares the slot.
 */
static void put_entry(struct eh_frame *out, const struct unwind_hooked *hooked, u64 loop)
{
	u64 same_slot, same_landing;

	put_entry_address(out, hooked);
	put_field(out, hooked->slot);
	put_pick(out, 5);
	put(out, OP_EQ, 1);
	same_slot = put_forward(out, OP_BRA);
	put(out, OP_DROP, 1);
	put_back(out, OP_SKIP, loop);
	land(out, same_slot);
	put_field(out, hooked->landing);
	put_pick(out, 4);
	put(out, OP_EQ, 1);
	same_landing = put_forward(out, OP_BRA);
	put(out, OP_DROP, 1);
	put_back(out, OP_SKIP, loop);
	land(out, same_landing);
	put(out, OP_PLUS_UCONST, 1);
	put_uleb(out, hooked->target);
	put(out, OP_DEREF, 1); /* slot value stack i target */
	put_pick(out, 4);
	put(out, OP_SWAP, 1); /* ... slot target */
	put_pick(out, 3);
	put_pick(out, 3);
	put_back(out, OP_SKIP, loop);
}

/*
 * The call in front of the return address that the word below the CFA stands for; the CFA is on the stack.
 *
 * The landing's frame ends where its caller's begins: with equal CFAs the C++ runtime would take one for the other, and find
 * no handler where it had found one. It tells frames from those that a signal interrupted, so the landing is said to be a signal's
 * frame. What a signal interrupted is at the very instruction, not behind it: hence the address before.
 */
static void put_lookup(struct eh_frame *out, const struct unwind_hooked *hooked)
{
	u64 next_stack, loop, more_stacks, more_entries, end;

	put(out, OP_DUP, 1); /* libgcc's DW_OP_pick does not reach the stack's last element */
	put(out, OP_LIT0 + 8, 1);
	put(out, OP_MINUS, 1);
	put(out, OP_DUP, 1);
	put(out, OP_DEREF, 1);
	put(out, OP_CONST8U, 1);
	put(out, hooked->list, 8);
	put(out, OP_DEREF, 1);
	next_stack = out->size; /* slot value stack */
	put(out, OP_DUP, 1);
	more_stacks = put_forward(out, OP_BRA);
	put(out, OP_DROP, 1);
	end = put_forward(out, OP_SKIP);
	land(out, more_stacks);
	put(out, OP_DUP, 1);
	put(out, OP_PLUS_UCONST, 1);
	put_uleb(out, hooked->top);
	put(out, OP_DEREF_SIZE, 1);
	put(out, 4, 1);
	loop = out->size; /* slot value stack i */
	put(out, OP_LIT0 + 1, 1);
	put(out, OP_MINUS, 1);
	put(out, OP_DUP, 1);
	more_entries = put_forward(out, OP_BRA);
	put(out, OP_DROP, 1);
	put(out, OP_DEREF, 1);
	put_back(out, OP_SKIP, next_stack);
	land(out, more_entries);
	put_entry(out, hooked, loop);
	land(out, end);
	put(out, OP_LIT0 + 1, 1);
	put(out, OP_MINUS, 1);
}

static u64 begin_record(struct eh_frame *out)
{
	put(out, 0, 4);
	return out->size;
}

static void end_record(struct eh_frame *out, u64 start)
{
	while (out->size % 8 != 4)
		put(out, 0, 1);
	put(out, 0, 4);
	set(out, start - 4, out->size - start, 4);
}

/* Returns where it begins, which FDEs count back to. hooked NULL: an ordinary frame. */
static u64 put_cie(struct eh_frame *out, const struct unwind_hooked *hooked)
{
	const struct arch *arch = arch_host();
	u64 start = begin_record(out), length;
	struct eh_frame counted = {0};

	put(out, 0, 4);
	put(out, 1, 1);
	put(out, 'z' | 'R' << 8 | (hooked ? 'S' << 16 : 0), hooked ? 4 : 3);
	put_uleb(out, 1);
	put_sleb(out, -8);
	put(out, arch->frame.return_column, 1);
	put_uleb(out, 1);
	put(out, 0, 1); /* addresses as they are */
	put(out, CFA_DEF_CFA, 1);
	put_uleb(out, arch->frame.dwarf[0]);
	put_uleb(out, 8);
	if (hooked) {
		put_lookup(&counted, hooked);
		length = counted.size;
		put(out, CFA_VAL_EXPRESSION, 1);
		put_uleb(out, arch->frame.return_column);
		put_uleb(out, length);
		put_lookup(out, hooked);
	} else {
		put(out, CFA_OFFSET_EXTENDED_SF, 1);
		put_uleb(out, arch->frame.return_column);
		put_sleb(out, 1);
	}
	end_record(out, start);
	return start - 4;
}

/* breg reg, offset */
static void put_breg(struct eh_frame *out, u8 reg, s64 offset)
{
	put(out, OP_BREG0 + arch_host()->frame.dwarf[reg], 1);
	put_sleb(out, offset);
}

static void put_cfa(struct eh_frame *out, const struct unwind_row *row)
{
	struct eh_frame counted = {0};

	if (row->rule == UNWIND_REGISTER && row->offset >= 0) {
		put(out, CFA_DEF_CFA, 1);
		put_uleb(out, arch_host()->frame.dwarf[row->reg]);
		put_uleb(out, (u32)row->offset);
		return;
	}
	put_breg(&counted, row->reg, row->offset);
	put(out, CFA_DEF_CFA_EXPRESSION, 1);
	put_uleb(out, counted.size + (row->rule == UNWIND_DEREF));
	put_breg(out, row->reg, row->offset);
	if (row->rule == UNWIND_DEREF)
		put(out, OP_DEREF, 1);
}

static void put_saved(struct eh_frame *out, const struct unwind_row *row, u8 reg)
{
	u8 dwarf = arch_host()->frame.dwarf[reg];
	s8 words = row->saved[reg - 1];
	struct eh_frame counted = {0};

	if (words == UNWIND_UNCHANGED) {
		put(out, CFA_SAME_VALUE, 1);
		put_uleb(out, dwarf);
	} else if (row->rule == UNWIND_DEREF) {
		put_breg(&counted, row->reg, words * 8);
		put(out, CFA_EXPRESSION, 1);
		put_uleb(out, dwarf);
		put_uleb(out, counted.size);
		put_breg(out, row->reg, words * 8);
	} else {
		put(out, CFA_OFFSET_EXTENDED_SF, 1);
		put_uleb(out, dwarf);
		put_sleb(out, -words);
	}
}

static bool can_say(const struct unwind_row *row)
{
	return row->rule == UNWIND_REGISTER || row->rule == UNWIND_DEREF;
}

/* From one row to the next; what stays is not said again. */
static void put_change(struct eh_frame *out, const struct unwind_row *old,
		       const struct unwind_row *row)
{
	if (old->rule != row->rule || old->reg != row->reg || old->offset != row->offset)
		put_cfa(out, row);
	for (u8 reg = 1; reg < UNWIND_REGS; reg++) {
		if (old->saved[reg - 1] != row->saved[reg - 1] ||
		    (old->rule != row->rule && row->saved[reg - 1] != UNWIND_UNCHANGED))
			put_saved(out, row, reg);
	}
}

static void put_advance(struct eh_frame *out, u32 bytes)
{
	if (bytes < 64) {
		put(out, CFA_ADVANCE_LOC | bytes, 1);
	} else {
		put(out, CFA_ADVANCE_LOC4, 1);
		put(out, bytes, 4);
	}
}

static void put_fde(struct eh_frame *out, const struct code_range *range, u64 cie)
{
	u64 start = begin_record(out);
	struct unwind_row last = {.rule = UNWIND_REGISTER, .offset = 8};
	struct unwind_fold fold;
	u32 at = 0;

	for (u32 i = 0; i < UNWIND_REGS - 1; i++)
		last.saved[i] = UNWIND_UNCHANGED;
	put(out, start - cie, 4);
	put(out, range->start, 8);
	put(out, range->size, 8);
	put_uleb(out, 0);
	unwind_fold_begin(&fold, range);
	for (u32 i = 0; i < range->count; i++) {
		unwind_fold_note(&fold, i);
		/* Of several notes at one place the last one's state counts. */
		if (i + 1 < range->count && range->notes[i + 1].at == range->notes[i].at)
			continue;
		if (!can_say(&fold.row))
			continue;
		if (range->notes[i].at != at) {
			put_advance(out, range->notes[i].at - at);
			at = range->notes[i].at;
		}
		put_change(out, &last, &fold.row);
		last = fold.row;
	}
	end_record(out, start);
}

u64 eh_frame_guess(const struct code_map *map)
{
	u64 size = 512;

	for (u32 i = 0; i < map->count; i++)
		size += 48 + 8 * map->ranges[i]->count;
	return size;
}

void eh_frame_write(struct eh_frame *out, const struct code_map *map,
		    const struct unwind_hooked *hooked)
{
	u64 plain = put_cie(out, NULL), with_lookup = put_cie(out, hooked);

	for (u32 i = 0; i < map->count; i++) {
		const struct code_range *range = map->ranges[i];
		bool is_hooked = range->count && range->notes[0].kind == FRAME_HOOKED;

		put_fde(out, range, is_hooked ? with_lookup : plain);
	}
	put(out, 0, 4);
}
