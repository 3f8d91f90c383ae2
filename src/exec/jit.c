/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The JIT driver: resolves what the program refers to, emits pass after pass until sizes agree, then once more
 * into executable memory. It knows no CPU; arch_host()'s rows do the work.
 *
 * Two rounds of passes: the first without an address, where a helper is assumed out of reach; the second at the
 * address of the memory that the first one's size has got, where code only shrinks.
 */
#include <errno.h>

#include "arch/arch.h"
#include "arch/jit_unit.h"
#include "base/arena.h"
#include "base/code_map.h"
#include "base/codebuf.h"
#include "base/text.h"
#include "exec/exec.h"
#include "exec/fault.h"
#include "exec/jit_live.h"
#include "exec/jit_name.h"
#include "exec/jit_scan.h"
#include "format/insn.h"

#define MAX_PASSES     64
#define ALIGNED_PASSES 16

/* Offsets of one pass: of each instruction, and of each subprogram's prologue and epilogue. */
struct layout {
	u32 *offsets;
	u32 *entries;
	u32 *epilogues;
};

struct compiler {
	struct jit_unit unit;
	struct jit_sub *subs;
	u64 *values;
	struct exec_tail *tails;   /* of the image; unit.tails are filled by the passes */
	struct layout now;	   /* being written; unit and subs hold those of the pass before */
	u32 size;		   /* of the pass before */
	bool align;		   /* loop heads, see converge() */
	struct frame_notes frames; /* of the last pass; with capacity 0 only counted */
	const struct arch *arch;
};

static void compiler_release(struct compiler *c)
{
	arena_free(c->subs);
	arena_free(c->values);
	arena_free(c->tails);
	arena_free(c->frames.notes);
	arena_free((void *)(uintptr_t)c->unit.live);
	arena_free(c->unit.tails);
	arena_free((void *)(uintptr_t)c->unit.offsets);
	arena_free(c->now.offsets);
	arena_free(c->now.entries);
	arena_free(c->now.epilogues);
}

static int compiler_init(struct compiler *c, const struct image_header *image,
			 const struct exec_env *env)
{
	u32 insn_cnt = image->insn_cnt, sub_cnt = image->subprog_cnt;
	u16 *live;

	*c = (struct compiler){.arch = arch_host()};
	if (!c->arch->jit.insn)
		return -EOPNOTSUPP;
	c->align = c->arch->jit.align != NULL;
	c->subs = arena_alloc(sub_cnt * sizeof(*c->subs));
	c->values = arena_alloc(insn_cnt * sizeof(u64));
	c->now.offsets = arena_alloc(insn_cnt * sizeof(u32));
	c->now.entries = arena_alloc(sub_cnt * sizeof(u32));
	c->now.epilogues = arena_alloc(sub_cnt * sizeof(u32));
	c->unit = (struct jit_unit){
		.insns = image_insns(image),
		.insn_cnt = insn_cnt,
		.subs = c->subs,
		.sub_cnt = sub_cnt,
		.values = c->values,
		.offsets = arena_alloc(insn_cnt * sizeof(u32)),
		.far = true,
		.features = c->arch->jit.features ? c->arch->jit.features() : 0,
		.retpolines = image->facts & IMAGE_FACT_RETPOLINE,
		.tail_slots = env->tail_slots,
		.tails = arena_alloc((image->tail_cnt + 1) * sizeof(struct jit_tail)),
		.fault_load = ptr_to_u64((const void *)fault_load),
		.helper_lookup = ptr_to_u64((const void *)env->helper),
		.helper_clobbers = env->helper_clobbers,
	};
	if (!c->subs || !c->values || !c->now.offsets || !c->now.entries || !c->now.epilogues ||
	    !c->unit.offsets || !c->unit.tails)
		return -ENOMEM;
	/* Two arrays, one behind the other. */
	live = arena_alloc(insn_cnt * (sizeof(u16) + sizeof(u8)));
	if (!live)
		return -ENOMEM;
	c->unit.live = live;
	c->unit.targets = (u8 *)(live + insn_cnt);
	jit_live(image, live, (u8 *)(live + insn_cnt));
	if (image->tail_cnt) {
		c->tails = arena_alloc(image->tail_cnt * sizeof(*c->tails));
		if (!c->tails)
			return -ENOMEM;
	}
	jit_scan_subs(image, c->subs);
	c->unit.tail_calls = jit_scan_tail_calls(image, c->subs);
	return jit_scan_values(image, env, c->values);
}

static int emit_sub(struct compiler *c, struct codebuf *buf, u32 number)
{
	const struct jit_sub *sub = &c->subs[number];
	int used;

	c->now.entries[number] = buf->size;
	used = c->arch->jit.prologue(buf, &c->unit, number);
	if (used < 0)
		return used;
	for (u32 i = sub->start; i < sub->end; i += (u32)used) {
		if (c->align && c->unit.targets[i] == JIT_LOOP_HEAD)
			c->arch->jit.align(buf);
		c->now.offsets[i] = buf->size;
		used = c->arch->jit.insn(buf, &c->unit, i);
		if (used < 0)
			return used;
		for (u32 next = i + 1; next < i + (u32)used; next++)
			c->now.offsets[next] = buf->size;
	}
	c->now.epilogues[number] = buf->size;
	return c->arch->jit.epilogue(buf, &c->unit, number);
}

