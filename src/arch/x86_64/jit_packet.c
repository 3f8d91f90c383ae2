/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BPF_ABS and BPF_IND: bytes of the packet, in host order, into r0. r6 holds the context (struct abi_packet_context).
 * Outside the packet the function returns 0. Negative offsets count from a header: see linux/filter.h.
 */
#include <errno.h>
#include <linux/filter.h>

#include "arch/x86_64/jit.h"
#include "format/bpf_abi.h"
#include "format/insn.h"

#define PACKET(field) X86_RBX, offsetof(struct abi_packet_context, field)
#define BASE	      JIT_TEMP
#define OFFSET	      JIT_TEMP2

/* The offset is known now. */
static void address_known(struct codebuf *buf, s32 offset)
{
	if (offset >= 0) {
		asm_load(buf, 8, BASE, PACKET(data));
	} else if (offset >= SKF_NET_OFF) {
		asm_load(buf, 8, BASE, PACKET(network_header));
		offset -= SKF_NET_OFF;
	} else {
		asm_load(buf, 8, BASE, PACKET(link_header));
		offset -= SKF_LL_OFF;
	}
	asm_alu_imm(buf, 8, ASM_ADD, BASE, offset);
}

static void address_of_sum(struct codebuf *buf, u8 reg, s32 offset)
{
	u32 in_packet, in_network;

	asm_mov(buf, 4, OFFSET, reg);
	asm_alu_imm(buf, 4, ASM_ADD, OFFSET, offset);
	asm_extend(buf, 4, 8, true, OFFSET, OFFSET);
	asm_load(buf, 8, BASE, PACKET(data));
	asm_test(buf, 8, OFFSET, OFFSET);
	in_packet = asm_skip_if(buf, X86_CC_NS);
	asm_load(buf, 8, BASE, PACKET(network_header));
	asm_alu_imm(buf, 8, ASM_SUB, OFFSET, SKF_NET_OFF);
	in_network = asm_skip_if(buf, X86_CC_NS);
	asm_load(buf, 8, BASE, PACKET(link_header));
	asm_alu_imm(buf, 8, ASM_SUB, OFFSET, SKF_LL_OFF - SKF_NET_OFF);
	asm_land(buf, in_network);
	asm_land(buf, in_packet);
	asm_alu(buf, 8, ASM_ADD, BASE, OFFSET);
}

int jit_packet(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 size = insn_access_size(insn), start = buf->size;

	if (insn_mode(insn) == BPF_IND)
		address_of_sum(buf, jit_reg[insn->src_reg], insn->imm);
	else if (insn_mode(insn) == BPF_ABS)
		address_known(buf, insn->imm);
	else
		return -EOPNOTSUPP;
	asm_mov_imm(buf, X86_RAX, 0);
	asm_mem(buf, 8, 0x3b, BASE, PACKET(link_header));
	jit_exit_if(buf, unit, index, start, X86_CC_B);
	asm_lea(buf, OFFSET, BASE, (s32)size);
	asm_mem(buf, 8, 0x3b, OFFSET, PACKET(data_end));
	jit_exit_if(buf, unit, index, start, X86_CC_A);
	asm_load(buf, size, X86_RAX, BASE, 0);
	if (size > 1)
		jit_swap_bytes(buf, X86_RAX, size * 8);
	return 0;
}
