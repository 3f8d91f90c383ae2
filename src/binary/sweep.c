/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/sweep.h"

#include "binary/decode.h"
#include "binary/elf_file.h"
#include "binary/functions.h"
#include "binary/rseq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct sweep_range *range_of(struct sweep *sweep, u64 address)
{
	for (u32 i = 0; i < sweep->range_count; i++) {
		if (address - sweep->ranges[i].start < sweep->ranges[i].size)
			return &sweep->ranges[i];
	}
	return NULL;
}

static void mark(struct sweep *sweep, u64 address, enum sweep_mark as)
{
	struct sweep_range *range = range_of(sweep, address);
	u64 at;

	if (!range)
		return;
	at = address - range->start;
	range->marks[at / 4] |= (u8)(as << (2 * (at % 4)));
}

static int remember_indirect(struct sweep *sweep, u64 address)
{
	if (sweep->indirect_count == sweep->indirect_capacity) {
		size_t capacity = sweep->indirect_capacity ? sweep->indirect_capacity * 2 : 1024;
		u64 *grown = realloc(sweep->indirect, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		sweep->indirect = grown;
		sweep->indirect_capacity = capacity;
	}
	sweep->indirect[sweep->indirect_count++] = address;
	return 0;
}

static int note(struct sweep *sweep, const struct decode_insn *insn, u64 address)
{
	if (insn->has_target)
		mark(sweep, insn->target, insn->flow == DECODE_CALL ? SWEEP_CALLED : SWEEP_JUMPED);
	else if (insn->flow == DECODE_JUMP_INDIRECT)
		return remember_indirect(sweep, address);
	return 0;
}

static int sweep_one(struct sweep *sweep, const struct sweep_range *range, const u8 *bytes,
		     const struct function_table *table, const struct decoder *decoder)
{
	u64 end = range->start + range->size, address = range->start;
	u64 restart = functions_next_start(table, address);

	while (address < end) {
		struct decode_insn insn;
		int err;

		if (decode_one(decoder, bytes + (address - range->start), end - address, address,
			       &insn)) {
			address++;
		} else {
			err = note(sweep, &insn, address);
			if (err)
				return err;
			address += insn.length;
		}
		if (address >= restart) {
			address = restart;
			restart = functions_next_start(table, restart);
		}
	}
	return 0;
}

static int compare_addresses(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static int add_ranges(const struct elf_file *elf, struct sweep *sweep)
{
	for (u32 i = 0; i < elf->segment_count && sweep->range_count < SWEEP_MAX_RANGES; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		struct sweep_range *range = &sweep->ranges[sweep->range_count];

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) ||
		    !elf_file_memory(elf, segment->p_vaddr, &range->size) ||
		    range->size > ~0ULL - segment->p_vaddr || range_of(sweep, segment->p_vaddr))
			continue;
		range->start = segment->p_vaddr;
		range->marks = calloc(1, range->size / 4 + 1);
		if (!range->marks)
			return -ENOMEM;
		sweep->range_count++;
	}
	return 0;
}

/*
 * Code addresses that the dynamic loader writes into data: function pointers, and the tables of computed gotos. They are
 * marked as called, which the entry of a function may be and the inside of a window may not.
 */
static void mark_relocated(void *sweep, u64 address, u64 addend)
{
	(void)address;
	mark(sweep, addend, SWEEP_CALLED);
}

int sweep_run(const struct elf_file *elf, const struct function_table *table,
	      const struct decoder *decoder, struct sweep *ret_sweep)
{
	struct sweep sweep = {};
	int err;

	err = add_ranges(elf, &sweep);
	for (u32 i = 0; i < sweep.range_count && !err; i++) {
		u64 available;
		const u8 *bytes = elf_file_memory(elf, sweep.ranges[i].start, &available);

		err = sweep_one(&sweep, &sweep.ranges[i], bytes, table, decoder);
	}
	if (!err)
		err = rseq_read(elf, &sweep.sequences, &sweep.sequence_count);
	if (err) {
		sweep_free(&sweep);
		return err;
	}
	if (sweep.indirect_count)
		qsort(sweep.indirect, sweep.indirect_count, sizeof(u64), compare_addresses);
	elf_file_each_relative(elf, mark_relocated, &sweep);
	*ret_sweep = sweep;
	return 0;
}

void sweep_free(struct sweep *sweep)
{
	for (u32 i = 0; i < sweep->range_count; i++)
		free(sweep->ranges[i].marks);
	free(sweep->indirect);
	free(sweep->sequences);
	*sweep = (struct sweep){};
}

u8 sweep_marks(const struct sweep *sweep, u64 address)
{
	for (u32 i = 0; i < sweep->range_count; i++) {
		const struct sweep_range *range = &sweep->ranges[i];
		u64 at = address - range->start;

		if (at < range->size)
			return (range->marks[at / 4] >> (2 * (at % 4))) & 3;
	}
	return 0;
}

bool sweep_has_sequence(const struct sweep *sweep, u64 start, u64 end)
{
	for (size_t i = 0; i < sweep->sequence_count; i++) {
		const struct rseq_range *range = &sweep->sequences[i];

		if (start < range->start + range->size && range->start < end)
			return true;
	}
	return false;
}

bool sweep_has_indirect(const struct sweep *sweep, u64 start, u64 end)
{
	size_t low = 0, high = sweep->indirect_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sweep->indirect[middle] < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sweep->indirect_count && sweep->indirect[low] < end;
}
