/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs the call frame instructions of every record and writes a row wherever the rules change. What a row cannot say (a CFA
 * in a register that is not followed, an arbitrary expression) becomes UNWIND_UNKNOWN for those addresses only.
 */
#include "binary/unwind_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "binary/elf_file.h"
#include "binary/frame_records.h"

#define MAX_REMEMBERED 16
#define NO_REGISTER    0xff

/* Opcodes of expressions that rows can say. */
enum {
	OP_DEREF = 0x06,
	OP_AND = 0x1a,
	OP_PLUS = 0x22,
	OP_SHL = 0x24,
	OP_GE = 0x2a,
	OP_LIT0 = 0x30,
	OP_LIT15 = 0x3f,
	OP_BREG0 = 0x70,
};

/* The rules at one address. Offsets in bytes; INT64_MIN: unchanged, INT64_MIN + 1: not to be had. */
#define KEPT INT64_MIN
#define LOST (INT64_MIN + 1)

struct rules {
	u8 rule, reg; /* of the CFA */
	s64 offset;
	s64 saved[UNWIND_REGS];
	bool from_reg[UNWIND_REGS]; /* the offset counts from the CFA's register */
	bool outermost;
};

struct builder {
	const struct arch *arch;
	struct unwind_row *rows;
	size_t count, capacity;
	int error;
};

/* One record being run. */
struct run {
	struct builder *builder;
	const struct frame_record *record;
	struct cursor cursor;
	struct rules now, initial;
	struct rules remembered[MAX_REMEMBERED];
	u32 depth;
	u64 pc;
};

static u8 find_reg(const struct arch *arch, u64 dwarf)
{
	for (u8 i = 0; i < arch->frame.count; i++) {
		if (arch->frame.dwarf[i] == dwarf)
			return i;
	}
	return NO_REGISTER;
}

static void add_row(struct builder *builder, const struct unwind_row *row)
{
	if (builder->count == builder->capacity) {
		size_t capacity = builder->capacity ? builder->capacity * 2 : 4096;
		struct unwind_row *rows = realloc(builder->rows, capacity * sizeof(*rows));

		if (!rows) {
			builder->error = -ENOMEM;
			return;
		}
		builder->rows = rows;
		builder->capacity = capacity;
	}
	builder->rows[builder->count++] = *row;
}

/* Registers that a row can place; false: what the rules say does not fit. */
static bool fill_saved(const struct rules *rules, struct unwind_row *row)
{
	for (u32 i = 1; i < UNWIND_REGS; i++) {
		s64 offset = rules->saved[i];
		bool from_reg = rules->rule == UNWIND_DEREF;

		if (offset == KEPT)
			continue;
		if (offset == LOST || offset % 8 || offset / 8 < -127 || offset / 8 > 127 ||
		    rules->from_reg[i] != from_reg)
			return false;
		row->saved[i - 1] = (s8)(offset / 8);
	}
	return true;
}

static void emit(struct run *run)
{
	const struct rules *now = &run->now;
	struct unwind_row row = {.pc = (u32)run->pc, .rule = now->rule, .reg = now->reg};

	memset(row.saved, UNWIND_UNCHANGED, sizeof(row.saved));
	if (now->outermost) {
		row.rule = UNWIND_OUTERMOST;
	} else if (run->record->cie->is_signal) {
		row.rule = UNWIND_SIGNAL;
	} else if (now->rule != UNWIND_UNKNOWN) {
		row.offset = (s32)now->offset;
		if (now->offset != row.offset || now->reg == NO_REGISTER || !fill_saved(now, &row))
			row.rule = UNWIND_UNKNOWN;
	}
	if (row.rule != UNWIND_REGISTER && row.rule != UNWIND_DEREF && row.rule != UNWIND_PLT) {
		row.reg = 0;
		memset(row.saved, UNWIND_UNCHANGED, sizeof(row.saved));
	}
	add_row(run->builder, &row);
}

static void advance(struct run *run, u64 delta)
{
	u64 to = run->pc + delta * run->record->cie->code_align;

	if (to == run->pc)
		return;
	emit(run);
	run->pc = to;
}

static struct cursor read_block(struct cursor *cursor)
{
	u64 size = cursor_uleb(cursor);
	struct cursor block = {.at = cursor->at, .end = cursor->at, .base = cursor->at};

	cursor_skip(cursor, size);
	if (!cursor->bad)
		block.end = cursor->at;
	return block;
}

/* breg N offset, with nothing behind it but (with deref) a deref. */
static bool read_breg(const struct arch *arch, struct cursor block, bool deref, u8 *ret_reg,
		      s64 *ret_offset)
{
	u64 op = cursor_fixed(&block, 1);
	s64 offset = cursor_sleb(&block);

	if (deref && cursor_fixed(&block, 1) != OP_DEREF)
		return false;
	if (block.bad || block.at != block.end || op < OP_BREG0 || op > OP_BREG0 + 31)
		return false;
	*ret_reg = find_reg(arch, op - OP_BREG0);
	*ret_offset = offset;
	return *ret_reg != NO_REGISTER;
}

