/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One subprogram's frame:
 *
 *   return address
 *   saved rbp            only when the subprogram uses its stack
 *   BPF stack            rbp - stack_depth .. rbp
 *   padding              when it calls: rsp is 16-aligned below the saved registers
 *   saved registers      the callee-saved ones among its BPF registers, and that of JIT_NEAR_KEPT
 *
 * One that neither calls nor saves registers has its stack below rsp, in the 128 bytes that signal handlers spare. Without
 * a frame pointer the padding is below the saved registers.
 */
#include "arch/x86_64/jit.h"

#include <errno.h>

#include "arch/x86_64/x86_64.h"
#include "format/insn.h"

const u8 jit_reg[] = {
	[BPF_REG_0] = X86_RAX,	  [BPF_REG_1] = X86_RDI,       [BPF_REG_2] = X86_RSI,
	[BPF_REG_3] = X86_RDX,	  [BPF_REG_4] = X86_RCX,       [BPF_REG_5] = X86_R8,
	[BPF_REG_6] = X86_RBX,	  [BPF_REG_7] = X86_R13,       [BPF_REG_8] = X86_R14,
	[BPF_REG_9] = X86_R15,	  [BPF_REG_10] = X86_RBP,      [JIT_NEAR_KEPT] = X86_R12,
	[JIT_NEAR_FREE] = X86_R9, [JIT_BLIND_REG] = JIT_TEMP2,
};

/* Below rsp, what no signal handler touches: System V ABI, 3.2.2. */
#define RED_ZONE 128

static const u8 first_saved = BPF_REG_6, last_saved = JIT_NEAR_KEPT;

static bool has_frame(const struct jit_sub *sub)
{
	return sub->used & 1u << BPF_REG_10;
}

static bool saves(const struct jit_sub *sub, u32 reg)
{
	return reg != BPF_REG_10 && sub->used & 1u << reg;
}

static u32 saved_count(const struct jit_sub *sub)
{
	u32 count = 0;

	for (u32 reg = first_saved; reg <= last_saved; reg++)
		count += saves(sub, reg);
	return count;
}

/* Bytes that align rsp. */
static s32 padding(const struct jit_sub *sub)
{
	u32 words = 1 + (has_frame(sub) ? 1 + sub->stack_depth / 8 : 0) + saved_count(sub);

	return sub->calls && words % 2 ? 8 : 0;
}

/* What rsp moves by for stack and padding of a subprogram with a frame pointer. */
static s32 frame_size(const struct jit_sub *sub)
{
	if (!sub->calls && !saved_count(sub) && sub->stack_depth <= RED_ZONE)
		return 0;
	return (s32)sub->stack_depth + padding(sub);
}

/* Depth of the CFA over rsp, as the body has it, but for the saved registers and what is below them. */
static s32 depth_over_saved(const struct jit_sub *sub)
{
	return has_frame(sub) ? 16 + frame_size(sub) : 8;
}

/* A subprogram begins: nothing of the one before it holds. */
static void note_called(struct codebuf *buf)
{
	codebuf_note(buf, FRAME_CFA, X86_RSP, 8);
	codebuf_note(buf, FRAME_RESTORED, X86_RBP, 0);
	for (u32 reg = first_saved; reg <= last_saved; reg++) {
		if (reg != BPF_REG_10)
			codebuf_note(buf, FRAME_RESTORED, jit_reg[reg], 0);
	}
}

/* With a frame pointer the CFA is reckoned from it. */
static void note_depth(struct codebuf *buf, const struct jit_sub *sub, s32 depth)
{
	if (!has_frame(sub))
		codebuf_note(buf, FRAME_CFA, X86_RSP, depth);
}

