// SPDX-License-Identifier: BSD-2-Clause
#include "hook/site.h"

#include <errno.h>

#include "base/arena.h"
#include "base/code_map.h"
#include "base/codebuf.h"
#include "base/mem.h"
#include "base/self_mem.h"
#include "base/symbol_name.h"
#include "hook/shadow.h"
#include "hook/stale.h"
#include "sync/percpu.h"
#include "sync/reader.h"

#define BUCKETS 4096

static struct site *buckets[BUCKETS];

static struct site **bucket_of(u64 address)
{
	return &buckets[address * 0x9e3779b97f4a7c15ull >> 52];
}

static struct site *find(u64 address)
{
	struct site *site = *bucket_of(address);

	while (site && site->spec.address != address)
		site = site->next;
	return site;
}

static u32 window_of(const struct site_spec *spec)
{
	return spec->kind == SITE_NOP ? arch_host()->limits.patch_size : spec->displaced.length;
}

/* Does its branch still stand? A library that was unmapped has taken it along. */
static bool still_owns(struct site *site)
{
	struct poke poke;

	if (!site->patched)
		return false;
	site->patched = site_fill_poke(site, false, &poke) || poke_is_there(&poke);
	return site->patched;
}

const struct site *site_owner(const struct site_spec *spec)
{
	u64 end = spec->address + window_of(spec);

	for (u64 at = spec->address - DISPLACED_MAX_BYTES + 1; at < end; at++) {
		struct site *other = find(at);

		if (other && at + window_of(&other->spec) > spec->address && still_owns(other))
			return other;
	}
	return NULL;
}

static bool same_recipe(const struct site_spec *a, const struct site_spec *b)
{
	return a->kind == b->kind && a->function == b->function && a->inside == b->inside &&
	       a->before == b->before && a->semaphore == b->semaphore &&
	       a->displaced.length == b->displaced.length &&
	       a->displaced.count == b->displaced.count &&
	       mem_equal(&a->file, &b->file, sizeof(a->file)) &&
	       mem_equal(a->displaced.bytes, b->displaced.bytes, DISPLACED_MAX_BYTES);
}

static bool recipe_is_sane(const struct site_spec *spec)
{
	const struct displaced *displaced = &spec->displaced;
	u32 patch_size = arch_host()->limits.patch_size;

	if (spec->kind > SITE_PROLOGUE || spec->protocol >= POKE_PROTOCOL_MAX ||
	    displaced->length > DISPLACED_MAX_BYTES || displaced->count > DISPLACED_MAX_INSNS ||
	    spec->before >= DISPLACED_MAX_INSNS ||
	    (spec->before && spec->before >= displaced->count))
		return false;
	return spec->kind == SITE_NOP || (displaced->length >= patch_size && displaced->count > 0);
}

int site_claim(const struct site_spec *spec, struct site **ret_site)
{
	struct site **bucket = bucket_of(spec->address);
	struct site *site = find(spec->address);

	if (!recipe_is_sane(spec))
		return -EINVAL;
	if (site && same_recipe(&site->spec, spec)) {
		site->spec.protocol = spec->protocol;
		*ret_site = site;
		return 0;
	}
	if (site_owner(spec))
		return -EBUSY;
	/* Another file has been mapped here since: the old site, ahead of which this one is found, keeps its stub. */
	site = arena_alloc(sizeof(*site));
	if (!site)
		return -ENOMEM;
	site->spec = *spec;
	site->next = *bucket;
	*bucket = site;
	*ret_site = site;
	return 0;
}

u64 site_stub_address(const struct site *site, enum hook_side side)
{
	return ptr_to_u64(site->stubs[side].block.exec);
}

/* It lies inside one aligned word: threads in it take the old way or the new. */
static int patch_stub(struct site_stub *stub, u32 offset, enum patch_kind kind, u64 target)
{
	u32 at = offset & ~7u, size = arch_host()->limits.patch_size;
	u64 from = ptr_to_u64(stub->block.exec) + offset;
	u8 *prepared = stub->block.write; /* nobody runs it yet */
	u8 word[8], branch[POKE_MAX_BYTES];
	u64 value;
	int err;

	err = arch_host()->patch.encode(branch, kind, from, target);
	if (err)
		return err;
	if (prepared) {
		mem_copy(prepared + offset, branch, size);
		return 0;
	}
	mem_copy(word, stub->block.exec + at, 8);
	mem_copy(word + (offset & 7), branch, size);
	mem_copy(&value, word, 8);
	return text_patch(&stub->block, at, value);
}