/* The layout of this pass becomes that of the pass before. Returns whether it is the same. */
static bool settle(struct compiler *c, u32 size)
{
	u32 *offsets = (u32 *)(uintptr_t)c->unit.offsets;
	bool same = !c->unit.far && c->size == size;

	for (u32 i = 0; i < c->unit.insn_cnt; i++) {
		same = same && offsets[i] == c->now.offsets[i];
		offsets[i] = c->now.offsets[i];
	}
	for (u32 i = 0; i < c->unit.sub_cnt; i++) {
		same = same && c->subs[i].entry == c->now.entries[i] &&
		       c->subs[i].epilogue == c->now.epilogues[i];
		c->subs[i].entry = c->now.entries[i];
		c->subs[i].epilogue = c->now.epilogues[i];
	}
	c->size = size;
	c->unit.far = false;
	return same;
}

/* One pass over everything. Returns 1 when the code agrees with the layout of the pass before, 0 or -errno. */
static int pass(struct compiler *c, u8 *bytes, u64 exec, u32 capacity)
{
	struct codebuf buf;

	codebuf_init(&buf, bytes, exec, capacity);
	c->frames.count = 0;
	buf.frames = &c->frames;
	if (c->unit.tail_calls) {
		int err = c->arch->jit.entry ? c->arch->jit.entry(&buf, &c->unit) : -EOPNOTSUPP;

		if (err)
			return err;
	}
	for (u32 number = 0; number < c->unit.sub_cnt; number++) {
		int err = emit_sub(c, &buf, number);

		if (err)
			return err;
	}
	/* In a pass that is not the last, a branch may seem out of reach. */
	return settle(c, buf.size) ? (buf.error ? buf.error : 1) : 0;
}

/* Padding may grow while code shrinks, so that passes need not agree: after some, there is none. */
static int converge(struct compiler *c, const struct text_block *block)
{
	for (int i = 0; i < MAX_PASSES; i++) {
		if (i == ALIGNED_PASSES)
			c->align = false;
		int result = block ? pass(c, block->write, ptr_to_u64(block->exec), block->size)
				   : pass(c, NULL, 0, 0);

		if (result)
			return result < 0 ? result : 0;
	}
	return -EOPNOTSUPP;
}

static void give_tails(struct compiler *c, const struct image_header *image, struct exec_code *code)
{
	const struct image_tail *from = image_tails(image);

	for (u32 i = 0; i < image->tail_cnt; i++) {
		const struct jit_tail *at = &c->unit.tails[i];

		c->tails[i] = (struct exec_tail){.map_index = from[i].map_index,
						 .key = from[i].key,
						 .bypass = at->bypass,
						 .target = at->target,
						 .out = at->out};
	}
	code->tails = c->tails;
	code->tail_cnt = image->tail_cnt;
	code->tail_entry = ptr_to_u64(code->text) + c->subs[0].entry;
	c->tails = NULL;
}

/* The passes that follow emit no more of them than the one before. */
static int make_room_for_frames(struct compiler *c)
{
	c->frames.notes = arena_alloc((c->frames.count + 1) * sizeof(c->frames.notes[0]));
	c->frames.capacity = c->frames.count;
	return c->frames.notes ? 0 : -ENOMEM;
}

/* Code without its notes runs as well; only unwinders do not see through it. */
static void map_code(const struct compiler *c, const struct image_header *image,
		     const struct exec_code *code)
{
	char name[JIT_NAME_SIZE];

	jit_name(image, name);
	code_map_add(ptr_to_u64(code->text), code->size, 0, &c->frames, name);
}

static int emit_code(struct compiler *c, u64 near, bool keep_offsets, struct exec_code *code)
{
	int err = converge(c, NULL);

	if (err)
		return err;
	err = make_room_for_frames(c);
	if (!err)
		err = text_alloc(near, c->size, code->block);
	if (err)
		return err;
	err = converge(c, code->block);
	if (!err)
		err = text_commit(code->block);
	if (err) {
		text_free(code->block);
		return err;
	}
	code->entry = (u64(*)(u64, u64))(uintptr_t)code->block->exec;
	code->text = code->block->exec;
	code->size = c->size;
	code->clobbers = c->arch->jit.clobbers(&c->unit);
	if (keep_offsets) {
		code->insn_offsets = c->now.offsets;
		c->now.offsets = NULL;
	}
	return 0;
}

int exec_compile(const struct image_header *image, const struct exec_env *env, u64 near,
		 bool keep_offsets, struct exec_code **ret_code)
{
	struct exec_code *code = arena_alloc(sizeof(*code) + sizeof(struct text_block));
	struct compiler c;
	int err = -ENOMEM;

	if (!code)
		return -ENOMEM;
	code->block = (struct text_block *)(code + 1);
	err = compiler_init(&c, image, env);
	if (!err)
		err = emit_code(&c, near, keep_offsets, code);
	if (!err) {
		map_code(&c, image, code);
		give_tails(&c, image, code);
	}
	compiler_release(&c);
	if (err) {
		arena_free(code);
		return err;
	}
	*ret_code = code;
	return 0;
}

void exec_free(struct exec_code *code)
{
	if (!code)
		return;
	code_map_remove(ptr_to_u64(code->text));
	text_free(code->block);
	arena_free(code->insn_offsets);
	arena_free(code->tails);
	arena_free(code);
}