/* What every x86-64 linker writes for a PLT: sp + 8 + ((ip & 15) >= n) << 3. */
static bool read_plt(const struct arch *arch, struct cursor block, u8 *ret_from, s64 *ret_offset)
{
	u64 sp = cursor_fixed(&block, 1);
	s64 offset = cursor_sleb(&block);
	u64 ip = cursor_fixed(&block, 1);
	s64 zero = cursor_sleb(&block);
	u64 mask = cursor_fixed(&block, 1), and = cursor_fixed(&block, 1);
	u64 from = cursor_fixed(&block, 1), ge = cursor_fixed(&block, 1);
	u64 three = cursor_fixed(&block, 1), shl = cursor_fixed(&block, 1);
	u64 plus = cursor_fixed(&block, 1);

	if (block.bad || block.at != block.end || sp != OP_BREG0 + (u64)arch->frame.dwarf[0] ||
	    ip != OP_BREG0 + (u64)arch->frame.return_column || zero || mask != OP_LIT15 ||
	    and != OP_AND || from < OP_LIT0 || from > OP_LIT15 || ge != OP_GE ||
	    three != OP_LIT0 + 3 || shl != OP_SHL || plus != OP_PLUS)
		return false;
	*ret_from = (u8)(from - OP_LIT0);
	*ret_offset = offset;
	return true;
}

static void set_cfa_expression(struct run *run)
{
	const struct arch *arch = run->builder->arch;
	struct cursor block = read_block(&run->cursor);
	struct rules *now = &run->now;

	if (read_breg(arch, block, true, &now->reg, &now->offset))
		now->rule = UNWIND_DEREF;
	else if (read_plt(arch, block, &now->reg, &now->offset))
		now->rule = UNWIND_PLT;
	else
		now->rule = UNWIND_UNKNOWN;
}

static void set_saved(struct run *run, u64 dwarf, s64 offset, bool from_reg)
{
	u8 reg = find_reg(run->builder->arch, dwarf);

	if (reg == NO_REGISTER)
		return;
	run->now.saved[reg] = offset;
	run->now.from_reg[reg] = from_reg;
}

/* The register is in memory at an address that an expression gives. */
static void set_saved_expression(struct run *run, u64 dwarf)
{
	struct cursor block = read_block(&run->cursor);
	s64 offset;
	u8 base;

	if (read_breg(run->builder->arch, block, false, &base, &offset) && base == 1)
		set_saved(run, dwarf, offset, true);
	else
		set_saved(run, dwarf, LOST, false);
}

static void restore(struct run *run, u64 dwarf)
{
	u8 reg = find_reg(run->builder->arch, dwarf);

	if (reg == NO_REGISTER)
		return;
	run->now.saved[reg] = run->initial.saved[reg];
	run->now.from_reg[reg] = run->initial.from_reg[reg];
}

static void set_cfa(struct run *run, u64 dwarf, s64 offset)
{
	run->now.rule = UNWIND_REGISTER;
	run->now.reg = find_reg(run->builder->arch, dwarf);
	run->now.offset = offset;
}

static void remember(struct run *run)
{
	if (run->depth < MAX_REMEMBERED)
		run->remembered[run->depth++] = run->now;
	else
		run->cursor.bad = true;
}

static void set_undefined(struct run *run, u64 dwarf)
{
	if (dwarf == run->record->cie->return_column)
		run->now.outermost = true;
	else
		set_saved(run, dwarf, LOST, false);
}

/* Opcodes whose two high bits are 0 and that say where the CFA is. False: another one. */
static bool run_cfa(struct run *run, u8 opcode)
{
	struct cursor *cursor = &run->cursor;
	s64 align = run->record->cie->data_align;
	u64 reg;

	switch (opcode) {
	case 0x0c: /* def_cfa */
		reg = cursor_uleb(cursor);
		set_cfa(run, reg, (s64)cursor_uleb(cursor));
		return true;
	case 0x12: /* def_cfa_sf */
		reg = cursor_uleb(cursor);
		set_cfa(run, reg, cursor_sleb(cursor) * align);
		return true;
	case 0x0d: /* def_cfa_register */
		set_cfa(run, cursor_uleb(cursor), run->now.offset);
		return true;
	case 0x0e: /* def_cfa_offset */
		run->now.offset = (s64)cursor_uleb(cursor);
		return true;
	case 0x13: /* def_cfa_offset_sf */
		run->now.offset = cursor_sleb(cursor) * align;
		return true;
	case 0x0f: /* def_cfa_expression */
		set_cfa_expression(run);
		return true;
	default:
		return false;
	}
}