static int point_stub(struct site_stub *stub, u64 target)
{
	return patch_stub(stub, stub->spec.ret_branch, PATCH_JUMP, target);
}

/* ENTRY stubs; 0: none. */
static int set_shortcut(struct site_stub *stub, u64 target)
{
	return patch_stub(stub, stub->spec.ret_shortcut, target ? PATCH_JUMP : PATCH_NOP, target);
}

static u64 idle_of(const struct site_stub *stub)
{
	return ptr_to_u64(stub->block.exec) + stub->spec.ret_idle;
}

/* Code without its notes runs as well; only unwinders do not see through it. */
static void map_code(const struct text_block *block, u32 size, u64 window,
		     const struct frame_notes *notes, enum trampoline_when when, u64 function)
{
	static const char *const kinds[] = {"entry", "return", "exit"};
	char name[48], *at;

	at = symbol_put_text(name, window ? "bpf_stub_" : "bpf_trampoline_", 16);
	at = symbol_put_text(at, kinds[when], 8);
	*at++ = '_';
	*symbol_put_hex(at, function, 0) = 0;
	code_map_add(ptr_to_u64(block->exec), size, window, notes, name);
}

/* A point's frame has no rule that notes could tell: its code is known by its range alone. */
static void drop_point_notes(struct frame_notes *notes, bool inside)
{
	if (inside)
		notes->count = 0;
}

static int emit_stub(struct site_stub *stub, u64 near)
{
	const struct arch *arch = arch_host();
	struct frame_note room[CODE_MAP_MAX_NOTES];
	struct frame_notes notes = {room, 0, ARRAY_SIZE(room)};
	struct codebuf buf;
	int err;

	codebuf_init(&buf, NULL, ALIGN_DOWN(near, 16ull), 0);
	err = arch->trampoline.stub(&buf, &stub->spec);
	if (!err)
		err = text_alloc(near, buf.size, &stub->block);
	if (err)
		return err;
	codebuf_init(&buf, stub->block.write, ptr_to_u64(stub->block.exec), stub->block.size);
	buf.frames = &notes;
	err = arch->trampoline.stub(&buf, &stub->spec);
	if (!err)
		err = point_stub(stub, idle_of(stub));
	if (!err)
		err = text_commit(&stub->block);
	if (err)
		text_free(&stub->block);
	else
		drop_point_notes(&notes, stub->spec.inside);
	if (!err)
		map_code(&stub->block, buf.size, near, &notes, stub->spec.when, near);
	return err;
}

static enum trampoline_when when_of(enum hook_side side)
{
	return side == HOOK_ENTRY    ? TRAMPOLINE_ENTRY
	       : side == HOOK_RETURN ? TRAMPOLINE_RETURN
				     : TRAMPOLINE_EXIT;
}

int site_make_stub(struct site *site, enum hook_side side)
{
	const struct site_stub *entry = &site->stubs[HOOK_ENTRY];
	struct site_stub *stub = &site->stubs[side];
	int err;

	if (stub->made)
		return 0;
	if (!arch_host()->trampoline.stub)
		return -EOPNOTSUPP;
	stub->spec = (struct stub_spec){
		.when = when_of(side),
		.tls_offset = reader_tls_offset(),
		.slow_path = ptr_to_u64((const void *)reader_self),
		.judge = ptr_to_u64((const void *)stale_judge_mark),
		.resume = site->spec.address + window_of(&site->spec),
		.displaced = site->spec.kind == SITE_NOP ? NULL : &site->spec.displaced,
		.inside = site->spec.inside,
		.before = site->spec.before,
		.return_lookup = ptr_to_u64((const void *)shadow_pop),
		.function = site->spec.kind == SITE_NOP
				    ? site->spec.address + window_of(&site->spec)
				    : ptr_to_u64(entry->block.exec) + entry->spec.ret_displaced,
		.entry = ptr_to_u64(entry->block.exec) + entry->spec.ret_shortcut +
			 arch_host()->limits.patch_size,
		.signature = &site->signature,
	};
	err = emit_stub(stub, site->spec.address);
	if (!err)
		stub->made = true;
	return err;
}

static u32 collect_calls(const struct site_programs *programs, bool without_all,
			 const struct hook_link *without, struct trampoline_call *ret_calls)
{
	u32 count = 0;

	for (u32 i = 0; i < programs->count && !without_all; i++) {
		if (!without || programs->calls[i].link != without)
			ret_calls[count++] = programs->calls[i].call;
	}
	return count;
}

