/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/jit_scan.h"

#include <errno.h>

#include "format/insn.h"

static bool reads_src(const struct bpf_insn *insn)
{
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
	case BPF_JMP:
	case BPF_JMP32:
		/* The source bit of END and CALL, and src_reg of CALL, mean something else. */
		return insn_uses_reg(insn) && insn_op(insn) != BPF_END && insn_op(insn) != BPF_CALL;
	case BPF_LDX:
	case BPF_STX:
		return true;
	case BPF_LD:
		return insn_mode(insn) == BPF_IND;
	}
	return false;
}

static bool is_guarded(const struct bpf_insn *insn)
{
	return insn_class(insn) == BPF_LDX &&
	       (insn_mode(insn) == INSN_MODE_PROBE_MEM || insn_mode(insn) == INSN_MODE_PROBE_MEMSX);
}

/* Does its code call something? Those done in place do where they ask for a slot, and find none held. */
static bool calls(const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];

	if (unit->targets[index] & JIT_IN_PLACE)
		return unit->in_place[unit->values[index]].slots;
	return insn->code == (BPF_JMP | BPF_CALL) || insn->code == (BPF_JMP | BPF_CALL | BPF_X) ||
	       is_guarded(insn);
}

void jit_scan_bounds(const struct image_header *image, struct jit_sub *subs)
{
	const struct image_subprog *from = image_subprogs(image);

	for (u32 number = 0; number < image->subprog_cnt; number++) {
		struct jit_sub *sub = &subs[number];

		sub->start = from[number].start;
		sub->end =
			number + 1 < image->subprog_cnt ? from[number + 1].start : image->insn_cnt;
		sub->stack_depth = from[number].stack_depth;
	}
}

static void scan_insn(const struct jit_unit *unit, u32 index, struct jit_sub *sub)
{
	const struct bpf_insn *insn = &unit->insns[index];

	sub->used |= (u16)(1u << insn->dst_reg);
	if (reads_src(insn))
		sub->used |= (u16)(1u << insn->src_reg);
	if (insn_class(insn) == BPF_LD && insn_mode(insn) != BPF_IMM)
		sub->used |= 1u << BPF_REG_6;
	sub->calls = sub->calls || calls(unit, index);
	if (insn->code == (BPF_JMP | INSN_JCOND) && !sub->may_goto) {
		sub->used |= 1u << BPF_REG_10;
		sub->stack_depth += 8;
		sub->may_goto = sub->stack_depth;
	}
}

void jit_scan_needs(const struct jit_unit *unit, struct jit_sub *subs)
{
	for (u32 number = 0; number < unit->sub_cnt; number++) {
		struct jit_sub *sub = &subs[number];

		for (u32 i = sub->start; i < sub->end; i++) {
			scan_insn(unit, i, sub);
			i += insn_is_ld_imm64(&unit->insns[i]);
		}
	}
}

static int resolve_constant(const struct bpf_insn *insn, const struct exec_env *env, u64 *value)
{
	switch (insn->src_reg) {
	case 0:
		*value = insn_imm64(insn);
		return 0;
	case INSN_PSEUDO_FUNC:
		return 0;
	case INSN_PSEUDO_MAP_FD:
		if (!env->map_handle)
			return -EOPNOTSUPP;
		*value = ptr_to_u64(env->map_handle(env->opaque, (u32)insn->imm));
		return *value ? 0 : -ENOENT;
	case INSN_PSEUDO_MAP_VALUE:
		if (!env->map_value)
			return -EOPNOTSUPP;
		*value = ptr_to_u64(env->map_value(env->opaque, (u32)insn->imm, (u32)insn[1].imm));
		return *value ? 0 : -ENOENT;
	}
	return -EOPNOTSUPP;
}

static struct jit_sub *sub_at(struct jit_sub *subs, u32 sub_cnt, s64 insn)
{
	for (u32 number = 0; number < sub_cnt; number++) {
		if (subs[number].start == insn)
			return &subs[number];
	}
	return NULL;
}

static void mark_called_by_c(const struct image_header *image, struct jit_sub *subs)
{
	const struct bpf_insn *insns = image_insns(image);

	subs[0].from_c = true;
	for (u32 i = 0; i < image->insn_cnt; i++) {
		struct jit_sub *sub;

		if (!insn_is_ld_imm64(&insns[i]))
			continue;
		sub = insns[i].src_reg == INSN_PSEUDO_FUNC
			      ? sub_at(subs, image->subprog_cnt, (s64)i + 1 + insns[i].imm)
			      : NULL;
		if (sub)
			sub->from_c = true;
		i++;
	}
}

bool jit_scan_tail_calls(const struct image_header *image, struct jit_sub *subs)
{
	const struct bpf_insn *insns = image_insns(image);
	bool some = false, in_subprog = false;

	for (u32 i = 0; i < image->insn_cnt; i++) {
		if (insn_is_tail_call(&insns[i])) {
			some = true;
			in_subprog = in_subprog || i >= subs[0].end;
		}
		if (insn_is_ld_imm64(&insns[i]))
			i++;
	}
	mark_called_by_c(image, subs);
	for (u32 number = 1; number < image->subprog_cnt; number++)
		subs[number].callback = in_subprog && subs[number].from_c;
	return some;
}

int jit_scan_values(const struct image_header *image, const struct exec_env *env, u64 *values)
{
	const struct bpf_insn *insns = image_insns(image);
	const struct image_tail *tails = image_tails(image);

	for (u32 i = 0; i < image->tail_cnt; i++)
		values[tails[i].insn] = 1 + i;
	for (u32 i = 0; i < image->insn_cnt; i++) {
		if (insn_is_ld_imm64(&insns[i])) {
			int err = resolve_constant(&insns[i], env, &values[i]);

			if (err)
				return err;
			i++;
		} else if (insn_is_tail_call(&insns[i])) {
			if (!env->tail_slots)
				return -EOPNOTSUPP;
		} else if (insn_is_call_helper(&insns[i])) {
			exec_helper_fn helper = env->helper ? env->helper((u32)insns[i].imm) : NULL;

			if (!helper)
				return -EOPNOTSUPP;
			values[i] = (u64)(uintptr_t)helper;
		}
	}
	return 0;
}
