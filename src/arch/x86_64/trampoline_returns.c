// SPDX-License-Identifier: BSD-2-Clause
/*
 * Hooking and unhooking returns, x86-64: the common cases of hook/shadow.c's push and pop, in the same order of stores, in
 * line; it is called for the others.
 *
 * The common case: the thread has a stack of its own with room, and the entry on top of it is of a frame farther up than the
 * one at hand. A frame that longjmp left behind, a coroutine's, or one that shares the slot is not.
 *
 * rax, rcx and rdi are the image's to use (it has saved them), r11 holds the reader and can be loaded again.
 */
#include "arch/shadow_stack.h"
#include "arch/x86_64/trampoline_parts.h"

#define ENTRY_SIZE ((s32)sizeof(struct shadow_entry))
#define TOP	   ((s32)offsetof(struct shadow, top))
#define ENTRIES	   ((s32)offsetof(struct shadow, entries))
#define SLOT	   ((s32)offsetof(struct shadow_entry, slot))
#define TARGET	   ((s32)offsetof(struct shadow_entry, target))
#define LANDING	   ((s32)offsetof(struct shadow_entry, landing))

static void leave_if(struct codebuf *buf, struct return_paths *paths, enum x86_cond cond)
{
	paths->slow[paths->count++] = emit_far_if(buf, cond);
}

/* cmp qword [base + disp], reg */
static void compare_memory(struct codebuf *buf, u8 base, s32 disp, u8 reg)
{
	asm_mem(buf, 8, 0x39, reg, base, disp);
}

static void load_shadow(struct codebuf *buf, struct return_paths *paths)
{
	asm_load(buf, 8, X86_RCX, X86_R11, (s32)offsetof(struct reader, shadow));
	asm_test(buf, 8, X86_RCX, X86_RCX);
	leave_if(buf, paths, X86_CC_E);
	asm_load(buf, 4, X86_RAX, X86_RCX, TOP);
}

/* rdi = address of the entry that is `from` entries from the one with index rax. */
static void point_to_entry(struct codebuf *buf, s32 from)
{
	const struct asm_index thrice = {.base = X86_RAX, .index = X86_RAX, .scale = 1};
	const struct asm_index entry = {
		.base = X86_RCX, .index = X86_RDI, .scale = 3, .disp = ENTRIES + from * ENTRY_SIZE};

	_Static_assert(sizeof(struct shadow_entry) == 24, "scaled by 3 * 8");
	asm_mem_index(buf, 8, 0x8d, X86_RDI, &thrice);
	asm_mem_index(buf, 8, 0x8d, X86_RDI, &entry);
}

/* rdi = the entry above all others, r11 = slot; the slot's frame is farther down than the others'. */
static void find_free(struct codebuf *buf, s32 return_at, struct return_paths *paths)
{
	asm_alu_imm(buf, 4, ASM_CMP, X86_RAX, SHADOW_ENTRIES);
	leave_if(buf, paths, X86_CC_AE);
	point_to_entry(buf, 0);
	asm_lea(buf, X86_R11, X86_RSP, return_at);
	compare_memory(buf, X86_RDI, SLOT - ENTRY_SIZE, X86_R11);
	leave_if(buf, paths, X86_CC_BE);
}

void trampoline_push_return(struct codebuf *buf, const struct trampoline_spec *spec, s32 return_at,
			    struct return_paths *paths)
{
	load_shadow(buf, paths);
	find_free(buf, return_at, paths);
	/* It counts before it is filled; then it is looked whether a handler has left both top and slot alone. */
	asm_alu_imm(buf, 4, ASM_ADD, X86_RAX, 1);
	asm_store(buf, 4, X86_RCX, TOP, X86_RAX);
	asm_store(buf, 8, X86_RDI, SLOT, X86_R11);
	asm_mem(buf, 4, 0x39, X86_RAX, X86_RCX, TOP);
	leave_if(buf, paths, X86_CC_NE);
	compare_memory(buf, X86_RDI, SLOT, X86_R11);
	leave_if(buf, paths, X86_CC_NE);
	asm_load(buf, 8, X86_RAX, X86_RSP, return_at);
	asm_store(buf, 8, X86_RDI, TARGET, X86_RAX);
	asm_lea_rip(buf, X86_RAX, spec->hook_site);
	asm_store(buf, 8, X86_RDI, LANDING, X86_RAX);
	asm_store(buf, 8, X86_RSP, return_at, X86_RAX);
	reload_reader(buf);
	paths->join = codebuf_pc(buf);
}

void trampoline_pop_return(struct codebuf *buf, s32 return_at, bool wants_caller,
			   struct return_paths *paths)
{
	load_shadow(buf, paths);
	asm_alu_imm(buf, 4, ASM_CMP, X86_RAX, SHADOW_MIDDLE);
	leave_if(buf, paths, X86_CC_E);
	point_to_entry(buf, -1);
	asm_alu_imm(buf, 4, ASM_SUB, X86_RAX, 1);
	asm_lea(buf, X86_R11, X86_RSP, return_at);
	compare_memory(buf, X86_RDI, SLOT, X86_R11);
	leave_if(buf, paths, X86_CC_NE);
	compare_memory(buf, X86_RDI, SLOT - ENTRY_SIZE, X86_R11);
	leave_if(buf, paths, X86_CC_BE);
	/* The word is right before the entry goes (unwinders), and the entry is free before it counts no more (handlers). */
	asm_load(buf, 8, X86_R11, X86_RDI, TARGET);
	asm_store(buf, 8, X86_RSP, return_at, X86_R11);
	asm_store_imm(buf, 8, X86_RDI, SLOT, 0);
	asm_store(buf, 4, X86_RCX, TOP, X86_RAX);
	if (wants_caller)
		asm_store(buf, 8, X86_RSP, (s32)offsetof(struct hit, return_address), X86_R11);
	reload_reader(buf);
	paths->join = codebuf_pc(buf);
}

