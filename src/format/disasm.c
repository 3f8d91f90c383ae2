/* SPDX-License-Identifier: BSD-2-Clause */
#include "format/disasm.h"

#include <stdio.h>

/* Where the text goes; the called helper's name, if known. */
struct out {
	char *buffer;
	size_t size;
	const char *helper;
};

#define PUT(o, ...) ((void)snprintf((o)->buffer, (o)->size, __VA_ARGS__))

static const char *const alu_operators[16] = {
	[BPF_ADD >> 4] = "+=",	  [BPF_SUB >> 4] = "-=",  [BPF_MUL >> 4] = "*=",
	[BPF_DIV >> 4] = "/=",	  [BPF_OR >> 4] = "|=",	  [BPF_AND >> 4] = "&=",
	[BPF_LSH >> 4] = "<<=",	  [BPF_RSH >> 4] = ">>=", [BPF_NEG >> 4] = "neg",
	[BPF_MOD >> 4] = "%=",	  [BPF_XOR >> 4] = "^=",  [BPF_MOV >> 4] = "=",
	[BPF_ARSH >> 4] = "s>>=",
};

static const char *const jump_operators[16] = {
	[BPF_JEQ >> 4] = "==",	 [BPF_JGT >> 4] = ">",	  [BPF_JLT >> 4] = "<",
	[BPF_JGE >> 4] = ">=",	 [BPF_JLE >> 4] = "<=",	  [BPF_JSET >> 4] = "&",
	[BPF_JNE >> 4] = "!=",	 [BPF_JSGT >> 4] = "s>",  [BPF_JSLT >> 4] = "s<",
	[BPF_JSGE >> 4] = "s>=", [BPF_JSLE >> 4] = "s<=",
};

static const char *const sizes[4] = {"u32", "u16", "u8", "u64"};
static const char *const signed_sizes[4] = {"s32", "s16", "s8", "s64"};

static const char *size_name(const struct bpf_insn *insn)
{
	return sizes[(insn->code & 0x18) >> 3];
}

static char reg_letter(const struct bpf_insn *insn)
{
	u8 class = insn_class(insn);

	return class == BPF_ALU || class == BPF_JMP32 ? 'w' : 'r';
}

static void put_end(struct out *o, const struct bpf_insn *insn)
{
	if (insn_class(insn) == BPF_ALU64)
		PUT(o, "(%02x) r%d = bswap%d r%d", insn->code, insn->dst_reg, insn->imm,
		    insn->dst_reg);
	else
		PUT(o, "(%02x) r%d = %s%d r%d", insn->code, insn->dst_reg,
		    insn->code & BPF_TO_BE ? "be" : "le", insn->imm, insn->dst_reg);
}

static void put_alu(struct out *o, const struct bpf_insn *insn)
{
	const char *operator= alu_operators[insn->code >> 4];
	char letter = reg_letter(insn);

	if (insn_op(insn) == BPF_END) {
		put_end(o, insn);
	} else if (insn_op(insn) == BPF_NEG) {
		PUT(o, "(%02x) %c%d = -%c%d", insn->code, letter, insn->dst_reg, letter,
		    insn->dst_reg);
	} else if (!operator) {
		PUT(o, "(%02x) unknown alu op %02x", insn->code, insn->code);
	} else if (!insn_uses_reg(insn)) {
		PUT(o, "(%02x) %c%d %s%s %d", insn->code, letter, insn->dst_reg,
		    insn->off == 1 && (insn_op(insn) == BPF_DIV || insn_op(insn) == BPF_MOD) ? "s"
											     : "",
		    operator, insn->imm);
	} else if (insn_op(insn) == BPF_MOV && insn->off) {
		PUT(o, "(%02x) %c%d = (s%d)%c%d", insn->code, letter, insn->dst_reg, insn->off,
		    letter, insn->src_reg);
	} else {
		PUT(o, "(%02x) %c%d %s%s %c%d", insn->code, letter, insn->dst_reg,
		    insn->off == 1 && (insn_op(insn) == BPF_DIV || insn_op(insn) == BPF_MOD) ? "s"
											     : "",
		    operator, letter, insn->src_reg);
	}
}

