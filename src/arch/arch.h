/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one seam between inlay and a CPU.
 *
 * Each CPU folder fills one table. Everything in a table is pure: it reads its arguments and writes code bytes
 * into a codebuf, so all CPUs are built and tested on every host. Only arch_host() code ever runs.
 * A NULL row means "not supported" and the drivers above answer -EOPNOTSUPP.
 */
#ifndef INLAY_ARCH_ARCH_H
#define INLAY_ARCH_ARCH_H

#include "base/types.h"

struct codebuf;
struct jit_unit;
struct stub_spec;
struct trampoline_spec;
struct displaced;

/* What a patchable place holds. NOP and branches are of arch->limits.patch_size bytes; RAW restores displaced bytes. */
enum patch_kind {
	PATCH_NOP,
	PATCH_CALL,
	PATCH_JUMP,
	PATCH_RAW,
};

struct arch {
	const char *name;
	u16 elf_machine;
	struct {
		u8 patch_size;	  /* 5 on x86-64, 4 on arm64 */
		s64 branch_reach; /* bytes a branch reaches either way */
		u8 spin_size; /* an instruction that jumps to itself, for the poke protocol spin; 0: not needed */
		u8 spin[4];
	} limits;
	struct {
		/* One program: see arch/jit_unit.h. Called pass by pass until sizes converge. entry comes before
		 * everything: how C enters a program that makes tail calls. */
		int (*entry)(struct codebuf *buf, const struct jit_unit *unit);
		/* JIT_FEATURE_* of the processor that this runs on. The one row that is not pure; NULL: none. */
		u32 (*features)(void);
		int (*prologue)(struct codebuf *buf, const struct jit_unit *unit, u32 subprog);
		int (*insn)(struct codebuf *buf, const struct jit_unit *unit,
			    u32 index); /* instructions consumed or -errno */
		int (*epilogue)(struct codebuf *buf, const struct jit_unit *unit, u32 subprog);
		/* Pads to where loops run best; NULL: anywhere. */
		void (*align)(struct codebuf *buf);
		bool blinds;  /* knows JIT_BLINDED */
		bool reduces; /* knows JIT_IN_PLACE and JIT_NEAR_* */
		/* Bit per caller-saved register (the CPU's numbers) that the code or its helpers may change. */
		u32 (*clobbers)(const struct jit_unit *unit);
	} jit;
	struct {
		/* The permanent per-site part and the replaceable image: see arch/trampoline.h. */
		int (*stub)(struct codebuf *buf, struct stub_spec *spec);
		int (*image)(struct codebuf *buf, const struct trampoline_spec *spec);
		s32 hit_offset; /* of an image's struct hit from reader->sp */
	} trampoline;
	struct {
		/* Writes patch_size bytes for kind at site -> target. -ERANGE out of reach. */
		int (*encode)(u8 *bytes, enum patch_kind kind, u64 site, u64 target);
		/* Writes 16 bytes that jump to any address and change no register; they may lie anywhere. */
		void (*veneer)(u8 *bytes, u64 target);
	} patch;
	/* What unwinding needs to know of the CPU; registers are numbered as in format/unwind_table.h. */
	struct {
		u8 count;	  /* of registers that are followed; 0: there is no unwinding */
		u8 return_column; /* DWARF's number of the return address */
		u8 dwarf[8];	  /* DWARF's number of each register */
		u8 encoder[8];	  /* the encoder's, as in base/frame_notes.h */
		u8 hit_word[8];	  /* its word of struct hit's regs */
		u8 hit_ip;	  /* the word of the instruction pointer */
		/* In the kernel's signal frame, from sp in the handler's return trampoline. */
		u16 signal_reg[8];
		u16 signal_ip;
	} frame;
	struct {
		/* Emits the displaced instructions so that they do the same at their new address. */
		int (*copy)(struct codebuf *buf, struct displaced *displaced);
	} relocate;
};

extern const struct arch arch_x86_64;
extern const struct arch arch_aarch64;

/* The table of the CPU this was compiled for. */
const struct arch *arch_host(void);

#endif
