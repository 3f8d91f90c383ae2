/* SPDX-License-Identifier: BSD-2-Clause */
#include "format/image.h"

#include <errno.h>

#include "format/insn.h"

static bool range_fits(const struct image_header *image, u32 offset, u64 count, u32 each)
{
	if (!count)
		return true;
	return offset >= sizeof(*image) && !(offset & 3) &&
	       offset + count * each <= image->total_size;
}

static bool target_fits(const struct image_header *image, u32 from, s64 distance)
{
	s64 to = (s64)from + 1 + distance;

	return to >= 0 && to < image->insn_cnt;
}

static bool jump_fits(const struct image_header *image, u32 index, const struct bpf_insn *insn)
{
	if (insn_op(insn) == BPF_CALL)
		return !insn_is_call_subprog(insn) || target_fits(image, index, insn->imm);
	if (insn_op(insn) == BPF_EXIT)
		return true;
	if (insn->code == (BPF_JMP32 | BPF_JA))
		return target_fits(image, index, insn->imm);
	return target_fits(image, index, insn->off);
}

static bool wide_fits(const struct image_header *image, u32 index, const struct bpf_insn *insn)
{
	if (index + 1 >= image->insn_cnt)
		return false;
	switch (insn->src_reg) {
	case INSN_PSEUDO_MAP_FD:
	case INSN_PSEUDO_MAP_VALUE:
		return (u32)insn->imm < image->map_cnt;
	case INSN_PSEUDO_FUNC:
		return target_fits(image, index, insn->imm);
	default:
		return true;
	}
}

static bool insns_fit(const struct image_header *image)
{
	const struct bpf_insn *insns = image_insns(image);

	for (u32 i = 0; i < image->insn_cnt; i++) {
		u8 class = insn_class(&insns[i]);

		if (insns[i].dst_reg > MAX_BPF_REG || insns[i].src_reg > MAX_BPF_REG)
			return false;
		if ((class == BPF_JMP || class == BPF_JMP32) && !jump_fits(image, i, &insns[i]))
			return false;
		if (insn_is_ld_imm64(&insns[i])) {
			if (!wide_fits(image, i, &insns[i]))
				return false;
			i++;
		}
	}
	return true;
}

static bool subprogs_fit(const struct image_header *image)
{
	const struct image_subprog *subprogs = image_subprogs(image);

	if (subprogs[0].start)
		return false;
	for (u32 i = 0; i < image->subprog_cnt; i++) {
		if (subprogs[i].start >= image->insn_cnt ||
		    subprogs[i].stack_depth > INSN_MAX_STACK)
			return false;
		if (i && subprogs[i].start <= subprogs[i - 1].start)
			return false;
	}
	return true;
}

static bool tails_fit(const struct image_header *image)
{
	const struct image_tail *tails = image_tails(image);

	for (u32 i = 0; i < image->tail_cnt; i++) {
		if (tails[i].insn >= image->insn_cnt || tails[i].map_index >= image->map_cnt ||
		    (i && tails[i].insn <= tails[i - 1].insn))
			return false;
	}
	return true;
}

int image_check(const struct image_header *image, size_t size)
{
	if (size < sizeof(*image) || image->magic != IMAGE_MAGIC)
		return -EINVAL;
	if (image->total_size > size || image->total_size < sizeof(*image))
		return -EINVAL;
	if (!image->insn_cnt || image->insn_cnt > INSN_MAX_COUNT ||
	    image->map_cnt > IMAGE_MAX_MAPS || !image->subprog_cnt ||
	    image->subprog_cnt > IMAGE_MAX_SUBPROGS || image->tail_cnt > IMAGE_MAX_TAILS)
		return -EINVAL;
	if (!range_fits(image, image->insns_off, image->insn_cnt, sizeof(struct bpf_insn)) ||
	    !range_fits(image, image->subprogs_off, image->subprog_cnt,
			sizeof(struct image_subprog)) ||
	    !range_fits(image, image->maps_off, image->map_cnt, sizeof(struct image_map_ref)) ||
	    !range_fits(image, image->tails_off, image->tail_cnt, sizeof(struct image_tail)) ||
	    !range_fits(image, image->func_info_off, image->func_info_cnt, image->func_info_rec) ||
	    !range_fits(image, image->line_info_off, image->line_info_cnt, image->line_info_rec))
		return -EINVAL;
	return subprogs_fit(image) && insns_fit(image) && tails_fit(image) ? 0 : -EINVAL;
}