/* An atomic that returns the old value. */
static void put_fetch(struct out *o, const struct bpf_insn *insn, const char *name)
{
	const char *wide = insn_access_size(insn) == 8 ? "64" : "";

	PUT(o, "(%02x) r%d = atomic%s_fetch_%s((%s *)(r%d %+d), r%d)", insn->code, insn->src_reg,
	    wide, name, size_name(insn), insn->dst_reg, insn->off, insn->src_reg);
}

static void put_atomic(struct out *o, const struct bpf_insn *insn)
{
	static const char *const names[16] = {[BPF_ADD >> 4] = "add",
					      [BPF_AND >> 4] = "and",
					      [BPF_OR >> 4] = "or",
					      [BPF_XOR >> 4] = "xor"};
	const char *name = insn->imm >= 0 && insn->imm < 256 ? names[insn->imm >> 4] : NULL;
	const char *wide = insn_access_size(insn) == 8 ? "64" : "";

	if (insn->imm == BPF_CMPXCHG)
		PUT(o, "(%02x) r0 = atomic%s_cmpxchg((%s *)(r%d %+d), r0, r%d)", insn->code, wide,
		    size_name(insn), insn->dst_reg, insn->off, insn->src_reg);
	else if (insn->imm == BPF_XCHG)
		PUT(o, "(%02x) r%d = atomic%s_xchg((%s *)(r%d %+d), r%d)", insn->code,
		    insn->src_reg, wide, size_name(insn), insn->dst_reg, insn->off, insn->src_reg);
	else if (name && (insn->imm & 0xf) == BPF_FETCH)
		put_fetch(o, insn, name);
	else if (name && !(insn->imm & 0xf))
		PUT(o, "(%02x) lock *(%s *)(r%d %+d) %s r%d", insn->code, size_name(insn),
		    insn->dst_reg, insn->off, alu_operators[insn->imm >> 4], insn->src_reg);
	else
		PUT(o, "BUG_%02x", insn->code);
}

static void put_store(struct out *o, const struct bpf_insn *insn)
{
	if (insn_class(insn) == BPF_STX && insn_mode(insn) == BPF_ATOMIC)
		put_atomic(o, insn);
	else if (insn_class(insn) == BPF_STX)
		PUT(o, "(%02x) *(%s *)(r%d %+d) = r%d", insn->code, size_name(insn), insn->dst_reg,
		    insn->off, insn->src_reg);
	else
		PUT(o, "(%02x) *(%s *)(r%d %+d) = %d", insn->code, size_name(insn), insn->dst_reg,
		    insn->off, insn->imm);
}

static void put_load(struct out *o, const struct bpf_insn *insn)
{
	bool extended =
		insn_mode(insn) == INSN_MODE_MEMSX || insn_mode(insn) == INSN_MODE_PROBE_MEMSX;

	PUT(o, "(%02x) r%d = *(%s *)(r%d %+d)", insn->code, insn->dst_reg,
	    extended ? signed_sizes[(insn->code & 0x18) >> 3] : size_name(insn), insn->src_reg,
	    insn->off);
}

