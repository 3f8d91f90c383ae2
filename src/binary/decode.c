/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/decode.h"

#include <errno.h>

void decode_init(struct decoder *decoder)
{
	ZydisDecoderInit(&decoder->zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	/* Mnemonic, length and the raw fields are all we read: twice as fast without operands. */
	ZydisDecoderEnableMode(&decoder->zydis, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
}

static void read_mnemonic(const ZydisDecodedInstruction *zydis, struct decode_insn *insn)
{
	switch (zydis->mnemonic) {
	case ZYDIS_MNEMONIC_CALL:
		insn->flow = zydis->raw.imm[0].is_relative ? DECODE_CALL : DECODE_CALL_INDIRECT;
		break;
	case ZYDIS_MNEMONIC_JMP:
		insn->flow = zydis->raw.imm[0].is_relative ? DECODE_JUMP : DECODE_JUMP_INDIRECT;
		break;
	case ZYDIS_MNEMONIC_LOOP:
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
	case ZYDIS_MNEMONIC_JCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JRCXZ:
		insn->flow = DECODE_LOOP;
		insn->condition = zydis->opcode;
		break;
	case ZYDIS_MNEMONIC_XBEGIN:
		insn->flow = DECODE_XBEGIN;
		break;
	case ZYDIS_MNEMONIC_RET:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
	case ZYDIS_MNEMONIC_SYSRET:
	case ZYDIS_MNEMONIC_SYSEXIT:
		insn->flow = DECODE_RETURN;
		break;
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_SYSENTER:
	case ZYDIS_MNEMONIC_INT:
		insn->flow = DECODE_SYSCALL;
		break;
	case ZYDIS_MNEMONIC_INT3:
		insn->int3 = true;
		insn->flow = DECODE_TRAP;
		break;
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
		insn->flow = DECODE_TRAP;
		break;
	case ZYDIS_MNEMONIC_NOP:
		insn->nop = true;
		break;
	case ZYDIS_MNEMONIC_ENDBR64:
		insn->endbr = true;
		break;
	case ZYDIS_MNEMONIC_LEA:
		insn->lea = true;
		break;
	default:
		if (zydis->raw.imm[0].is_relative) {
			insn->flow = DECODE_JCC;
			insn->condition = zydis->opcode & 0x0f;
		}
	}
}

/* xchg %ax,%ax and data16 forms decode as other mnemonics but fill gaps all the same. */
static bool is_filler(const ZydisDecodedInstruction *zydis)
{
	return zydis->mnemonic == ZYDIS_MNEMONIC_XCHG && zydis->opcode == 0x90 &&
	       zydis->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && !(zydis->raw.rex.B);
}

static void read_operand(const ZydisDecodedInstruction *zydis, u64 address,
			 struct decode_insn *insn)
{
	bool memory =
		zydis->raw.modrm.offset && zydis->raw.modrm.mod == 0 && zydis->raw.disp.size == 32;
	u64 next = address + zydis->length;

	if (zydis->raw.imm[0].is_relative) {
		insn->has_target = true;
		insn->target = next + (u64)zydis->raw.imm[0].value.s;
		return;
	}
	if (!memory || insn->nop)
		return;
	insn->displacement = zydis->raw.disp.value;
	if (zydis->raw.modrm.rm == 5) {
		insn->rip_relative = true;
		insn->field_off = zydis->raw.disp.offset;
		insn->target = next + (u64)zydis->raw.disp.value;
	} else if (zydis->raw.modrm.rm == 4 && zydis->raw.sib.base == 5 &&
		   zydis->raw.sib.scale == 3) {
		insn->memory_index = 1;
	}
}

int decode_one(const struct decoder *decoder, const u8 *bytes, u64 size, u64 address,
	       struct decode_insn *ret_insn)
{
	ZydisDecodedInstruction zydis;

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder->zydis, ZYAN_NULL, bytes,
							MIN(size, (u64)DECODE_MAX_LENGTH), &zydis)))
		return -EINVAL;
	*ret_insn = (struct decode_insn){.length = zydis.length, .flow = DECODE_NEXT};
	read_mnemonic(&zydis, ret_insn);
	ret_insn->nop |= is_filler(&zydis);
	ret_insn->short_address = zydis.address_width == 32;
	read_operand(&zydis, address, ret_insn);
	return 0;
}