/* The caller-saved registers that the image has not saved, to their words and back. */
static void move_unsaved(struct codebuf *buf, u32 unsaved, bool back)
{
	for (u8 reg = 0; reg < 16; reg++) {
		if (!(unsaved & X86_BIT(reg)))
			continue;
		if (back)
			asm_load(buf, 8, reg, X86_RSP, word_at(word_of[reg]));
		else
			asm_store(buf, 8, X86_RSP, word_at(word_of[reg]), reg);
	}
}

void trampoline_call_push(struct codebuf *buf, const struct trampoline_spec *spec, s32 return_at,
			  u32 unsaved)
{
	move_unsaved(buf, unsaved, false);
	reload_reader(buf);
	asm_mov(buf, 8, X86_RDI, X86_R11);
	asm_lea(buf, X86_RSI, X86_RSP, return_at);
	asm_mov_imm(buf, X86_RDX, spec->hook_site);
	emit_call(buf, spec->hook_return);
	move_unsaved(buf, unsaved, true);
	reload_reader(buf);
}

void trampoline_call_pop(struct codebuf *buf, u64 lookup, s32 return_at, u32 unsaved)
{
	move_unsaved(buf, unsaved, false);
	reload_reader(buf);
	asm_mov(buf, 8, X86_RDI, X86_R11);
	asm_lea(buf, X86_RSI, X86_RSP, return_at);
	asm_mov(buf, 8, X86_RDX, X86_RSP);
	emit_call(buf, lookup);
	asm_store(buf, 8, X86_RSP, return_at, X86_RAX);
	move_unsaved(buf, unsaved, true);
	reload_reader(buf);
}

void trampoline_land_slow(struct codebuf *buf, struct return_paths *paths)
{
	while (paths->count)
		land_far(buf, paths->slow[--paths->count]);
}

static void push_noted(struct codebuf *buf, u8 reg, s32 *cfa)
{
	asm_push(buf, reg);
	*cfa += 8;
	note_cfa(buf, *cfa);
}

static void pop_noted(struct codebuf *buf, u8 reg, s32 *cfa)
{
	asm_pop(buf, reg);
	*cfa -= 8;
	note_cfa(buf, *cfa);
}

static const u8 direct_saved[] = {X86_R11, X86_RAX, X86_RCX, X86_RDI};

/* Drops the word at rsp, then the saved registers. */
static void restore_direct(struct codebuf *buf, s32 cfa)
{
	asm_lea(buf, X86_RSP, X86_RSP, 8);
	cfa -= 8;
	note_cfa(buf, cfa);
	for (u32 i = ARRAY_SIZE(direct_saved); i-- > 0;)
		pop_noted(buf, direct_saved[i], &cfa);
}

/*
 * Without a mark, so a handler in between takes itself for the outermost hit, and may drop what looks left behind: this entry, until
 * its slot holds the landing. So the slot is written before it is looked whether the entry is still there, and the stack keeps
 * the return address (at rsp), which is put back if not. The entry counts before any of it is written: a handler that takes it,
 * since it has no slot yet, leaves top below it.
 */
void trampoline_hook_directly(struct codebuf *buf, const struct stub_spec *spec, u64 landing)
{
	struct return_paths paths = {.count = 0};
	u32 undo[2], no_reader;
	s32 cfa = STUB_CFA - 8;
	s32 slot;

	note_cfa(buf, cfa);
	for (u32 i = 0; i < ARRAY_SIZE(direct_saved); i++)
		push_noted(buf, direct_saved[i], &cfa);
	asm_load(buf, 8, X86_RAX, X86_RSP, cfa - 8);
	push_noted(buf, X86_RAX, &cfa);
	slot = cfa - 8;
	emit_load_reader(buf, spec->tls_offset);
	asm_test(buf, 8, X86_R11, X86_R11);
	no_reader = emit_far_if(buf, X86_CC_E);
	load_shadow(buf, &paths);
	find_free(buf, slot, &paths);
	asm_alu_imm(buf, 4, ASM_ADD, X86_RAX, 1);
	asm_store(buf, 4, X86_RCX, TOP, X86_RAX);
	asm_load(buf, 8, X86_R11, X86_RSP, 0);
	asm_store(buf, 8, X86_RDI, TARGET, X86_R11);
	asm_lea_rip(buf, X86_R11, landing);
	asm_store(buf, 8, X86_RDI, LANDING, X86_R11);
	asm_lea(buf, X86_R11, X86_RSP, slot);
	asm_store(buf, 8, X86_RDI, SLOT, X86_R11);
	asm_lea_rip(buf, X86_R11, landing);
	asm_store(buf, 8, X86_RSP, slot, X86_R11);
	asm_mem(buf, 4, 0x39, X86_RAX, X86_RCX, TOP);
	undo[0] = emit_far_if(buf, X86_CC_NE);
	asm_lea(buf, X86_R11, X86_RSP, slot);
	compare_memory(buf, X86_RDI, SLOT, X86_R11);
	undo[1] = emit_far_if(buf, X86_CC_NE);
	restore_direct(buf, cfa);
	asm_jump(buf, spec->function);
	note_cfa(buf, cfa);
	land_far(buf, undo[0]);
	land_far(buf, undo[1]);
	asm_load(buf, 8, X86_RAX, X86_RSP, 0);
	asm_store(buf, 8, X86_RSP, slot, X86_RAX);
	land_far(buf, no_reader);
	trampoline_land_slow(buf, &paths);
	restore_direct(buf, cfa);
	asm_jump(buf, spec->entry);
}
