/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encoders for the x86-64 instructions that generated code uses.
 *
 * Operands in Intel order (destination first). size is the operand's in bytes: 1, 2, 4 or 8. Branch targets are addresses
 * as executed; one out of reach sets buf->error to -ERANGE.
 */
#ifndef INLAY_ARCH_X86_64_ASM_H
#define INLAY_ARCH_X86_64_ASM_H

#include "arch/x86_64/regs.h"
#include "base/codebuf.h"
#include "base/types.h"

/* The /digit of the 81, 83 and 01-family arithmetic groups. */
enum asm_alu {
	ASM_ADD,
	ASM_OR,
	ASM_ADC,
	ASM_SBB,
	ASM_AND,
	ASM_SUB,
	ASM_XOR,
	ASM_CMP,
};

/* The /digit of the C1 and D3 groups. */
enum asm_shift {
	ASM_ROL = 0,
	ASM_ROR = 1,
	ASM_SHL = 4,
	ASM_SHR = 5,
	ASM_SAR = 7,
};

/* The /digit of the F7 group. */
enum asm_unary {
	ASM_NOT = 2,
	ASM_NEG = 3,
	ASM_MUL = 4,
	ASM_IMUL = 5,
	ASM_DIV = 6,
	ASM_IDIV = 7,
};

/*
 * The general forms. opcode: up to three bytes, first byte in the highest used position (0x0fb6 is 0F B6). A byte-sized
 * register operand must be `reg`. asm_prefix of lock and the like goes in front.
 */
void asm_reg(struct codebuf *buf, u32 size, u32 opcode, u8 reg, u8 rm);
void asm_mem(struct codebuf *buf, u32 size, u32 opcode, u8 reg, u8 base, s32 disp);
/* base + (index << scale) + disp; index is not rsp. */
struct asm_index {
	u8 base, index, scale;
	s32 disp;
};
void asm_mem_index(struct codebuf *buf, u32 size, u32 opcode, u8 reg, const struct asm_index *at);

static inline void asm_byte(struct codebuf *buf, u8 byte)
{
	codebuf_put(buf, byte, 1);
}

void asm_mov(struct codebuf *buf, u32 size, u8 to,
	     u8 from); /* 4 zero-extends; 8 to itself emits nothing */
void asm_mov_imm(struct codebuf *buf, u8 to, u64 value); /* shortest; may change flags (xor) */
void asm_lea(struct codebuf *buf, u8 to, u8 base, s32 disp);
void asm_lea_rip(struct codebuf *buf, u8 to, u64 target);
void asm_load(struct codebuf *buf, u32 size, u8 to, u8 base, s32 disp); /* zero-extends to 64 */
void asm_load_signed(struct codebuf *buf, u32 size, u8 to, u8 base, s32 disp);
void asm_store(struct codebuf *buf, u32 size, u8 base, s32 disp, u8 from);
void asm_store_imm(struct codebuf *buf, u32 size, u8 base, s32 disp,
		   s32 value); /* 8: sign-extended */
void asm_extend(struct codebuf *buf, u32 from_size, u32 size, bool is_signed, u8 to, u8 from);

void asm_alu(struct codebuf *buf, u32 size, enum asm_alu op, u8 to, u8 from);
void asm_alu_imm(struct codebuf *buf, u32 size, enum asm_alu op, u8 to, s32 value);
void asm_test(struct codebuf *buf, u32 size, u8 a, u8 b);
void asm_test_imm(struct codebuf *buf, u32 size, u8 reg, s32 value);
void asm_shift_imm(struct codebuf *buf, u32 size, enum asm_shift op, u8 to, u8 count);
void asm_shift_cl(struct codebuf *buf, u32 size, enum asm_shift op, u8 to);
/* to = from shifted by count; changes no flags. Needs BMI2. */
void asm_shift_bmi2(struct codebuf *buf, u32 size, enum asm_shift op, u8 to, u8 from, u8 count);
void asm_unary(struct codebuf *buf, u32 size, enum asm_unary op, u8 reg);

void asm_nops(struct codebuf *buf, u32 size); /* size bytes in as few instructions as possible */
void asm_push(struct codebuf *buf, u8 reg);
void asm_pop(struct codebuf *buf, u8 reg);
void asm_ret(struct codebuf *buf);
void asm_call(struct codebuf *buf, u64 target);			   /* rel32 */
void asm_jump(struct codebuf *buf, u64 target);			   /* rel32 */
void asm_jcc(struct codebuf *buf, enum x86_cond cond, u64 target); /* rel32 */
void asm_call_reg(struct codebuf *buf, u8 reg);
void asm_jump_reg(struct codebuf *buf, u8 reg);
/* Can a rel32 branch that ends at buf's position plus length reach target? */
bool asm_reaches(const struct codebuf *buf, u32 length, u64 target);

/*
 * Short forward branches: begin returns a mark, land makes the branch go to the current position.
 * At most 127 bytes between, else -ERANGE.
 */
u32 asm_skip_if(struct codebuf *buf, enum x86_cond cond);
u32 asm_skip(struct codebuf *buf);
void asm_land(struct codebuf *buf, u32 mark);

#endif