/* Where programs of a point run: behind the instructions before it. 0 at a function's entry. */
static u64 point_of(const struct site_spec *spec)
{
	if (!spec->inside)
		return 0;
	return spec->address + (spec->before ? spec->displaced.insns[spec->before].offset : 0);
}

static int emit_image(const struct trampoline_spec *spec, u64 near, struct site_image **ret_image)
{
	const struct arch *arch = arch_host();
	struct site_image *image = arena_alloc(sizeof(*image));
	struct frame_note room[CODE_MAP_MAX_NOTES];
	struct frame_notes notes = {room, 0, ARRAY_SIZE(room)};
	struct codebuf buf;
	int err;

	if (!image)
		return -ENOMEM;
	codebuf_init(&buf, NULL, ALIGN_DOWN(near, 16ull), 0);
	err = arch->trampoline.image(&buf, spec);
	if (!err)
		err = text_alloc(near, buf.size, &image->block);
	if (err)
		goto free_image;
	codebuf_init(&buf, image->block.write, ptr_to_u64(image->block.exec), image->block.size);
	buf.frames = &notes;
	err = arch->trampoline.image(&buf, spec);
	if (!err)
		err = text_commit(&image->block);
	if (err)
		goto free_text;
	drop_point_notes(&notes, spec->point);
	map_code(&image->block, buf.size, 0, &notes, spec->when, spec->func_ip);
	*ret_image = image;
	return 0;

free_text:
	text_free(&image->block);
free_image:
	arena_free(image);
	return err;
}

static bool has_calls(const struct site_programs *programs, bool without_all,
		      const struct hook_link *without)
{
	for (u32 i = 0; i < programs->count && !without_all; i++) {
		if (!without || programs->calls[i].link != without)
			return true;
	}
	return false;
}

/* What an entry image does beside its own programs, for those of the other sides. */
static void plan_entry(const struct site *site, bool without_all, const struct hook_link *without,
		       struct trampoline_spec *spec)
{
	const struct site_stub *exit = &site->stubs[HOOK_EXIT];

	if (has_calls(&site->sides[HOOK_RETURN], without_all, without)) {
		spec->hook_return = ptr_to_u64((const void *)shadow_push);
		spec->hook_site = site_stub_address(site, HOOK_RETURN) +
				  site->stubs[HOOK_RETURN].spec.ret_entry;
	}
	if (has_calls(&site->sides[HOOK_EXIT], without_all, without) ||
	    has_calls(&site->sides[HOOK_MODIFY], without_all, without)) {
		spec->call_function = site_stub_address(site, HOOK_EXIT) + exit->spec.ret_call;
		spec->skip_function = site_stub_address(site, HOOK_EXIT) + exit->spec.ret_skip;
	}
}

/* What an entry image does that runs no program, and does one thing. */
static u64 shortcut_of(const struct site *site, const struct trampoline_spec *spec)
{
	enum hook_side side = spec->hook_return ? HOOK_RETURN : HOOK_EXIT;

	if (spec->when != TRAMPOLINE_ENTRY || spec->call_count || site->spec.inside ||
	    !spec->hook_return == !spec->call_function)
		return 0;
	return site_stub_address(site, side) + site->stubs[side].spec.ret_direct;
}

int site_build_image(struct site *site, enum hook_side side, bool without_all,
		     const struct hook_link *without)
{
	int err;
	struct trampoline_call calls[2 * TRAMPOLINE_MAX_CALLS];
	const struct site_stub *stub = &site->stubs[side];
	struct trampoline_spec spec = {
		.when = when_of(side),
		.func_ip = site->spec.function,
		.point = point_of(&site->spec),
		.stub_leave = site_stub_address(site, side) + stub->spec.ret_leave,
		.return_lookup = ptr_to_u64((const void *)shadow_pop),
		.percpu_enter = ptr_to_u64((const void *)percpu_enter),
		.percpu_leave = ptr_to_u64((const void *)percpu_leave),
		.calls = calls,
		.signature = site->signature.known ? &site->signature : NULL,
	};

	spec.call_count = collect_calls(&site->sides[side], without_all, without, calls);
	if (side == HOOK_ENTRY) {
		spec.call_count += collect_calls(&site->sides[HOOK_MODIFY], without_all, without,
						 calls + spec.call_count);
		plan_entry(site, without_all, without, &spec);
	}
	if (!spec.call_count && !spec.hook_return && !spec.call_function) {
		site->sides[side].built = NULL;
		return 0;
	}
	err = emit_image(&spec, site_stub_address(site, side), &site->sides[side].built);
	if (!err)
		site->sides[side].built->shortcut = shortcut_of(site, &spec);
	return err;
}