static void put_constant(struct out *o, const struct bpf_insn *insn)
{
	switch (insn->code & 0xe0) {
	case BPF_ABS:
		PUT(o, "(%02x) r0 = *(%s *)skb[%d]", insn->code, size_name(insn), insn->imm);
		return;
	case BPF_IND:
		PUT(o, "(%02x) r0 = *(%s *)skb[r%d + %d]", insn->code, size_name(insn),
		    insn->src_reg, insn->imm);
		return;
	default:
		break;
	}
	switch (insn_is_ld_imm64(insn) ? insn->src_reg : 255) {
	case 0:
		PUT(o, "(%02x) r%d = 0x%llx", insn->code, insn->dst_reg,
		    (unsigned long long)insn_imm64(insn));
		break;
	case INSN_PSEUDO_MAP_FD:
		PUT(o, "(%02x) r%d = map[id:%d]", insn->code, insn->dst_reg, insn->imm);
		break;
	case INSN_PSEUDO_MAP_VALUE:
		PUT(o, "(%02x) r%d = map[id:%d][0]+%u", insn->code, insn->dst_reg, insn->imm,
		    insn[1].imm);
		break;
	case INSN_PSEUDO_FUNC:
		PUT(o, "(%02x) r%d = subprog[%+d]", insn->code, insn->dst_reg, insn->imm);
		break;
	case 255:
		PUT(o, "BUG_ld_%02x", insn->code);
		break;
	default:
		PUT(o, "(%02x) r%d = map[idx:%d]", insn->code, insn->dst_reg, insn->imm);
		break;
	}
}

static void put_call(struct out *o, const struct bpf_insn *insn)
{
	switch (insn->src_reg) {
	case INSN_CALL_SUBPROG:
		PUT(o, "(%02x) call pc%+d", insn->code, insn->imm);
		return;
	case INSN_CALL_KFUNC:
		PUT(o, "(%02x) call kernel-function", insn->code);
		return;
	default:
		PUT(o, "(%02x) call %s#%d", insn->code, o->helper ? o->helper : "unknown",
		    insn->imm);
	}
}

static void put_jump(struct out *o, const struct bpf_insn *insn)
{
	const char *operator= jump_operators[insn->code >> 4];
	char letter = reg_letter(insn);

	if (insn->code == (BPF_JMP | BPF_CALL))
		put_call(o, insn);
	else if (insn->code == (BPF_JMP | BPF_JA))
		PUT(o, "(%02x) goto pc%+d", insn->code, insn->off);
	else if (insn->code == (BPF_JMP32 | BPF_JA))
		PUT(o, "(%02x) gotol pc%+d", insn->code, insn->imm);
	else if (insn->code == (BPF_JMP | INSN_JCOND))
		PUT(o, "(%02x) may_goto pc%+d", insn->code, insn->off);
	else if (insn->code == (BPF_JMP | BPF_EXIT))
		PUT(o, "(%02x) exit", insn->code);
	else if (!operator)
		PUT(o, "(%02x) unknown jump", insn->code);
	else if (insn_uses_reg(insn))
		PUT(o, "(%02x) if %c%d %s %c%d goto pc%+d", insn->code, letter,
		    insn->dst_reg, operator, letter, insn->src_reg, insn->off);
	else
		PUT(o, "(%02x) if %c%d %s 0x%x goto pc%+d", insn->code, letter,
		    insn->dst_reg, operator,(u32) insn->imm, insn->off);
}

void disasm_insn_calling(const struct bpf_insn *insn, const char *helper, char *buffer, size_t size)
{
	struct out o = {.buffer = buffer, .size = size, .helper = helper};

	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		put_alu(&o, insn);
		break;
	case BPF_ST:
	case BPF_STX:
		put_store(&o, insn);
		break;
	case BPF_LDX:
		put_load(&o, insn);
		break;
	case BPF_JMP:
	case BPF_JMP32:
		put_jump(&o, insn);
		break;
	default:
		put_constant(&o, insn);
		break;
	}
}

void disasm_insn(const struct bpf_insn *insn, char *buffer, size_t size)
{
	disasm_insn_calling(insn, NULL, buffer, size);
}

void disasm_insn_named(const struct bpf_insn *insn, disasm_helper_name name, char *buffer,
		       size_t size)
{
	disasm_insn_calling(insn, insn_is_call_helper(insn) ? name((u32)insn->imm) : NULL, buffer,
			    size);
}
