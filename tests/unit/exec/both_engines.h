/* SPDX-License-Identifier: BSD-2-Clause */
/* Run instructions in the interpreter and as compiled code. */
#ifndef INLAY_TESTS_UNIT_EXEC_BOTH_ENGINES_H
#define INLAY_TESTS_UNIT_EXEC_BOTH_ENGINES_H

#include "exec/exec.h"
#include "exec/raw_image.h"
#include "format/insn.h"

enum engine {
	INTERPRETER,
	JIT,
	BLINDED_JIT, /* run_insns only */
};

static inline struct bpf_insn make_insn(u8 code, u32 dst, u32 src, s32 off, s32 imm)
{
	struct bpf_insn insn = {.code = code, .off = (s16)off, .imm = imm};
	u8 regs = (u8)(dst | src << 4);

	__builtin_memcpy((u8 *)&insn + 1, &regs, 1);
	return insn;
}

/* Instruction makers, in the order of struct bpf_insn. */
#define INSN		      make_insn
#define MOV_IMM(dst, imm)     INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define MOV_REG(dst, src)     INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ALU64_IMM(op, dst, i) INSN(BPF_ALU64 | (op) | BPF_K, dst, 0, 0, i)
#define ALU64_REG(op, dst, s) INSN(BPF_ALU64 | (op) | BPF_X, dst, s, 0, 0)
#define CALL(id)	      INSN(BPF_JMP | BPF_CALL, 0, 0, 0, id)
#define CALL_SUB(rel)	      INSN(BPF_JMP | BPF_CALL, 0, INSN_CALL_SUBPROG, 0, rel)
#define EXIT		      INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* Two slots. */
#define LD_IMM64(dst, value)                                                                       \
	INSN(BPF_LD | BPF_IMM | BPF_DW, dst, 0, 0, (s32)(u32)(value)),                             \
		INSN(0, 0, 0, 0, (s32)(u32)((u64)(value) >> 32))

static const struct exec_env no_env;

/* Returns 0 and r0, or -errno of compiling. */
static inline int run_image(enum engine engine, const struct exec_env *env,
			    const struct image_header *image, u64 r1, u64 r2, u64 *ret_r0)
{
	struct exec_code *code;
	int err = 0;

	if (engine == INTERPRETER) {
		*ret_r0 = exec_interpret(image, env, r1, r2);
		return 0;
	}
	err = exec_compile(image, env, 0, false, &code);
	if (err)
		return err;
	*ret_r0 = code->entry(r1, r2);
	exec_free(code);
	return 0;
}

/* Returns 0 and r0, or -errno of building or compiling. */
static inline int run_insns(enum engine engine, const struct exec_env *env,
			    const struct bpf_insn *insns, u32 count, u64 r1, u64 r2, u64 *ret_r0)
{
	struct image_header *image;
	int err = raw_image_create(insns, count, &image);

	if (err)
		return err;
	if (engine == BLINDED_JIT)
		image->facts |= IMAGE_FACT_BLIND;
	err = run_image(engine, env, image, r1, r2, ret_r0);
	raw_image_free(image);
	return err;
}

#endif