int site_swap_image(struct site *site, enum hook_side side, struct site_image **ret_old)
{
	struct site_programs *programs = &site->sides[side];
	struct site_stub *stub = &site->stubs[side];
	struct site_image *built = programs->built;
	int err;

	*ret_old = NULL;
	if (!stub->made)
		return 0;
	if (programs->image && programs->image->shortcut) {
		err = set_shortcut(stub, 0);
		if (err)
			return err;
	}
	/* Within reach: text_alloc placed it so, and idle is the stub's own. */
	err = point_stub(stub, built ? ptr_to_u64(built->block.exec) : idle_of(stub));
	if (err)
		return err;
	/* Without it the way is longer, no more. */
	if (built && built->shortcut)
		(void)set_shortcut(stub, built->shortcut);
	*ret_old = programs->image;
	programs->image = built;
	programs->built = NULL;
	return 0;
}

void site_free_image(struct site_image *image)
{
	if (!image)
		return;
	code_map_remove(ptr_to_u64(image->block.exec));
	text_free(&image->block);
	arena_free(image);
}

static void fill_moves(const struct site *site, struct poke *poke)
{
	const struct displaced *displaced = &site->spec.displaced;
	u64 copy = site_stub_address(site, HOOK_ENTRY) + site->stubs[HOOK_ENTRY].spec.ret_displaced;

	poke->window = displaced->length;
	for (u32 i = 1; i < displaced->count; i++) {
		poke->move_from[i - 1] = displaced->insns[i].offset;
		poke->move_to[i - 1] = copy + (u64)(s64)(s16)displaced->copy_offsets[i];
	}
	poke->move_count = (u8)(displaced->count - 1);
}

int site_fill_poke(const struct site *site, bool patch, struct poke *ret_poke)
{
	struct poke poke = {
		.address = site->spec.address,
		.size = arch_host()->limits.patch_size,
		.protocol = site->spec.protocol,
		.file = site->spec.file,
	};
	u8 *branch = patch ? poke.to : poke.from, *original = patch ? poke.from : poke.to;
	int err;

	err = arch_host()->patch.encode(branch, PATCH_JUMP, poke.address,
					site_stub_address(site, HOOK_ENTRY));
	if (err)
		return err;
	mem_copy(original, site->spec.displaced.bytes, poke.size);
	/* Nobody can be parked inside the jump, so only the way there may need threads to be moved. */
	if (patch && site->spec.kind == SITE_PROLOGUE)
		fill_moves(site, &poke);
	*ret_poke = poke;
	return 0;
}

/* Whoever else counts there does so between the same two steps, as the kernel does. */
static int add_to_semaphore(u64 address, s32 change)
{
	u16 value;
	int err = self_mem_read(address, &value, sizeof(value));

	value = (u16)(value + change);
	return err ? err : self_mem_write(address, &value, sizeof(value));
}

int site_raise(struct site *site)
{
	int err = site->spec.semaphore ? add_to_semaphore(site->spec.semaphore, 1) : 0;

	site->raised += site->spec.semaphore && !err;
	return err;
}

void site_lower(struct site *site)
{
	struct poke poke;

	if (!site->raised)
		return;
	site->raised--;
	/* The library may have been unmapped: then its semaphore went with our branch. */
	if (!site_fill_poke(site, true, &poke) && poke_holds(poke.address, poke.to, poke.size))
		add_to_semaphore(site->spec.semaphore, -1);
}

/* Sites that hold something else, or were never patched, are left alone. */
static int restore_inherited(struct site *site, const struct poke_stopper *stopper)
{
	struct poke poke;
	int err;

	while (site->raised)
		site_lower(site);

	if (!site->stubs[HOOK_ENTRY].made)
		return 0;
	err = site_fill_poke(site, false, &poke);
	if (err || !poke_holds(poke.address, poke.from, poke.size))
		return err;
	/* Whatever the parent was asked to use: stopping is the last resort here. */
	poke.protocol = POKE_AUTO;
	err = poke_batch(&poke, 1, stopper, NULL);
	return MIN(err, 0);
}

int site_restore_all(const struct poke_stopper *stopper)
{
	int err = 0;

	for (u32 i = 0; i < BUCKETS; i++) {
		for (struct site *site = buckets[i]; site; site = site->next) {
			int one = restore_inherited(site, stopper);

			err = err ? err : one;
		}
	}
	return err;
}
