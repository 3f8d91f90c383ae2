/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads, stores and atomics. */
#include <errno.h>

#include "arch/x86_64/jit.h"
#include "format/insn.h"

#define LOCK 0xf0

static int load(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u8 to = jit_reg[insn->dst_reg], from = jit_reg[insn->src_reg];
	u32 size = insn_access_size(insn);

	switch (insn_mode(insn)) {
	case BPF_MEM:
		asm_load(buf, size, to, from, insn->off);
		return 0;
	case INSN_MODE_MEMSX:
		asm_load_signed(buf, size, to, from, insn->off);
		return 0;
	case INSN_MODE_PROBE_MEM:
		jit_call_fault_load(buf, unit, index);
		return 0;
	case INSN_MODE_PROBE_MEMSX:
		jit_call_fault_load(buf, unit, index);
		asm_extend(buf, size, 8, true, to, to);
		return 0;
	}
	return -EOPNOTSUPP;
}

int jit_memory(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 size = insn_access_size(insn);
	u8 base = jit_reg[insn->dst_reg];

	if (insn_class(insn) == BPF_LDX)
		return load(buf, unit, index);
	if (insn_class(insn) == BPF_STX && insn_mode(insn) == BPF_ATOMIC)
		return jit_atomic(buf, insn);
	if (insn_mode(insn) != BPF_MEM)
		return -EOPNOTSUPP;
	if (insn_class(insn) == BPF_ST)
		asm_store_imm(buf, size, base, insn->off, insn->imm);
	else
		asm_store(buf, size, base, insn->off, jit_reg[insn->src_reg]);
	return 0;
}

/* and, or, xor that give the old value back: no instruction does, so compare-and-exchange until it holds. */
static void fetch_loop(struct codebuf *buf, const struct bpf_insn *insn, enum asm_alu op)
{
	u32 size = insn_access_size(insn), start;
	u8 base = jit_reg[insn->dst_reg], operand = jit_reg[insn->src_reg];
	u8 kept_base = base == X86_RAX ? JIT_TEMP : base;
	u8 kept_operand = operand == X86_RAX ? JIT_TEMP : operand;

	asm_mov(buf, 8, JIT_TEMP, X86_RAX);
	asm_load(buf, size, X86_RAX, kept_base, insn->off);
	start = buf->size;
	asm_mov(buf, size, JIT_TEMP2, X86_RAX);
	asm_alu(buf, size, op, JIT_TEMP2, kept_operand);
	asm_byte(buf, LOCK);
	asm_mem(buf, size, 0x0fb1, JIT_TEMP2, kept_base, insn->off);
	asm_byte(buf, 0x70 | X86_CC_NE);
	asm_byte(buf, (u8)(start - buf->size - 1));
	asm_mov(buf, size, operand, X86_RAX);
	if (operand != X86_RAX)
		asm_mov(buf, 8, X86_RAX, JIT_TEMP);
}

static void logic(struct codebuf *buf, const struct bpf_insn *insn, enum asm_alu op)
{
	if (insn->imm & BPF_FETCH) {
		fetch_loop(buf, insn, op);
		return;
	}
	asm_byte(buf, LOCK);
	asm_mem(buf, insn_access_size(insn), (u32)op << 3 | 1, jit_reg[insn->src_reg],
		jit_reg[insn->dst_reg], insn->off);
}

static int acquire_release(struct codebuf *buf, const struct bpf_insn *insn)
{
	u32 size = insn_access_size(insn);

	/* The processor's plain loads acquire and its plain stores release. */
	if (insn->imm == INSN_LOAD_ACQUIRE)
		asm_load(buf, size, jit_reg[insn->dst_reg], jit_reg[insn->src_reg], insn->off);
	else
		asm_store(buf, size, jit_reg[insn->dst_reg], insn->off, jit_reg[insn->src_reg]);
	return 0;
}

int jit_atomic(struct codebuf *buf, const struct bpf_insn *insn)
{
	u32 size = insn_access_size(insn);
	u8 base = jit_reg[insn->dst_reg], operand = jit_reg[insn->src_reg];

	if (insn->imm == INSN_LOAD_ACQUIRE || insn->imm == INSN_STORE_RELEASE)
		return acquire_release(buf, insn);
	if (size < 4)
		return -EOPNOTSUPP;
	switch (insn->imm) {
	case BPF_ADD:
		logic(buf, insn, ASM_ADD);
		return 0;
	case BPF_ADD | BPF_FETCH:
		asm_byte(buf, LOCK);
		asm_mem(buf, size, 0x0fc1, operand, base, insn->off);
		return 0;
	case BPF_AND:
	case BPF_AND | BPF_FETCH:
		logic(buf, insn, ASM_AND);
		return 0;
	case BPF_OR:
	case BPF_OR | BPF_FETCH:
		logic(buf, insn, ASM_OR);
		return 0;
	case BPF_XOR:
	case BPF_XOR | BPF_FETCH:
		logic(buf, insn, ASM_XOR);
		return 0;
	case BPF_XCHG:
		asm_mem(buf, size, 0x87, operand, base, insn->off);
		return 0;
	case BPF_CMPXCHG:
		asm_byte(buf, LOCK);
		asm_mem(buf, size, 0x0fb1, operand, base, insn->off);
		/* A successful 32-bit exchange leaves rax as it was, upper half included. */
		asm_mov(buf, size, X86_RAX, X86_RAX);
		return 0;
	}
	return -EOPNOTSUPP;
}