/* Those that place a register, and the rest. */
static void run_register(struct run *run, u8 opcode)
{
	struct cursor *cursor = &run->cursor;
	s64 align = run->record->cie->data_align;
	u64 reg;

	switch (opcode) {
	case 0x00: /* nop */
		return;
	case 0x0a: /* remember_state */
		remember(run);
		return;
	case 0x0b: /* restore_state */
		if (run->depth)
			run->now = run->remembered[--run->depth];
		return;
	case 0x2e: /* GNU_args_size */
		cursor_uleb(cursor);
		return;
	default:
		break;
	}
	reg = cursor_uleb(cursor);
	switch (opcode) {
	case 0x05: /* offset_extended */
		set_saved(run, reg, (s64)cursor_uleb(cursor) * align, false);
		return;
	case 0x11: /* offset_extended_sf */
		set_saved(run, reg, cursor_sleb(cursor) * align, false);
		return;
	case 0x06: /* restore_extended */
		restore(run, reg);
		return;
	case 0x07:
		set_undefined(run, reg);
		return;
	case 0x08: /* same_value */
		set_saved(run, reg, KEPT, false);
		return;
	case 0x09: /* register, val_offset: a place that rows do not know */
	case 0x14:
		cursor_uleb(cursor);
		set_saved(run, reg, LOST, false);
		return;
	case 0x10: /* expression */
		set_saved_expression(run, reg);
		return;
	case 0x16: /* val_expression */
		read_block(cursor);
		set_saved(run, reg, LOST, false);
		return;
	default:
		cursor->bad = true;
	}
}

static void run_one(struct run *run)
{
	u8 opcode = (u8)cursor_fixed(&run->cursor, 1), low = opcode & 0x3f;

	switch (opcode & 0xc0) {
	case 0x40:
		advance(run, low);
		return;
	case 0x80:
		set_saved(run, low, (s64)cursor_uleb(&run->cursor) * run->record->cie->data_align,
			  false);
		return;
	case 0xc0:
		restore(run, low);
		return;
	default:
		break;
	}
	if (opcode >= 0x02 && opcode <= 0x04)
		advance(run, cursor_fixed(&run->cursor, 1u << (opcode - 2)));
	else if (!run_cfa(run, opcode))
		run_register(run, opcode);
}

static bool run_instructions(struct run *run, const u8 *from, const u8 *to)
{
	run->cursor = (struct cursor){.at = from, .end = to, .base = from};
	while (run->cursor.at < run->cursor.end && !run->cursor.bad && run->pc < run->record->end)
		run_one(run);
	return !run->cursor.bad;
}

static int add_record(const struct frame_record *record, void *arg)
{
	struct builder *builder = arg;
	struct unwind_row gap = {.pc = (u32)record->end};
	struct run run = {.builder = builder, .record = record, .pc = record->start};
	bool good;

	if (record->end > UINT32_MAX)
		return 0;
	for (u32 i = 0; i < UNWIND_REGS; i++)
		run.now.saved[i] = KEPT;
	good = run_instructions(&run, record->cie->instructions, record->cie->end);
	run.initial = run.now;
	good = good && run_instructions(&run, record->instructions, record->instructions_end);
	if (!good)
		run.now.rule = UNWIND_UNKNOWN;
	if (run.pc < record->end)
		emit(&run);
	memset(gap.saved, UNWIND_UNCHANGED, sizeof(gap.saved));
	add_row(builder, &gap);
	return builder->error;
}

/* A gap's row makes way for a function that begins there. */
static int compare(const void *a, const void *b)
{
	const struct unwind_row *x = a, *y = b;

	if (x->pc != y->pc)
		return x->pc < y->pc ? -1 : 1;
	return (x->rule != UNWIND_UNKNOWN) - (y->rule != UNWIND_UNKNOWN);
}

static bool same_rules(const struct unwind_row *a, const struct unwind_row *b)
{
	return a->rule == b->rule && a->reg == b->reg && a->offset == b->offset &&
	       !memcmp(a->saved, b->saved, sizeof(a->saved));
}

/* Of rows with one address the last counts; one that says what the row before says is left out. */
static size_t compact(struct unwind_row *rows, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (i + 1 < count && rows[i + 1].pc == rows[i].pc)
			continue;
		if (!kept || !same_rules(&rows[kept - 1], &rows[i]))
			rows[kept++] = rows[i];
	}
	return kept;
}

/* FNV-1a. */
static u64 checksum(const void *bytes, size_t size)
{
	u64 hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const u8 *)bytes)[i]) * 0x100000001b3ull;
	return hash;
}

int unwind_table_build(const struct elf_file *elf, struct unwind_table **ret_table,
		       size_t *ret_size)
{
	struct builder builder = {.arch = &arch_x86_64};
	struct unwind_table *table;
	size_t size;
	int err = 0;

	if (elf->header.e_machine == builder.arch->elf_machine)
		err = frame_records_visit(elf, add_record, &builder);
	if (!err && builder.count) {
		qsort(builder.rows, builder.count, sizeof(*builder.rows), compare);
		builder.count = compact(builder.rows, builder.count);
	}
	size = builder.count * sizeof(*builder.rows);
	table = err ? NULL : malloc(sizeof(*table) + size);
	if (table) {
		*table = (struct unwind_table){.magic = UNWIND_MAGIC,
					       .count = (u32)builder.count,
					       .checksum = checksum(builder.rows, size)};
		if (size)
			memcpy(table->rows, builder.rows, size);
		*ret_table = table;
		*ret_size = sizeof(*table) + size;
	}
	free(builder.rows);
	return table ? 0 : err ? err : -ENOMEM;
}