int x86_64_jit_prologue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog)
{
	const struct jit_sub *sub = &unit->subs[subprog];
	s32 depth = depth_over_saved(sub);

	jit_callback_entry(buf, sub);
	note_called(buf);
	if (has_frame(sub)) {
		asm_push(buf, X86_RBP);
		codebuf_note(buf, FRAME_CFA, X86_RSP, 16);
		codebuf_note(buf, FRAME_SAVED, X86_RBP, -16);
		asm_mov(buf, 8, X86_RBP, X86_RSP);
		codebuf_note(buf, FRAME_CFA, X86_RBP, 16);
		if (frame_size(sub))
			asm_alu_imm(buf, 8, ASM_SUB, X86_RSP, frame_size(sub));
	}
	for (u32 reg = first_saved; reg <= last_saved; reg++) {
		if (!saves(sub, reg))
			continue;
		asm_push(buf, jit_reg[reg]);
		note_depth(buf, sub, depth += 8);
		codebuf_note(buf, FRAME_SAVED, jit_reg[reg], -depth);
	}
	if (padding(sub) && !has_frame(sub)) {
		asm_push(buf, X86_RAX); /* a byte; its value is nobody's */
		note_depth(buf, sub, depth + 8);
	}
	if (sub->may_goto)
		asm_store_imm(buf, 8, X86_RBP, -(s32)sub->may_goto, INSN_MAY_GOTO_LIMIT);
	if (sub->used & 1u << JIT_NEAR_KEPT)
		asm_mov_imm(buf, jit_reg[JIT_NEAR_KEPT], sub->near);
	if (sub->used & 1u << JIT_NEAR_FREE)
		asm_mov_imm(buf, jit_reg[JIT_NEAR_FREE], sub->near);
	return 0;
}

/* From rsp to the CFA in the body of sub, without a frame pointer. */
static s32 body_depth(const struct jit_sub *sub)
{
	return depth_over_saved(sub) + 8 * (s32)saved_count(sub) + padding(sub);
}

void jit_note_pushed(struct codebuf *buf, const struct jit_sub *sub, u32 words)
{
	note_depth(buf, sub, body_depth(sub) + 8 * (s32)words);
}

void jit_unwind(struct codebuf *buf, const struct jit_sub *sub)
{
	s32 depth = body_depth(sub) - padding(sub);

	if (padding(sub) && !has_frame(sub)) {
		asm_alu_imm(buf, 8, ASM_ADD, X86_RSP, 8);
		note_depth(buf, sub, depth);
	}
	for (u32 reg = last_saved; reg >= first_saved; reg--) {
		if (!saves(sub, reg))
			continue;
		asm_pop(buf, jit_reg[reg]);
		codebuf_note(buf, FRAME_RESTORED, jit_reg[reg], 0);
		note_depth(buf, sub, depth -= 8);
	}
	if (has_frame(sub)) {
		if (frame_size(sub))
			asm_byte(buf, 0xc9); /* leave */
		else
			asm_pop(buf, X86_RBP);
		codebuf_note(buf, FRAME_RESTORED, X86_RBP, 0);
		codebuf_note(buf, FRAME_CFA, X86_RSP, 8);
	}
}

int x86_64_jit_epilogue(struct codebuf *buf, const struct jit_unit *unit, u32 subprog)
{
	jit_unwind(buf, &unit->subs[subprog]);
	asm_ret(buf);
	return 0;
}

void jit_note_frame(struct codebuf *buf, const struct jit_sub *sub)
{
	s32 depth = depth_over_saved(sub);

	if (has_frame(sub)) {
		codebuf_note(buf, FRAME_SAVED, X86_RBP, -16);
		codebuf_note(buf, FRAME_CFA, X86_RBP, 16);
	}
	for (u32 reg = first_saved; reg <= last_saved; reg++) {
		if (saves(sub, reg))
			codebuf_note(buf, FRAME_SAVED, jit_reg[reg], -(depth += 8));
	}
	jit_note_pushed(buf, sub, 0);
}

/* Fetch and prediction work on aligned blocks. */
void x86_64_jit_align(struct codebuf *buf)
{
	asm_nops(buf, -buf->size & 15);
}

/* Returns 2, since the constant's upper half is in the next slot. */
static int load_constant(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u8 to = jit_reg[insn->dst_reg];
	s64 target = (s64)index + 1 + insn->imm;

	if (insn->src_reg != INSN_PSEUDO_FUNC) {
		asm_mov_imm(buf, to, unit->values[index]);
		return 2;
	}
	if (target < 0 || target >= unit->insn_cnt)
		return -EINVAL;
	asm_lea_rip(buf, to, buf->exec + jit_unit_sub(unit, (u32)target)->entry);
	return 2;
}

