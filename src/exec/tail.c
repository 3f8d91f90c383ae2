/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Direct tail calls, changed while threads run them.
 *
 * A call has two branches in its code, bypass and target, with the unwinding of the frame between them:
 *
 *   {jmp out, nop}     falls through
 *   {jmp out, jmp P}   falls through; on its way to or from the next
 *   {nop, jmp P}       goes to P
 *   {nop, nop}         would run on with its frame unwound: never
 *
 * Every change of a branch is one store of an aligned word. Phases are ordered by sync_core(): a core may have fetched the
 * bytes behind the one it is at. Leaving {nop, jmp P} takes a grace period between bypass and target, since a thread may
 * sit between them.
 */
#include <errno.h>

#include "arch/arch.h"
#include "base/mem.h"
#include "base/text.h"
#include "exec/exec.h"
#include "sync/reader.h"

#define WORD 8

/* Writes the branch at offset. */
static int patch(struct exec_code *code, u32 offset, enum patch_kind kind, u64 to)
{
	u64 site = ptr_to_u64(code->text) + offset, word;
	u8 bytes[WORD];
	int err = arch_host()->patch.encode(bytes, kind, site, to);

	if (err)
		return err;
	mem_copy(&word, code->block->exec + ALIGN_DOWN(offset, WORD), WORD);
	mem_copy((u8 *)&word + offset % WORD, bytes, arch_host()->limits.patch_size);
	return text_patch(code->block, ALIGN_DOWN(offset, WORD), word);
}

static int check_reach(const struct exec_tail_change *changes, u32 count)
{
	u8 bytes[WORD];

	for (u32 i = 0; i < count; i++) {
		const struct exec_tail_change *change = &changes[i];
		u64 site =
			ptr_to_u64(change->code->text) + change->code->tails[change->tail].target;
		int err = change->entry ? arch_host()->patch.encode(bytes, PATCH_JUMP, site,
								    change->entry)
					: 0;

		if (err)
			return err;
	}
	return 0;
}

/* What is done to a call, by where it goes and where it is to go. */
static bool goes_on(const struct exec_tail_change *change)
{
	return change->entry && change->code->tails[change->tail].entry != change->entry;
}

static bool begins(const struct exec_tail_change *change)
{
	return change->entry && !change->code->tails[change->tail].entry;
}

static bool ends(const struct exec_tail_change *change)
{
	return !change->entry && change->code->tails[change->tail].entry;
}

enum branch { BYPASS, TARGET };

/* One phase: the branch of every call that needs it becomes kind. Adds to *ret_written. */
static int phase(const struct exec_tail_change *changes, u32 count,
		 bool (*needs)(const struct exec_tail_change *change), enum branch branch,
		 enum patch_kind kind, u32 *ret_written)
{
	for (u32 i = 0; i < count; i++) {
		const struct exec_tail_change *change = &changes[i];
		const struct exec_tail *tail = &change->code->tails[change->tail];
		u64 out = ptr_to_u64(change->code->text) + tail->out;
		int err;

		if (!needs(change))
			continue;
		err = branch == BYPASS ? patch(change->code, tail->bypass, kind, out)
				       : patch(change->code, tail->target, kind, change->entry);
		if (err)
			return err;
		++*ret_written;
	}
	return 0;
}

static void note_entries(const struct exec_tail_change *changes, u32 count, bool only_ends)
{
	for (u32 i = 0; i < count; i++) {
		if (!only_ends || ends(&changes[i]))
			changes[i].code->tails[changes[i].tail].entry = changes[i].entry;
	}
}

int exec_tail_update(const struct exec_tail_change *changes, u32 count, int timeout_ms)
{
	u32 targets = 0, bypasses = 0, removed = 0;
	int err = check_reach(changes, count);

	err = err ? err : phase(changes, count, goes_on, TARGET, PATCH_JUMP, &targets);
	if (!err && targets)
		err = sync_core();
	err = err ? err : phase(changes, count, begins, BYPASS, PATCH_NOP, &bypasses);
	err = err ? err : phase(changes, count, ends, BYPASS, PATCH_JUMP, &removed);
	if (!err && (bypasses || removed))
		err = sync_core();
	if (!err && removed)
		err = sync_grace(timeout_ms);
	err = err ? err : phase(changes, count, ends, TARGET, PATCH_NOP, &targets);
	if (!err || removed)
		note_entries(changes, count, err);
	return err;
}
