/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/fde.h"

#include "binary/frame_records.h"

#include <errno.h>
#include <stdlib.h>

#define DWARF_RSP 7

struct fde_list {
	struct fde *rows;
	size_t count, capacity;
};

/* The rule for the canonical frame address that the instructions up to the first advance leave. */
struct cfa {
	u64 reg, offset;
	bool known;
};

static void skip_block(struct cursor *cursor)
{
	cursor_skip(cursor, cursor_uleb(cursor));
}

/* One instruction with extended opcode. Returns false where the first row ends. */
static bool run_extended(struct cursor *cursor, u8 opcode, struct cfa *cfa)
{
	switch (opcode) {
	case 0x00: /* nop */
	case 0x0a: /* remember, restore state */
	case 0x0b:
	case 0x2d:
		return true;
	case 0x02: /* advances by nothing go on */
		return cursor_fixed(cursor, 1) == 0;
	case 0x03:
		return cursor_fixed(cursor, 2) == 0;
	case 0x04:
		return cursor_fixed(cursor, 4) == 0;
	case 0x06: /* one operand */
	case 0x07:
	case 0x08:
	case 0x2e:
		cursor_uleb(cursor);
		return true;
	case 0x05: /* two */
	case 0x09:
	case 0x11:
	case 0x14:
	case 0x15:
		cursor_uleb(cursor);
		cursor_uleb(cursor);
		return true;
	case 0x0c:
		cfa->reg = cursor_uleb(cursor);
		cfa->offset = cursor_uleb(cursor);
		cfa->known = true;
		return true;
	case 0x0d:
		cfa->reg = cursor_uleb(cursor);
		return true;
	case 0x0e:
		cfa->offset = cursor_uleb(cursor);
		return true;
	case 0x0f:
		skip_block(cursor);
		cfa->known = false;
		return true;
	case 0x10:
	case 0x16:
		cursor_uleb(cursor);
		skip_block(cursor);
		return true;
	default: /* set_loc, signed forms, unknown */
		if (opcode != 0x01)
			cfa->known = false;
		return false;
	}
}

/* Runs call frame instructions up to the first that is not about the first address. */
static bool run_first_row(const u8 *from, const u8 *to, struct cfa *cfa)
{
	struct cursor cursor = {.at = from, .end = to, .base = from};

	while (cursor.at < cursor.end && !cursor.bad) {
		u8 opcode = (u8)cursor_fixed(&cursor, 1);

		if ((opcode & 0xc0) == 0x40) {
			if (opcode & 0x3f)
				return true;
		} else if ((opcode & 0xc0) == 0x80) {
			cursor_uleb(&cursor);
		} else if (!(opcode & 0xc0) && !run_extended(&cursor, opcode, cfa)) {
			return true;
		}
	}
	return !cursor.bad;
}

static bool is_called_frame(const struct cie *cie, const u8 *from, const u8 *to)
{
	struct cfa cfa = {};

	return run_first_row(cie->instructions, cie->end, &cfa) && run_first_row(from, to, &cfa) &&
	       cfa.known && cfa.reg == DWARF_RSP && cfa.offset == 8;
}

static int append(struct fde_list *list, const struct fde *fde)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 1024;
		struct fde *rows = realloc(list->rows, capacity * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		list->rows = rows;
		list->capacity = capacity;
	}
	list->rows[list->count++] = *fde;
	return 0;
}

static int add_record(const struct frame_record *record, void *arg)
{
	struct fde fde = {
		.start = record->start,
		.end = record->end,
		.is_entry = is_called_frame(record->cie, record->instructions,
					    record->instructions_end),
		.is_signal = record->cie->is_signal,
	};

	return append(arg, &fde);
}

static int compare_starts(const void *a, const void *b)
{
	const struct fde *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

int fde_read_all(const struct elf_file *elf, struct fde **ret_fdes, size_t *ret_count)
{
	struct fde_list list = {};
	int err = frame_records_visit(elf, add_record, &list);

	if (err) {
		free(list.rows);
		return err;
	}
	if (list.count)
		qsort(list.rows, list.count, sizeof(*list.rows), compare_starts);
	*ret_fdes = list.rows;
	*ret_count = list.count;
	return 0;
}

const struct fde *fde_find(const struct fde *fdes, size_t count, u64 address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (fdes[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address < fdes[low - 1].end ? &fdes[low - 1] : NULL;
}
