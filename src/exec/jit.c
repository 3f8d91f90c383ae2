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
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "exec/exec.h"
#include "exec/fault.h"
#include "exec/jit_blind.h"
#include "exec/jit_known.h"
#include "exec/jit_live.h"
#include "exec/jit_name.h"
#include "exec/jit_near.h"
#include "exec/jit_scan.h"
#include "exec/jit_stack.h"
#include "format/insn.h"
#include "sync/percpu.h"
#include "sync/reader.h"

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
	/* What unit shows the selector as constant. */
	struct bpf_insn *insns; /* of the image, but for what needs no code */
	u16 *live;
	u8 *targets;
	struct jit_in_place *in_place;
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
	arena_free(c->insns);
	arena_free(c->in_place);
	arena_free(c->unit.tails);
	arena_free((void *)(uintptr_t)c->unit.offsets);
	arena_free(c->now.offsets);
	arena_free(c->now.entries);
	arena_free(c->now.epilogues);
}

static int allocate(struct compiler *c, const struct image_header *image)
{
	u32 insn_cnt = image->insn_cnt, sub_cnt = image->subprog_cnt;

	c->subs = arena_alloc(sub_cnt * sizeof(*c->subs));
	c->values = arena_alloc(insn_cnt * sizeof(u64));
	c->now.offsets = arena_alloc(insn_cnt * sizeof(u32));
	c->now.entries = arena_alloc(sub_cnt * sizeof(u32));
	c->now.epilogues = arena_alloc(sub_cnt * sizeof(u32));
	c->unit.offsets = arena_alloc(insn_cnt * sizeof(u32));
	c->unit.tails = arena_alloc((image->tail_cnt + 1) * sizeof(struct jit_tail));
	c->tails = arena_alloc((image->tail_cnt + 1) * sizeof(*c->tails));
	/* Three arrays, one behind the other. */
	c->insns = arena_alloc(insn_cnt * (sizeof(*c->insns) + sizeof(u16) + sizeof(u8)));
	if (!c->subs || !c->values || !c->now.offsets || !c->now.entries || !c->now.epilogues ||
	    !c->unit.offsets || !c->unit.tails || !c->tails || !c->insns)
		return -ENOMEM;
	c->live = (u16 *)(c->insns + insn_cnt);
	c->targets = (u8 *)(c->live + insn_cnt);
	mem_copy(c->insns, image_insns(image), insn_cnt * sizeof(*c->insns));
	return 0;
}

static int find_in_place(struct compiler *c, const struct image_header *image,
			 const struct exec_env *env)
{
	u32 calls = env->in_place && c->arch->jit.reduces ? jit_known_calls(image) : 0;
	int count;

	if (!calls)
		return 0;
	/* One more than calls: the row that is being tried. */
	c->in_place = arena_alloc((calls + 1) * sizeof(*c->in_place));
	if (!c->in_place)
		return -ENOMEM;
	c->unit.in_place = c->in_place;
	count = jit_known(env, &c->unit, c->insns, c->targets, c->values, c->in_place);
	if (count > 0)
		jit_live_targets(image, c->insns, c->targets);
	return MIN(count, 0);
}

static int blind(struct compiler *c)
{
	u64 *key = &c->unit.blind_key;

	if (!c->arch->jit.blinds)
		return -EOPNOTSUPP;
	if (sys_getrandom(key, sizeof(*key), 0) != sizeof(*key))
		return -EIO;
	jit_blind(c->insns, c->unit.insn_cnt, c->targets, c->values);
	return 0;
}

/* What the program says becomes what has to be done. */
static int reduce(struct compiler *c, const struct image_header *image, const struct exec_env *env)
{
	bool trimmed = false;
	int err;

	jit_live_targets(image, c->insns, c->targets);
	err = find_in_place(c, image, env);
	if (err)
		return err;
	jit_live(image, c->insns, c->targets, c->live);
	for (u32 i = 0; i < c->unit.sub_cnt; i++)
		trimmed |= jit_stack_trim(c->insns, &c->subs[i]);
	/* What was stored may have been computed for that alone. */
	if (trimmed)
		jit_live(image, c->insns, c->targets, c->live);
	jit_scan_needs(&c->unit, c->subs);
	if (image->facts & IMAGE_FACT_BLIND)
		return blind(c);
	for (u32 i = 0; i < c->unit.sub_cnt && c->arch->jit.reduces; i++)
		jit_near(&c->unit, &c->subs[i]);
	return 0;
}

static int compiler_init(struct compiler *c, const struct image_header *image,
			 const struct exec_env *env)
{
	int err;

	*c = (struct compiler){.arch = arch_host()};
	if (!c->arch->jit.insn)
		return -EOPNOTSUPP;
	c->align = c->arch->jit.align != NULL;
	err = allocate(c, image);
	if (err)
		return err;
	c->unit.insns = c->insns;
	c->unit.insn_cnt = image->insn_cnt;
	c->unit.subs = c->subs;
	c->unit.sub_cnt = image->subprog_cnt;
	c->unit.values = c->values;
	c->unit.live = c->live;
	c->unit.targets = c->targets;
	c->unit.far = true;
	c->unit.features = c->arch->jit.features ? c->arch->jit.features() : 0;
	c->unit.retpolines = image->facts & IMAGE_FACT_RETPOLINE;
	c->unit.tail_slots = env->tail_slots;
	c->unit.reader_tls = reader_tls_offset();
	c->unit.percpu_slot = ptr_to_u64((const void *)percpu_slot);
	c->unit.fault_load = ptr_to_u64((const void *)fault_load);
	c->unit.helper_lookup = ptr_to_u64((const void *)env->helper);
	c->unit.helper_clobbers = env->helper_clobbers;
	err = jit_scan_values(image, env, c->values);
	if (err)
		return err;
	jit_scan_bounds(image, c->subs);
	c->unit.tail_calls = jit_scan_tail_calls(image, c->subs);
	return reduce(c, image, env);
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
		if (c->align && c->unit.targets[i] & JIT_LOOP_HEAD)
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
