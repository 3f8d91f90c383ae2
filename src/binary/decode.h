/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The few facts about one x86-64 instruction that patching asks for. Zydis decodes; nothing else here knows it.
 */
#ifndef INLAY_BINARY_DECODE_H
#define INLAY_BINARY_DECODE_H

#include "base/types.h"

#include <Zydis/Zydis.h>

#define DECODE_MAX_LENGTH 15

/* Where control goes after it. */
enum decode_flow {
	DECODE_NEXT,
	DECODE_CALL,   /* to target */
	DECODE_JUMP,   /* to target */
	DECODE_JCC,    /* to target or on; condition = low nibble of the opcode */
	DECODE_LOOP,   /* loop, loope, loopne, jrcxz; condition = the opcode */
	DECODE_XBEGIN, /* on, or to target when the transaction aborts */
	DECODE_CALL_INDIRECT,
	DECODE_JUMP_INDIRECT,
	DECODE_RETURN,
	DECODE_SYSCALL,
	DECODE_TRAP, /* int3, int n, ud2, hlt, ...: ends or signals here */
};

struct decode_insn {
	u8 length;
	u8 flow; /* enum decode_flow */
	u8 condition;
	u8 field_off;	   /* rip-relative: offset of the 32-bit displacement */
	bool rip_relative; /* target is the address of its memory operand */
	bool short_address; /* address-size prefix: what depends on rip or rcx means something else */
	bool nop;
	bool endbr;
	bool int3;
	bool lea;
	bool has_target;
	u8 memory_index; /* scaled table access: 1 when its operand is [index * 8 + disp32] */
	s64 displacement;
	u64 target;
};

struct decoder {
	ZydisDecoder zydis;
};

void decode_init(struct decoder *decoder);
/* Decodes the instruction at bytes, which runs at address. 0, or -EINVAL when it is none or does not fit in size. */
int decode_one(const struct decoder *decoder, const u8 *bytes, u64 size, u64 address,
	       struct decode_insn *ret_insn);

/* Ends the straight line: nothing after it runs unless something jumps there. */
static inline bool decode_ends_flow(const struct decode_insn *insn)
{
	return insn->flow == DECODE_JUMP || insn->flow == DECODE_JUMP_INDIRECT ||
	       insn->flow == DECODE_RETURN || insn->flow == DECODE_TRAP;
}

#endif
