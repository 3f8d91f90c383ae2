/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/plan.h"

#include "binary/binary.h"
#include "binary/decode.h"
#include "binary/elf_file.h"
#include "binary/functions.h"
#include "binary/sweep.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_TABLES	  64
#define MAX_TABLE_ENTRIES 4096
/* A function longer than this is not scanned for its own branches: none is written by a compiler. */
#define MAX_FUNCTION_SIZE (16u << 20)

/* One function being planned. */
struct planner {
	const struct plan_input *input;
	u64 entry, end; /* end: of its own code */
	u64 limit;	/* where the next code begins */
	u64 site;
	u64 point;	 /* must be in the window; the site itself at a function's entry */
	const u8 *bytes; /* at entry */
	u64 available;
	struct site_spec *spec;
};

static int refuse(const struct plan_input *input, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(const struct plan_input *input, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(input->reason, input->reason_size, format, args);
	va_end(args);
	return -EOPNOTSUPP;
}

static unsigned int offset_in(const struct planner *planner, u64 address)
{
	return (unsigned int)(address - planner->entry);
}

static int decode_at(const struct planner *planner, u64 address, struct decode_insn *insn)
{
	u64 at = address - planner->entry;

	if (at >= planner->available)
		return -EINVAL;
	return decode_one(planner->input->decoder, planner->bytes + at, planner->available - at,
			  address, insn);
}

static int locate(struct planner *planner, const struct binary_function *function)
{
	const struct plan_input *input = planner->input;

	planner->entry = function->address;
	planner->bytes = elf_file_memory(input->elf, function->address, &planner->available);
	if (!planner->bytes || !elf_file_is_text(input->elf, function->address))
		return refuse(input, "its bytes are not in the file");
	planner->limit = functions_next_start(input->table, planner->entry);
	if (planner->limit - planner->entry > planner->available)
		planner->limit = planner->entry + planner->available;
	planner->end = planner->limit;
	if (function->size && function->size < planner->limit - planner->entry)
		planner->end = planner->entry + function->size;
	return 0;
}

static int begin(struct planner *planner, const struct binary_function *function)
{
	const struct plan_input *input = planner->input;
	struct decode_insn insn;
	int err;

	if (!function->is_entry)
		return refuse(input, "not entered by a call (a cold part or a signal frame)");
	err = locate(planner, function);
	if (err)
		return err;
	planner->site = planner->point = planner->entry;
	if (!decode_at(planner, planner->entry, &insn) && insn.endbr)
		planner->site = planner->point = planner->entry + insn.length;
	return 0;
}

static int check_movable(const struct planner *planner, const struct decode_insn *insn, u64 address)
{
	const struct plan_input *input = planner->input;
	unsigned int at = offset_in(planner, address);

	switch (insn->flow) {
	case DECODE_SYSCALL:
		return refuse(input, "system call in the window at +%u", at);
	case DECODE_TRAP:
		return refuse(input, "trap instruction in the window at +%u", at);
	case DECODE_XBEGIN:
		return refuse(input, "transaction begins in the window at +%u", at);
	case DECODE_CALL_INDIRECT:
		/* Its return address would lie in the copy, where no unwinder finds the function. */
		return refuse(input, "indirect call in the window at +%u", at);
	case DECODE_CALL:
		if (insn->target == address + insn->length)
			return refuse(input, "call that reads its own address at +%u", at);
		break;
	default:
		break;
	}
	if (insn->short_address && (insn->rip_relative || insn->flow == DECODE_LOOP))
		return refuse(input, "32-bit relative address in the window at +%u", at);
	return 0;
}

static u8 displaced_kind(const struct decode_insn *insn)
{
	switch (insn->flow) {
	case DECODE_CALL:
		return DISPLACED_CALL;
	case DECODE_JUMP:
		return DISPLACED_JUMP;
	case DECODE_JCC:
		return DISPLACED_JCC;
	case DECODE_LOOP:
		return DISPLACED_LOOP;
	default:
		return insn->rip_relative ? DISPLACED_RIP_REL : DISPLACED_PLAIN;
	}
}

static void append(struct displaced *displaced, const struct decode_insn *insn, const u8 *bytes)
{
	struct displaced_insn *row = &displaced->insns[displaced->count++];

	*row = (struct displaced_insn){
		.kind = displaced_kind(insn),
		.offset = displaced->length,
		.length = insn->length,
		.field_off = insn->field_off,
		.condition = insn->condition,
	};
	if (row->kind != DISPLACED_PLAIN)
		row->target = insn->target;
	memcpy(displaced->bytes + displaced->length, bytes, insn->length);
	displaced->length = (u8)(displaced->length + insn->length);
}

/* Collects whole instructions until the branch fits over them; past the end of the flow only padding counts. */
static int collect(struct planner *planner)
{
	const struct plan_input *input = planner->input;
	struct displaced *displaced = &planner->spec->displaced;
	bool ended = false, one_nop = false;
	u32 live = 0; /* instructions that run */

	displaced->site = planner->site;
	while (displaced->length < input->patch_size ||
	       planner->site + displaced->length <= planner->point) {
		u64 address = planner->site + displaced->length;
		struct decode_insn insn;
		int err;

		ended |= address >= planner->end;
		if (address >= planner->limit)
			return refuse(input, "shorter than %u bytes and no padding",
				      input->patch_size);
		if (decode_at(planner, address, &insn))
			return refuse(input, "not an instruction at +%u",
				      offset_in(planner, address));
		if (ended && address < planner->end && !insn.nop && !insn.int3)
			return refuse(input, "other code follows a jump or return at +%u",
				      offset_in(planner, address));
		if (ended && !insn.nop && !insn.int3)
			return refuse(input, "shorter than %u bytes and no padding",
				      input->patch_size);
		if (address + insn.length > planner->limit)
			return refuse(input, "other code begins inside the window at +%u",
				      offset_in(planner, planner->limit));
		err = ended ? 0 : check_movable(planner, &insn, address);
		if (err)
			return err;
		if (displaced->count == DISPLACED_MAX_INSNS ||
		    displaced->length + insn.length > DISPLACED_MAX_BYTES)
			return refuse(input, "too many instructions in the window");
		append(displaced, &insn, planner->bytes + (address - planner->entry));
		live += !ended;
		ended |= decode_ends_flow(&insn);
		one_nop = displaced->count == 1 && insn.nop && insn.length == input->patch_size;
	}
	if (!live)
		return refuse(input, "no instruction of its own");
	/* With one instruction that runs, nobody can be parked inside: the rest is padding. */
	planner->spec->kind = one_nop ? SITE_NOP : live == 1 ? SITE_WHOLE : SITE_PROLOGUE;
	return 0;
}

static int check_branches(const struct planner *planner)
{
	const struct plan_input *input = planner->input;
	u64 end = planner->site + planner->spec->displaced.length;

	if (sweep_has_sequence(input->sweep, planner->site, end))
		return refuse(input, "restartable sequence in the window");
	for (u64 at = planner->site + 1; at < end; at++) {
		if (sweep_marks(input->sweep, at))
			return refuse(input, "branch into the window at +%u",
				      offset_in(planner, at));
	}
	return 0;
}

/* Where a function keeps addresses that may be jump tables. */
struct tables {
	u64 relative[MAX_TABLES]; /* of 32-bit offsets from the table */
	u64 absolute[MAX_TABLES]; /* of 64-bit addresses */
	u32 relative_count, absolute_count;
};

/* Decodes the function once: does it jump back to its entry, and which tables does it name? */
static bool scan(const struct planner *planner, struct tables *tables)
{
	bool loops = false;

	for (u64 address = planner->entry; address < planner->end;) {
		struct decode_insn insn;

		if (decode_at(planner, address, &insn)) {
			address++;
			continue;
		}
		if (insn.has_target && insn.flow != DECODE_CALL &&
		    (insn.target == planner->entry || insn.target == planner->site))
			loops = true;
		if (insn.lea && insn.rip_relative && tables->relative_count < MAX_TABLES)
			tables->relative[tables->relative_count++] = insn.target;
		if (insn.memory_index && tables->absolute_count < MAX_TABLES)
			tables->absolute[tables->absolute_count++] = (u64)insn.displacement;
		address += insn.length;
	}
	return loops;
}

/* An entry of a table, or 0 where it ends: tables hold places of their own function only. */
static u64 table_entry(const struct planner *planner, u64 table, u32 index, u32 entry_size)
{
	u64 at = table + (u64)index * entry_size, available = 0, target = 0;
	const u8 *bytes = elf_file_memory(planner->input->elf, at, &available);

	if (!bytes || available < entry_size)
		return 0;
	memcpy(&target, bytes, entry_size);
	if (entry_size == 4)
		target = table + (u64)(s64)(s32)target;
	return target >= planner->entry && target < planner->end ? target : 0;
}

static int check_table(const struct planner *planner, u64 table, u32 entry_size)
{
	u64 window_end = planner->site + planner->spec->displaced.length;

	for (u32 i = 0; i < MAX_TABLE_ENTRIES; i++) {
		u64 target = table_entry(planner, table, i, entry_size);

		if (!target)
			return 0;
		if (target > planner->site && target < window_end)
			return refuse(planner->input, "jump table entry into the window at +%u",
				      offset_in(planner, target));
	}
	return 0;
}

/* Do jump tables of the function lead into the window? */
static int check_tables(const struct planner *planner, const struct tables *tables)
{
	int err = 0;

	for (u32 i = 0; i < tables->relative_count && !err; i++)
		err = check_table(planner, tables->relative[i], 4);
	for (u32 i = 0; i < tables->absolute_count && !err; i++)
		err = check_table(planner, tables->absolute[i], 8);
	return err;
}

static int check_inside(const struct planner *planner)
{
	const struct plan_input *input = planner->input;
	bool jumped = (sweep_marks(input->sweep, planner->entry) |
		       sweep_marks(input->sweep, planner->site)) &
		      SWEEP_JUMPED;
	bool indirect = sweep_has_indirect(input->sweep, planner->entry, planner->end);
	struct tables tables = {};

	if ((!jumped && !indirect) || planner->end - planner->entry > MAX_FUNCTION_SIZE)
		return 0;
	if (scan(planner, &tables) && planner->spec->inside == 0)
		return refuse(input, "loop head at entry");
	return indirect ? check_tables(planner, &tables) : 0;
}

int plan_function(const struct plan_input *input, const struct binary_function *function,
		  struct site_spec *spec)
{
	struct planner planner = {.input = input, .spec = spec};
	int err;

	*spec = (struct site_spec){.function = function->address, .protocol = POKE_AUTO};
	err = begin(&planner, function);
	if (err)
		return err;
	spec->address = planner.site;
	err = collect(&planner);
	if (!err)
		err = check_branches(&planner);
	if (!err)
		err = check_inside(&planner);
	return err;
}

/*
 * Instructions that come before the point in a straight line, the nearest first; at most max. -EINVAL: the point is not where an
 * instruction begins.
 */
static int find_before(const struct planner *planner, u64 *starts, u32 max)
{
	u64 ring[DISPLACED_MAX_INSNS];
	u32 count = 0, kept;

	for (u64 address = planner->entry; address < planner->point;) {
		struct decode_insn insn;

		if (decode_at(planner, address, &insn))
			return -EINVAL;
		ring[count++ % DISPLACED_MAX_INSNS] = address;
		/* Behind these nothing flows on, or comes back by a return address that the window would swallow. */
		if (decode_ends_flow(&insn) || insn.flow == DECODE_CALL ||
		    insn.flow == DECODE_CALL_INDIRECT)
			count = 0;
		address += insn.length;
		if (address > planner->point)
			return -EINVAL;
	}
	kept = MIN(count, MIN(max, (u32)DISPLACED_MAX_INSNS));
	for (u32 i = 0; i < kept; i++)
		starts[i] = ring[(count - 1 - i) % DISPLACED_MAX_INSNS];
	return (int)kept;
}

static int try_window(struct planner *planner, u64 site, u32 before)
{
	struct site_spec *spec = planner->spec;
	int err;

	memset(&spec->displaced, 0, sizeof(spec->displaced));
	planner->site = spec->address = site;
	spec->before = (u8)before;
	err = collect(planner);
	if (!err && before >= spec->displaced.count)
		err = refuse(planner->input, "too many instructions in the window");
	if (!err)
		err = check_branches(planner);
	return err ? err : check_inside(planner);
}

int plan_point(const struct plan_input *input, const struct binary_function *function, u64 address,
	       struct site_spec *spec)
{
	struct planner planner = {.input = input, .spec = spec, .point = address};
	u64 starts[DISPLACED_MAX_INSNS];
	int count, err, first;

	*spec = (struct site_spec){
		.function = function->address, .protocol = POKE_AUTO, .inside = 1};
	err = locate(&planner, function);
	if (err)
		return err;
	if (address < planner.entry || address >= planner.end)
		return refuse(input, "not in the function");
	count = find_before(&planner, starts, DISPLACED_MAX_INSNS - 1);
	if (count < 0)
		return refuse(input, "no instruction begins there");
	first = err = try_window(&planner, address, 0);
	for (int i = 0; err && i < count; i++)
		err = try_window(&planner, starts[i], (u32)i + 1);
	/* The reason that is told is that of the window behind the point. */
	return err ? (try_window(&planner, address, 0), first) : 0;
}
