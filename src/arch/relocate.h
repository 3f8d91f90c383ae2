/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The recipe for moving a function's first instructions elsewhere.
 *
 * The loader decodes (binary/, with a real decoder) and writes the recipe; the agent, which has no decoder, only
 * follows it. So everything position-dependent about an instruction is spelled out here.
 */
#ifndef INLAY_ARCH_RELOCATE_H
#define INLAY_ARCH_RELOCATE_H

#include "base/types.h"

#define DISPLACED_MAX_INSNS 8
#define DISPLACED_MAX_BYTES 32

enum displaced_kind {
	DISPLACED_PLAIN, /* copy the bytes */
	DISPLACED_RIP_REL, /* copy, then fix the 32-bit displacement at field_off to reach target from the new place */
	DISPLACED_CALL, /* direct call of target, last of its window: returns to the text behind the window */
	DISPLACED_JUMP, /* direct jump to target, any encoding */
	DISPLACED_JCC,	/* conditional jump to target; condition = low nibble of the opcode */
	DISPLACED_LOOP, /* loop/loope/loopne/jrcxz: opcode kept, target reached through a near jump */
};

struct displaced_insn {
	u8 kind;   /* enum displaced_kind */
	u8 offset; /* from the window's start */
	u8 length;
	u8 field_off; /* RIP_REL: where the displacement is in the instruction */
	u8 condition; /* JCC: 0..15; LOOP: the opcode byte */
	u8 pad[3];
	u64 target; /* absolute address in the target process */
};

/* A window: whole instructions from the site on, at least patch_size bytes. */
struct displaced {
	u64 site;  /* absolute address in the target process */
	u8 length; /* bytes of whole instructions covered */
	u8 count;
	u8 pad[6];
	u8 bytes[DISPLACED_MAX_BYTES];
	struct displaced_insn insns[DISPLACED_MAX_INSNS];
	/* Filled by relocate.copy: where instruction i begins in the copy, from the copy's start. */
	u16 copy_offsets[DISPLACED_MAX_INSNS];
};

#endif
