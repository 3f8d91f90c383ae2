/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/raw_image.h"

#include <errno.h>

#include "base/arena.h"
#include "base/mem.h"
#include "format/insn.h"

/* What is known of each instruction slot. */
#define MARK_ENTRY  1 /* a subprogram begins here */
#define MARK_SECOND 2 /* second half of an LD_IMM64: nothing may jump here */
#define MARK_TARGET 4

/* Where control may go from insn besides the next one; false: nowhere. */
static bool leads_to(const struct bpf_insn *insn, u32 index, s64 *ret_target, u8 *ret_mark)
{
	bool jump = insn_class(insn) == BPF_JMP || insn_class(insn) == BPF_JMP32;
	bool calls = insn_is_call_subprog(insn) ||
		     (insn_is_ld_imm64(insn) && insn->src_reg == INSN_PSEUDO_FUNC);
	bool by_imm = calls || insn->code == (BPF_JMP32 | BPF_JA);

	if (!calls && (!jump || insn_op(insn) == BPF_CALL || insn_op(insn) == BPF_EXIT))
		return false;
	*ret_target = (s64)index + 1 + (by_imm ? insn->imm : insn->off);
	*ret_mark = calls ? MARK_ENTRY | MARK_TARGET : MARK_TARGET;
	return true;
}

static int mark_slots(const struct bpf_insn *insns, u32 count, u8 *marks)
{
	marks[0] |= MARK_ENTRY;
	for (u32 i = 0; i < count; i++) {
		s64 target;
		u8 mark;

		if (leads_to(&insns[i], i, &target, &mark)) {
			if (target < 0 || target >= count)
				return -EINVAL;
			marks[target] |= mark;
		}
		if (insn_is_ld_imm64(&insns[i])) {
			if (++i == count)
				return -EINVAL;
			marks[i] |= MARK_SECOND;
		}
	}
	return 0;
}

static bool ends_flow(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_EXIT) || insn->code == (BPF_JMP | BPF_JA) ||
	       insn->code == (BPF_JMP32 | BPF_JA);
}

/* Returns the number of subprograms or -EINVAL. */
static int check_slots(const struct bpf_insn *insns, u32 count, const u8 *marks)
{
	int entries = 0;

	for (u32 i = 0; i < count; i++) {
		bool last = i + 1 == count || marks[i + 1] & MARK_ENTRY;

		if ((marks[i] & MARK_SECOND) && (marks[i] & (MARK_TARGET | MARK_ENTRY)))
			return -EINVAL;
		if (last && (!ends_flow(&insns[i]) || marks[i] & MARK_SECOND))
			return -EINVAL;
		entries += marks[i] & MARK_ENTRY;
	}
	return entries;
}

static struct image_header *build(const struct bpf_insn *insns, u32 count, const u8 *marks,
				  u32 entries)
{
	u32 subprogs_off = ALIGN_UP((u32)sizeof(struct image_header), 8u);
	u32 insns_off = subprogs_off + entries * (u32)sizeof(struct image_subprog);
	u32 size = insns_off + count * (u32)sizeof(*insns);
	struct image_header *image = arena_alloc(size);
	struct image_subprog *subprog;

	if (!image)
		return NULL;
	image->magic = IMAGE_MAGIC;
	image->total_size = size;
	image->insn_cnt = count;
	image->subprog_cnt = entries;
	image->insns_off = insns_off;
	image->subprogs_off = subprogs_off;
	image->ctx_words = ~0u;
	mem_copy((char *)image + insns_off, insns, count * sizeof(*insns));
	subprog = (struct image_subprog *)((char *)image + subprogs_off);
	for (u32 i = 0; i < count; i++) {
		if (marks[i] & MARK_ENTRY)
			*subprog++ =
				(struct image_subprog){.start = i, .stack_depth = INSN_MAX_STACK};
	}
	return image;
}

int raw_image_create(const struct bpf_insn *insns, u32 count, struct image_header **ret_image)
{
	struct image_header *image;
	int entries;
	u8 *marks;

	if (!count)
		return -EINVAL;
	if (count > INSN_MAX_COUNT)
		return -E2BIG;
	marks = arena_alloc(count);
	if (!marks)
		return -ENOMEM;
	entries = mark_slots(insns, count, marks);
	if (!entries)
		entries = check_slots(insns, count, marks);
	if (entries > IMAGE_MAX_SUBPROGS)
		entries = -E2BIG;
	image = entries < 0 ? NULL : build(insns, count, marks, (u32)entries);
	arena_free(marks);
	if (entries < 0)
		return entries;
	if (!image)
		return -ENOMEM;
	if (image_check(image, image->total_size)) {
		arena_free(image);
		return -EINVAL;
	}
	*ret_image = image;
	return 0;
}

void raw_image_free(struct image_header *image)
{
	arena_free(image);
}