int x86_64_jit_insn(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	int err = -EOPNOTSUPP;
	u32 fused;

	bool blinded = unit->targets[index] & JIT_BLINDED;

	if (insn->dst_reg > BPF_REG_10 || (insn->src_reg > BPF_REG_10 && !blinded))
		return -EINVAL;
	if (blinded && insn_is_ld_imm64(insn)) {
		jit_blind_load(buf, unit, index, jit_reg[insn->dst_reg]);
		return 2;
	}
	if (blinded)
		jit_blind_load(buf, unit, index, jit_reg[JIT_BLIND_REG]);
	fused = jit_fuse(buf, unit, index);
	if (fused)
		return (int)fused;
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		err = jit_alu(buf, unit, insn);
		break;
	case BPF_LD:
		if (insn_is_ld_imm64(insn))
			return load_constant(buf, unit, index);
		err = jit_packet(buf, unit, index);
		break;
	case BPF_LDX:
	case BPF_ST:
	case BPF_STX:
		err = jit_memory(buf, unit, index);
		break;
	case BPF_JMP:
	case BPF_JMP32:
		err = insn_op(insn) == BPF_CALL ? jit_call(buf, unit, index)
						: jit_branch(buf, unit, index);
		break;
	}
	return err ? err : 1;
}

/* Does the code of one instruction stay within the machine registers of its BPF registers? */
static bool needs_scratch(const struct bpf_insn *insn)
{
	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		switch (insn_op(insn)) {
		case BPF_DIV:
		case BPF_MOD:
			return true;
		case BPF_LSH:
		case BPF_RSH:
		case BPF_ARSH:
			return insn_uses_reg(insn);
		}
		return false;
	case BPF_STX:
		return insn_mode(insn) == BPF_ATOMIC;
	case BPF_LD:
		return insn_mode(insn) != BPF_IMM;
	}
	return false;
}

static u32 insn_clobbers(const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 scratch = X86_BIT(JIT_TEMP) | X86_BIT(JIT_TEMP2) | X86_BIT(JIT_TEMP3);
	u8 mode = insn_mode(insn);
	u32 changed = X86_BIT(X86_RAX);

	if (insn_class(insn) == BPF_LDX &&
	    (mode == INSN_MODE_PROBE_MEM || mode == INSN_MODE_PROBE_MEMSX))
		return X86_CALLER_SAVED;
	if (insn_is_tail_call(insn))
		return X86_CALLER_SAVED;
	if (unit->targets[index] & JIT_IN_PLACE)
		return changed | jit_in_place_clobbers(unit, index);
	if (insn_is_call_helper(insn))
		return unit->helper_clobbers ? unit->helper_clobbers((u32)insn->imm) | changed
					     : X86_CALLER_SAVED;
	if (insn->code == (BPF_JMP | BPF_CALL | BPF_X))
		return X86_CALLER_SAVED;
	if (needs_scratch(insn))
		changed |= scratch;
	/* The condition of a conditional move. */
	if ((insn_class(insn) == BPF_JMP || insn_class(insn) == BPF_JMP32) && insn->off == 1)
		changed |= X86_BIT(JIT_TEMP);
	if (insn_class(insn) == BPF_STX && mode == BPF_ATOMIC)
		changed |= X86_BIT(jit_reg[insn->src_reg]);
	if (insn_class(insn) != BPF_ST && insn_class(insn) != BPF_JMP &&
	    insn_class(insn) != BPF_JMP32)
		changed |= X86_BIT(jit_reg[insn->dst_reg]);
	return changed;
}

u32 x86_64_jit_clobbers(const struct jit_unit *unit)
{
	u32 changed = X86_BIT(X86_RAX);

	if (unit->blind_key)
		changed |= X86_BIT(JIT_TEMP) | X86_BIT(JIT_TEMP2);
	for (u32 i = 0; i < unit->sub_cnt; i++) {
		if (unit->subs[i].used & 1u << JIT_NEAR_FREE)
			changed |= X86_BIT(jit_reg[JIT_NEAR_FREE]);
	}
	for (u32 i = 0; i < unit->insn_cnt; i++) {
		changed |= insn_clobbers(unit, i);
		if (insn_is_ld_imm64(&unit->insns[i]))
			i++;
	}
	return changed & X86_CALLER_SAVED;
}
