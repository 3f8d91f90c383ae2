// SPDX-License-Identifier: BSD-2-Clause
/*
 * Displaced instructions at a new address. The agent has no decoder: the loader's recipe says what is relative in each.
 * Short branches become near ones, since the copy is rarely within 127 bytes of anything.
 */
#include <errno.h>

#include "arch/relocate.h"
#include "arch/x86_64/asm.h"
#include "arch/x86_64/x86_64.h"

static void copy_bytes(struct codebuf *buf, const u8 *bytes, u32 count)
{
	for (u32 i = 0; i < count; i++)
		asm_byte(buf, bytes[i]);
}

static void copy_rip_relative(struct codebuf *buf, const struct displaced_insn *insn,
			      const u8 *bytes)
{
	s64 distance = (s64)(insn->target - codebuf_pc(buf) - insn->length);

	if (buf->bytes && distance != (s32)distance && !buf->error)
		buf->error = -ERANGE;
	copy_bytes(buf, bytes, insn->field_off);
	codebuf_put(buf, (u32)distance, 4);
	copy_bytes(buf, bytes + insn->field_off + 4, insn->length - insn->field_off - 4u);
}

/* loop and jrcxz have only a short form: taken, they land on a near jump that everything else steps over. */
static void copy_loop(struct codebuf *buf, const struct displaced_insn *insn, const u8 *bytes)
{
	u32 over;

	copy_bytes(buf, bytes, insn->length - 2u); /* an address-size prefix: the counter is ecx */
	asm_byte(buf, insn->condition);
	asm_byte(buf, 2);
	over = asm_skip(buf);
	asm_jump(buf, insn->target);
	asm_land(buf, over);
}

/*
 * The callee must find the true return address: unwinders know the function, not the copy. A call with its word overwritten
 * instead of a push: the processor's return stack stays balanced, so that one return is mispredicted and not every outer
 * one. The call steps over a byte, since processors do not count calls of the next instruction. Flags stay as they are.
 */
static void copy_call(struct codebuf *buf, const struct displaced_insn *insn, u64 return_address)
{
	asm_call(buf, codebuf_pc(buf) + 6);
	codebuf_note(buf, FRAME_PUSHED, 0, 8);
	asm_byte(buf, 0xcc);
	asm_store_imm(buf, 4, X86_RSP, 0, (s32)(u32)return_address);
	asm_store_imm(buf, 4, X86_RSP, 4, (s32)(u32)(return_address >> 32));
	asm_jump(buf, insn->target);
}

static int copy_insn(struct codebuf *buf, const struct displaced *displaced,
		     const struct displaced_insn *insn)
{
	const u8 *bytes = displaced->bytes + insn->offset;

	switch (insn->kind) {
	case DISPLACED_PLAIN:
		copy_bytes(buf, bytes, insn->length);
		return 0;
	case DISPLACED_RIP_REL:
		if (insn->field_off + 4 > insn->length)
			return -EINVAL;
		copy_rip_relative(buf, insn, bytes);
		return 0;
	case DISPLACED_CALL:
		/* It comes back to the text: that must be behind the window. */
		if (insn->offset + insn->length != displaced->length)
			return -EINVAL;
		copy_call(buf, insn, displaced->site + displaced->length);
		return 0;
	case DISPLACED_JUMP:
		asm_jump(buf, insn->target);
		return 0;
	case DISPLACED_JCC:
		asm_jcc(buf, (enum x86_cond)(insn->condition & 15), insn->target);
		return 0;
	case DISPLACED_LOOP:
		if (insn->length < 2)
			return -EINVAL;
		copy_loop(buf, insn, bytes);
		return 0;
	default:
		return -EINVAL;
	}
}

int x86_64_relocate_part(struct codebuf *buf, struct displaced *displaced, u32 first, u32 end)
{
	u32 start = buf->size, offset = first ? displaced->insns[first].offset : 0;

	if (end > displaced->count || displaced->count > DISPLACED_MAX_INSNS ||
	    displaced->length > DISPLACED_MAX_BYTES)
		return -EINVAL;
	for (u32 i = first; i < end; i++) {
		const struct displaced_insn *insn = &displaced->insns[i];
		int err;

		if (insn->offset != offset || offset + insn->length > displaced->length)
			return -EINVAL;
		displaced->copy_offsets[i] = (u16)(buf->size - start);
		codebuf_note(buf, FRAME_DISPLACED, 0, insn->offset);
		err = copy_insn(buf, displaced, insn);
		if (err)
			return err;
		offset += insn->length;
	}
	if (end < displaced->count)
		return buf->error;
	codebuf_note(buf, FRAME_DISPLACED, 0, displaced->length);
	return offset == displaced->length ? buf->error : -EINVAL;
}

int x86_64_relocate_copy(struct codebuf *buf, struct displaced *displaced)
{
	return x86_64_relocate_part(buf, displaced, 0, displaced->count);
}
