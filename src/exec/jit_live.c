/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/jit_live.h"

#include "arch/jit_unit.h"
#include "format/insn.h"

#define BIT(reg)     (1u << (reg))
#define ARGUMENTS    0x3eu /* r1 to r5 */
#define CALLER_SAVED 0x3fu
#define FRAME	     BIT(BPF_REG_10)
#define ALL	     0x7ffu

struct effect {
	u32 reads, writes;
};

static struct effect effect_of_load(const struct bpf_insn *insn)
{
	if (insn_is_ld_imm64(insn))
		return (struct effect){0, BIT(insn->dst_reg)};
	/* Packet loads may also leave the function, with 0 in r0. */
	return (struct effect){BIT(BPF_REG_6) | BIT(insn->src_reg), CALLER_SAVED};
}

static struct effect effect_of_alu(const struct bpf_insn *insn)
{
	struct effect effect = {BIT(insn->dst_reg), BIT(insn->dst_reg)};

	if (insn_op(insn) == BPF_MOV)
		effect.reads = 0;
	if (insn_uses_reg(insn) && insn_op(insn) != BPF_END && insn_op(insn) != BPF_NEG)
		effect.reads |= BIT(insn->src_reg);
	return effect;
}

/* bare: subprograms that no verifier has seen, which may leave anything in any register for each other. */
static struct effect effect_of_jump(const struct bpf_insn *insn, bool bare)
{
	switch (insn_op(insn)) {
	case BPF_JA:
		return (struct effect){0, 0};
	case BPF_EXIT:
		return (struct effect){bare ? CALLER_SAVED : BIT(BPF_REG_0), 0};
	case BPF_CALL:
		if (insn_is_call_subprog(insn) && bare)
			return (struct effect){ALL, 0};
		return (struct effect){ARGUMENTS | (insn_uses_reg(insn) ? BIT(insn->dst_reg) : 0),
				       CALLER_SAVED};
	default:
		return (struct effect){
			BIT(insn->dst_reg) | (insn_uses_reg(insn) ? BIT(insn->src_reg) : 0), 0};
	}
}

static struct effect effect_of(const struct bpf_insn *insn, bool bare)
{
	switch (insn_class(insn)) {
	case BPF_LD:
		return effect_of_load(insn);
	case BPF_LDX:
		return (struct effect){BIT(insn->src_reg), BIT(insn->dst_reg)};
	case BPF_ST:
		return (struct effect){BIT(insn->dst_reg), 0};
	case BPF_STX:
		/* Atomics may write what they read, and read r0: none of it is taken for written. */
		return (struct effect){BIT(insn->dst_reg) | BIT(insn->src_reg) |
					       (insn_mode(insn) == BPF_ATOMIC ? BIT(0) : 0),
				       0};
	case BPF_JMP:
	case BPF_JMP32:
		return effect_of_jump(insn, bare);
	default:
		return effect_of_alu(insn);
	}
}

/* Where the instruction jumps to, besides or instead of the next one; -1: nowhere. */
static s64 jumps_to(const struct bpf_insn *insn, u32 index)
{
	u8 class = insn_class(insn), op = insn_op(insn);

	if ((class != BPF_JMP && class != BPF_JMP32) || op == BPF_CALL || op == BPF_EXIT)
		return -1;
	if (op == BPF_JA && class == BPF_JMP32)
		return (s64)index + 1 + insn->imm;
	return (s64)index + 1 + insn->off;
}

static bool goes_on(const struct bpf_insn *insn)
{
	u8 class = insn_class(insn), op = insn_op(insn);

	return (class != BPF_JMP && class != BPF_JMP32) || (op != BPF_JA && op != BPF_EXIT);
}

/* Does nothing but to set its register? */
static bool only_computes(const struct bpf_insn *insn)
{
	u8 class = insn_class(insn);

	return (class == BPF_ALU || class == BPF_ALU64 || insn_is_ld_imm64(insn)) &&
	       insn->dst_reg != BPF_REG_10;
}

static struct effect effect_at(const struct bpf_insn *insn, u32 flags, u32 live, bool bare)
{
	struct effect effect = effect_of(insn, bare);

	if (flags & JIT_DIRECT_TAIL)
		effect.reads = BIT(BPF_REG_1);
	if (flags & JIT_IN_PLACE)
		effect.reads = flags & JIT_READS_KEY ? BIT(BPF_REG_2) : 0;
	if (only_computes(insn) && !(live & effect.writes))
		effect.reads = 0;
	return effect;
}

/* From the end to the start. Returns whether something was learned. */
static bool pass(const struct bpf_insn *insns, u32 count, bool bare, const u8 *targets, u16 *live)
{
	bool changed = false;

	for (u32 i = count; i-- > 0;) {
		u32 width = insn_is_ld_imm64(&insns[i]) ? 2 : 1;
		s64 target = jumps_to(&insns[i], i);
		u32 after = FRAME;

		for (int way = 0; way < 2; way++) {
			s64 to = way ? target : goes_on(&insns[i]) ? (s64)i + width : -1;
			struct effect effect;

			if (to < 0 || to >= count)
				continue;
			effect = effect_at(&insns[to], targets[to], live[to], bare);
			after |= effect.reads | (live[to] & ~effect.writes);
		}
		/* The second half of a constant looks like an instruction of class LD: harmless, nobody asks. */
		changed = changed || (after & ~(u32)live[i]);
		live[i] |= (u16)after;
	}
	return changed;
}

void jit_live_targets(const struct image_header *image, const struct bpf_insn *insns, u8 *targets)
{
	for (u32 i = 0; i < image->insn_cnt; i++)
		targets[i] &= (u8) ~(JIT_TARGET | JIT_LOOP_HEAD);
	for (u32 i = 0; i < image->subprog_cnt; i++)
		targets[image_subprogs(image)[i].start] |= JIT_TARGET;
	for (u32 i = 0; i < image->insn_cnt; i++) {
		s64 to = jumps_to(&insns[i], i);

		if (to >= 0 && to < image->insn_cnt && to != (s64)i + 1)
			targets[to] |= to <= i ? JIT_TARGET | JIT_LOOP_HEAD : JIT_TARGET;
		i += insn_is_ld_imm64(&insns[i]);
	}
	for (u32 i = 0; i < image->tail_cnt; i++)
		targets[image_tails(image)[i].insn] |= JIT_DIRECT_TAIL;
}

void jit_live_take_out(struct bpf_insn *insn)
{
	u32 width = insn_is_ld_imm64(insn) ? 2 : 1;

	for (u32 i = 0; i < width; i++)
		insn[i] = (struct bpf_insn){.code = BPF_JMP | BPF_JA};
}

void jit_live(const struct image_header *image, struct bpf_insn *insns, const u8 *targets,
	      u16 *live)
{
	bool bare = !image->prog_id && image->subprog_cnt > 1;

	for (u32 i = 0; i < image->insn_cnt; i++)
		live[i] = 0;
	while (pass(insns, image->insn_cnt, bare, targets, live))
		;
	for (u32 i = 0; i < image->insn_cnt; i++) {
		bool wide = insn_is_ld_imm64(&insns[i]);

		if (only_computes(&insns[i]) && !(live[i] & BIT(insns[i].dst_reg)))
			jit_live_take_out(&insns[i]);
		i += wide;
	}
}
