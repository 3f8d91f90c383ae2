/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stubs and images for x86-64 are made of: where things are in a frame and a record, and the small pieces of code that both
 * emit. Private to trampoline*.c. S is the stack pointer at the function's first instruction (the return address is there).
 *
 *   stack             | in the stub         | in an image
 *   S                 | return address      | rsp + FRAME_SIZE + 8
 *   S - 8             | saved r11           | rsp + FRAME_SIZE
 *   S - 8 - 208 ...   |                     | struct hit, 16-aligned since S + 8 is
 */
#ifndef INLAY_ARCH_X86_64_TRAMPOLINE_PARTS_H
#define INLAY_ARCH_X86_64_TRAMPOLINE_PARTS_H

#include "arch/trampoline.h"
#include "arch/x86_64/asm.h"
#include "base/codebuf.h"
#include "sync/reader.h"

#define REGS_AT		  ((s32)offsetof(struct hit, regs))
#define FRAME_SIZE	  208
#define RETURN_AT	  (FRAME_SIZE + 8)
#define STUB_CFA	  16
#define ALL_WORDS	  ((1u << WORD_COUNT) - 1)

#define READER_NEST	  ((s32)offsetof(struct reader, nest))
#define READER_SP	  ((s32)offsetof(struct reader, sp))
#define READER_GENERATION ((s32)offsetof(struct reader, generation))
#define READER_ACTIVE	  ((s32)offsetof(struct reader, active))
#define READER_MISSED	  ((s32)offsetof(struct reader, missed))
#define READER_HITS	  ((s32)offsetof(struct reader, hits))

/* The words of pt_regs. */
enum regs_word {
	WORD_R11 = 6,
	WORD_ORIG_AX = 15,
	WORD_IP,
	WORD_CS,
	WORD_FLAGS,
	WORD_SP,
	WORD_SS,
	WORD_COUNT,
};

/* Which word holds which register; rsp's is computed. */
static const u8 word_of[16] = {
	[X86_R15] = 0,	[X86_R14] = 1,	[X86_R13] = 2,	[X86_R12] = 3,
	[X86_RBP] = 4,	[X86_RBX] = 5,	[X86_R11] = 6,	[X86_R10] = 7,
	[X86_R9] = 8,	[X86_R8] = 9,	[X86_RAX] = 10, [X86_RCX] = 11,
	[X86_RDX] = 12, [X86_RSI] = 13, [X86_RDI] = 14, [X86_RSP] = WORD_SP,
};

static const u8 caller_saved[] = {X86_RAX, X86_RCX, X86_RDX, X86_RSI,
				  X86_RDI, X86_R8,  X86_R9,  X86_R10};

/* Offsets and sizes are the ABI's; a change there must not go unnoticed here. */
_Static_assert(sizeof(struct hit) <= FRAME_SIZE && FRAME_SIZE % 16 == 0, "frame");

/* For unwinders: from here on S + 8 is rsp + offset. */
static inline void note_cfa(struct codebuf *buf, s32 offset)
{
	codebuf_note(buf, FRAME_CFA, X86_RSP, offset);
}

static inline s32 word_at(u32 word)
{
	return REGS_AT + 8 * (s32)word;
}

/* op qword [base + disp], imm8 */
static inline void emit_mem_imm8(struct codebuf *buf, u32 opcode, u8 digit, u8 base, s32 disp,
				 u8 imm)
{
	asm_mem(buf, 8, opcode, digit, base, disp);
	asm_byte(buf, imm);
}

static inline void emit_compare(struct codebuf *buf, u8 base, s32 disp, u8 imm)
{
	emit_mem_imm8(buf, 0x83, ASM_CMP, base, disp, imm);
}

static inline void emit_increment(struct codebuf *buf, u8 base, s32 disp)
{
	asm_mem(buf, 8, 0xff, 0, base, disp);
}

static inline void emit_decrement(struct codebuf *buf, u8 base, s32 disp)
{
	asm_mem(buf, 8, 0xff, 1, base, disp);
}

/* mov r11, fs:[offset] */
static inline void emit_load_reader(struct codebuf *buf, s64 offset)
{
	codebuf_put(buf, 0x251c8b4c64, 5);
	codebuf_put(buf, (u32)offset, 4);
}

/* A call that reaches anywhere; may use rax. A sizing pass counts the longer form. */
static inline void emit_call(struct codebuf *buf, u64 target)
{
	if (buf->bytes && asm_reaches(buf, 5, target)) {
		asm_call(buf, target);
		return;
	}
	asm_byte(buf, 0x48);
	asm_byte(buf, 0xb8);
	codebuf_put(buf, target, 8);
	asm_call_reg(buf, X86_RAX);
}

