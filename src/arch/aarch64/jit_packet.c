/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BPF_ABS and BPF_IND: bytes of the packet, in host order, into r0. r6 holds the context (struct abi_packet_context).
 * Outside the packet the function returns 0. Negative offsets count from a header: see linux/filter.h.
 */
#include <errno.h>
#include <linux/filter.h>

#include "arch/aarch64/jit.h"
#include "format/bpf_abi.h"
#include "format/insn.h"

#define BASE   JIT_TEMP
#define OFFSET JIT_TEMP3
#define BORDER JIT_TEMP4

static void load_field(struct codebuf *buf, u8 to, u32 offset)
{
	a64_access(buf, A64_LOAD, 8, to, JIT_CONTEXT, (s32)offset);
}

#define LOAD_FIELD(buf, to, field) load_field(buf, to, offsetof(struct abi_packet_context, field))

/* The offset is known now. */
static void address_known(struct codebuf *buf, s32 offset)
{
	if (offset >= 0) {
		LOAD_FIELD(buf, BASE, data);
	} else if (offset >= SKF_NET_OFF) {
		LOAD_FIELD(buf, BASE, network_header);
		offset -= SKF_NET_OFF;
	} else {
		LOAD_FIELD(buf, BASE, link_header);
		offset -= SKF_LL_OFF;
	}
	aarch64_jit_add(buf, 8, BASE, BASE, offset);
}

static void address_of_sum(struct codebuf *buf, u8 reg, s32 offset)
{
	u32 in_packet, in_network;

	aarch64_jit_add(buf, 4, OFFSET, reg, offset);
	a64_extend(buf, 4, 8, true, OFFSET, OFFSET);
	LOAD_FIELD(buf, BASE, data);
	in_packet = a64_skip(buf, a64_branch_bit(OFFSET, 63, false));
	LOAD_FIELD(buf, BASE, network_header);
	aarch64_jit_add(buf, 8, OFFSET, OFFSET, -(s64)SKF_NET_OFF);
	in_network = a64_skip(buf, a64_branch_bit(OFFSET, 63, false));
	LOAD_FIELD(buf, BASE, link_header);
	aarch64_jit_add(buf, 8, OFFSET, OFFSET, (s64)SKF_NET_OFF - SKF_LL_OFF);
	a64_land(buf, in_network);
	a64_land(buf, in_packet);
	a64_op(buf, 8, A64_ADD, BASE, BASE, OFFSET);
}

int aarch64_jit_packet(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 size = insn_access_size(insn), start = buf->size;

	if (insn_mode(insn) == BPF_IND)
		address_of_sum(buf, aarch64_reg[insn->src_reg], insn->imm);
	else if (insn_mode(insn) == BPF_ABS)
		address_known(buf, insn->imm);
	else
		return -EOPNOTSUPP;
	a64_mov_imm(buf, JIT_R0, 0);
	LOAD_FIELD(buf, BORDER, link_header);
	a64_op(buf, 8, A64_SUBS, A64_ZR, BASE, BORDER);
	aarch64_jit_exit_if(buf, unit, index, start, A64_LO);
	LOAD_FIELD(buf, BORDER, data_end);
	a64_arith_imm(buf, 8, A64_ADD, OFFSET, BASE, size);
	a64_op(buf, 8, A64_SUBS, A64_ZR, OFFSET, BORDER);
	aarch64_jit_exit_if(buf, unit, index, start, A64_HI);
	a64_access(buf, A64_LOAD, size, JIT_R0, BASE, 0);
	if (size > 1)
		a64_swap_bytes(buf, JIT_R0, JIT_R0, size * 8);
	return 0;
}
