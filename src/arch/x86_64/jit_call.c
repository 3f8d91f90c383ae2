/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls out of a program's code. At every instruction boundary of a subprogram that calls, rsp is 16-aligned
 * (the prologue sees to it), so pushes here come in pairs.
 */
#include <errno.h>

#include "arch/x86_64/jit.h"
#include "format/insn.h"

/* BPF R0 to R5: what a C function may change. */
static const u8 volatile_regs[] = {X86_RAX, X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8};

/* Words pushed in the body of a subprogram, and popped in reverse. */
struct pushes {
	const struct jit_sub *sub;
	u32 words;
};

static void push(struct codebuf *buf, struct pushes *pushes, u8 reg)
{
	asm_push(buf, reg);
	jit_note_pushed(buf, pushes->sub, ++pushes->words);
}

static void pop(struct codebuf *buf, struct pushes *pushes, u8 reg)
{
	asm_pop(buf, reg);
	jit_note_pushed(buf, pushes->sub, --pushes->words);
}

void jit_call_address(struct codebuf *buf, u64 target)
{
	if (buf->bytes && asm_reaches(buf, 5, target)) {
		asm_call(buf, target);
		return;
	}
	asm_mov_imm(buf, X86_RAX, target);
	asm_call_reg(buf, X86_RAX);
}

void jit_call_fault_load(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	const struct jit_sub *sub = jit_unit_sub(unit, index);
	u8 to = jit_reg[insn->dst_reg];
	struct pushes pushes = {sub, 0};
	u8 saved[ARRAY_SIZE(volatile_regs)];
	u32 count = 0;

	for (u32 bpf_reg = 0; bpf_reg < ARRAY_SIZE(volatile_regs); bpf_reg++) {
		if (bpf_reg == insn->dst_reg || !(sub->used & 1u << bpf_reg))
			continue;
		saved[count++] = volatile_regs[bpf_reg];
		push(buf, &pushes, volatile_regs[bpf_reg]);
	}
	if (count & 1)
		push(buf, &pushes, X86_RAX);
	asm_lea(buf, X86_RDI, jit_reg[insn->src_reg], insn->off);
	asm_mov_imm(buf, X86_RSI, insn_access_size(insn));
	jit_call_address(buf, unit->fault_load);
	asm_mov(buf, 8, JIT_TEMP, X86_RAX);
	if (count & 1)
		pop(buf, &pushes, X86_RAX);
	while (count)
		pop(buf, &pushes, saved[--count]);
	asm_mov(buf, 8, to, JIT_TEMP);
}

/* The register holds a helper's number: look it up, call it if there is one. */
static void call_register(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	static const u8 args[] = {X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8};
	struct pushes pushes = {jit_unit_sub(unit, index), 0};
	u32 skip;

	for (u32 i = 0; i < ARRAY_SIZE(args); i++)
		push(buf, &pushes, args[i]);
	push(buf, &pushes, X86_R8);
	asm_mov(buf, 4, X86_RDI, jit_reg[unit->insns[index].dst_reg]);
	jit_call_address(buf, unit->helper_lookup);
	pop(buf, &pushes, X86_R8);
	for (u32 i = ARRAY_SIZE(args); i > 0; i--)
		pop(buf, &pushes, args[i - 1]);
	asm_test(buf, 8, X86_RAX, X86_RAX);
	skip = asm_skip_if(buf, X86_CC_E);
	asm_call_reg(buf, X86_RAX);
	asm_land(buf, skip);
}

static int call_subprog(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	s64 target = (s64)index + 1 + unit->insns[index].imm;
	const struct jit_sub *sub;

	if (target < 0 || target >= unit->insn_cnt)
		return -EINVAL;
	sub = jit_unit_sub(unit, (u32)target);
	if (sub->start != target)
		return -EINVAL;
	asm_call(buf, buf->exec + sub->entry + jit_callback_entry_size(sub));
	return 0;
}

int jit_call(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];

	if (unit->targets[index] & JIT_IN_PLACE) {
		jit_in_place(buf, unit, index);
		return 0;
	}
	if (insn_uses_reg(insn)) {
		call_register(buf, unit, index);
		return 0;
	}
	switch (insn->src_reg) {
	case INSN_CALL_HELPER:
		if (insn_is_tail_call(insn))
			return jit_tail_call(buf, unit, index);
		jit_call_address(buf, unit->values[index]);
		return 0;
	case INSN_CALL_SUBPROG:
		return call_subprog(buf, unit, index);
	}
	return -EOPNOTSUPP;
}