/* A forward jcc rel32: its target is filled in by land_far. */
static inline u32 emit_far_if(struct codebuf *buf, enum x86_cond cond)
{
	asm_jcc(buf, cond, codebuf_pc(buf) + 6);
	return buf->size;
}

static inline void land_far(struct codebuf *buf, u32 mark)
{
	u32 distance = buf->size - mark;

	if (buf->bytes && !buf->error)
		__builtin_memcpy(buf->bytes + mark - 4, &distance, 4);
}

/* Both in a stub, with r11 saved; cfa: as noted there. */
static inline void push_caller_saved(struct codebuf *buf, s32 cfa)
{
	for (u32 i = 0; i < ARRAY_SIZE(caller_saved); i++) {
		asm_push(buf, caller_saved[i]);
		note_cfa(buf, cfa + 8 * (s32)(i + 1));
	}
}

static inline void pop_caller_saved(struct codebuf *buf, s32 cfa)
{
	for (u32 i = ARRAY_SIZE(caller_saved); i-- > 0;) {
		asm_pop(buf, caller_saved[i]);
		note_cfa(buf, cfa + 8 * (s32)i);
	}
}

static const u8 argument_registers[] = {X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8, X86_R9};

static inline s32 copies_size(const struct signature *signature)
{
	return (s32)ALIGN_UP(8 * (u32)signature->stack_words, 16u);
}

/* Where the struct hit of an EXIT stub is, from the stack pointer of its images. */
static inline s32 typed_hit_at_exit(const struct signature *signature)
{
	return 16 + copies_size(signature);
}

/* movq [rsp + at], xmm */
static inline void store_vector(struct codebuf *buf, s32 at, u8 vector)
{
	asm_byte(buf, 0x66);
	asm_mem(buf, 4, 0x0fd6, vector, X86_RSP, at);
}

/* Word i of the arguments into the struct hit at `hit`, when it is in a register. */
static inline void store_register_word(struct codebuf *buf, const struct signature *signature,
				       u32 i, s32 hit)
{
	u8 place = signature->slots[i], number = place & (u8)~SIGNATURE_PLACE_MASK;

	if ((place & SIGNATURE_PLACE_MASK) == SIGNATURE_GENERAL)
		asm_store(buf, 8, X86_RSP, hit + word_at(i), argument_registers[number]);
	else if ((place & SIGNATURE_PLACE_MASK) == SIGNATURE_VECTOR)
		store_vector(buf, hit + word_at(i), number);
}

static inline void move_word(struct codebuf *buf, s32 to, s32 from)
{
	asm_load(buf, 8, X86_RAX, X86_RSP, from);
	asm_store(buf, 8, X86_RSP, to, X86_RAX);
}

static inline void reload_reader(struct codebuf *buf)
{
	asm_load(buf, 8, X86_R11, X86_RSP, (s32)offsetof(struct hit, reader));
}

/*
 * trampoline_returns.c. push and pop are the common cases, which use rax, rcx and rdi (RETURN_SCRATCH); the branches out of them
 * land where trampoline_land_slow is called, followed by call_push or call_pop, which save and restore the caller-saved registers
 * `unsaved` themselves, and a jump to paths->join. All leave the reader in r11.
 */
#define RETURN_SCRATCH (X86_BIT(X86_RAX) | X86_BIT(X86_RCX) | X86_BIT(X86_RDI))

struct return_paths {
	u32 slow[6], count; /* marks of the branches */
	u64 join;
};

void trampoline_push_return(struct codebuf *buf, const struct trampoline_spec *spec, s32 return_at,
			    struct return_paths *paths);
void trampoline_pop_return(struct codebuf *buf, s32 return_at, bool wants_caller,
			   struct return_paths *paths);
void trampoline_land_slow(struct codebuf *buf, struct return_paths *paths);
void trampoline_call_push(struct codebuf *buf, const struct trampoline_spec *spec, s32 return_at,
			  u32 unsaved);
void trampoline_call_pop(struct codebuf *buf, u64 lookup, s32 return_at, u32 unsaved);
/* A RETURN stub's ret_direct: hooks the return and goes to the function; to the ENTRY stub in all but the common case. */
void trampoline_hook_directly(struct codebuf *buf, const struct stub_spec *spec, u64 landing);

#endif
