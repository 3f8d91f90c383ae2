// SPDX-License-Identifier: BSD-2-Clause
/*
 * Attaching and detaching as transactions over many sites.
 *
 *   1 claim    sites found or made, programs put on their lists
 *   2 prepare  stubs and new images made; can fail, and then everything is as before
 *   3 commit   stubs pointed at the new images, text poked
 *   4 retire   old images freed after a grace period, or kept for hook_reap
 *
 * An image must be unreachable before its grace period starts: its stub's branch is swapped and all cores are
 * synchronised first.
 */
#include "hook/hook.h"

#include <errno.h>

#include "base/arena.h"
#include "base/code_map.h"
#include "base/mem.h"
#include "base/self_mem.h"
#include "base/sys.h"
#include "hook/site.h"
#include "sync/reader.h"

/* An attachment gives nothing back to its caller, so it can leave the waiting to a later call. */
#define GRACE_ATTACH_MS 20

static int detach_timeout_ms = 1000;

struct hook_link {
	struct hook_link *next;
	u32 count;
	struct site *sites[]; /* one an entry; repeats */
};

static u32 hook_lock;
static struct hook_link *links;
static struct site_image *retired;

/* The sites of the change under way. */
struct change {
	struct site *first;
	const struct poke_stopper *stopper;
	const struct hook_link *without; /* detaching: whose programs go */
	bool without_all;
};

static void lock(void)
{
	while (__atomic_exchange_n(&hook_lock, 1, __ATOMIC_ACQUIRE))
		sys_sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&hook_lock, 0, __ATOMIC_RELEASE);
}

void hook_set_timeout(int milliseconds)
{
	lock();
	detach_timeout_ms = milliseconds;
	unlock();
}

static void retire(struct site_image *image)
{
	if (!image)
		return;
	image->next = retired;
	retired = image;
}

static int reap(int timeout_ms)
{
	int err;

	if (!retired)
		return 0;
	err = sync_core();
	if (!err)
		err = sync_grace(timeout_ms);
	if (err)
		return err;
	code_map_reap();
	while (retired) {
		struct site_image *image = retired;

		retired = image->next;
		site_free_image(image);
	}
	code_map_publish();
	return 0;
}

static void list_site(struct change *change, struct site *site)
{
	if (site->stage != SITE_UNCHANGED)
		return;
	site->stage = SITE_LISTED;
	site->next_changed = change->first;
	change->first = site;
}

static void end_change(struct change *change)
{
	for (struct site *site = change->first; site; site = site->next_changed)
		site->stage = SITE_UNCHANGED;
	change->first = NULL;
}

static int add_call(struct site *site, const struct hook_attach *entry, struct hook_link *link)
{
	struct site_programs *programs = &site->sides[entry->side];
	struct site_call *calls;

	if (programs->count == TRAMPOLINE_MAX_CALLS)
		return -E2BIG;
	if (programs->count == programs->capacity) {
		u32 capacity = programs->capacity ? 2 * programs->capacity : 1;

		calls = arena_resize(programs->calls, capacity * sizeof(*calls));
		if (!calls)
			return -ENOMEM;
		programs->calls = calls;
		programs->capacity = capacity;
	}
	programs->calls[programs->count++] = (struct site_call){
		.call = {.entry = entry->program.entry,
			 .cookie = entry->cookie,
			 .slot = entry->program.slot,
			 .clobbers = entry->program.clobbers,
			 .ctx_words = entry->program.ctx_words,
			 .facts = entry->program.facts,
			 .context = entry->side == HOOK_MODIFY ? TRAMPOLINE_MODIFY
				    : entry->signature.known   ? TRAMPOLINE_TYPED
							       : TRAMPOLINE_REGS},
		.link = link,
	};
	return 0;
}

static void remove_calls(struct site_programs *programs, const struct change *change)
{
	u32 kept = 0;

	for (u32 i = 0; i < programs->count; i++) {
		if (!change->without_all && programs->calls[i].link != change->without)
			programs->calls[kept++] = programs->calls[i];
	}
	programs->count = kept;
}

static bool is_bare(const struct site *site)
{
	for (u32 side = 0; side < HOOK_SIDES; side++) {
		if (site->sides[side].count)
			return false;
	}
	return true;
}

static int prepare(const struct change *change, struct site *site)
{
	int err;

	if (site->stage == SITE_PREPARED)
		return 0;
	err = site_make_stub(site, HOOK_ENTRY);
	if (!err && site->sides[HOOK_RETURN].count)
		err = site_make_stub(site, HOOK_RETURN);
	if (!err && (site->sides[HOOK_EXIT].count || site->sides[HOOK_MODIFY].count))
		err = site_make_stub(site, HOOK_EXIT);
	for (u32 side = 0; side < HOOK_SIDES && !err; side++) {
		if (site->stubs[side].made)
			err = site_build_image(site, (enum hook_side)side, change->without_all,
					       change->without);
	}
	if (!err)
		site->stage = SITE_PREPARED;
	return err;
}

static void drop_built(struct change *change)
{
	for (struct site *site = change->first; site; site = site->next_changed) {
		for (u32 side = 0; side < HOOK_SIDES; side++) {
			site_free_image(site->sides[side].built);
			site->sides[side].built = NULL;
		}
	}
}

static int swap_image(struct site *site, enum hook_side side)
{
	struct site_image *old;
	int err = site_swap_image(site, side, &old);

	retire(old);
	return err;
}

/* The images that were swapped away are retired. */
static int swap_images(struct site *site)
{
	/* The entry last: an image of it that hooks returns must find their programs in place. */
	int err = swap_image(site, HOOK_RETURN);

	err = err ? err : swap_image(site, HOOK_EXIT);
	return err ? err : swap_image(site, HOOK_ENTRY);
}

/* What can be swapped is, whatever cannot. */
static int unswap_images(struct site *site)
{
	int err = swap_image(site, HOOK_ENTRY);
	int other = swap_image(site, HOOK_RETURN);
	int third = swap_image(site, HOOK_EXIT);

	err = err ? err : other;
	return err ? err : third;
}

/* The sites whose text changes: to the stubs, or (restore) back, for those without programs. */
static int list_pokes(const struct change *change, bool patch, struct poke **ret_pokes,
		      struct site ***ret_sites, u32 *ret_count)
{
	struct site **sites;
	struct poke *pokes;
	u32 count = 0;
	int err = 0;

	for (struct site *site = change->first; site; site = site->next_changed)
		count++;
	pokes = arena_alloc(count * (sizeof(*pokes) + sizeof(*sites)));
	if (!pokes)
		return -ENOMEM;
	sites = (struct site **)(void *)(pokes + count);
	count = 0;
	for (struct site *site = change->first; site && !err; site = site->next_changed) {
		if (!patch && (!site->patched || !is_bare(site)))
			continue;
		err = site_fill_poke(site, patch, &pokes[count]);
		/* A library that was unmapped and mapped again has lost our branch. */
		if (!err && patch && site->patched &&
		    poke_holds(pokes[count].address, pokes[count].to, pokes[count].size))
			continue;
		sites[count++] = site;
	}
	if (err) {
		arena_free(pokes);
		return err;
	}
	*ret_pokes = pokes;
	*ret_sites = sites;
	*ret_count = count;
	return 0;
}

static u32 index_of(const struct hook_link *link, const struct site *site)
{
	u32 i = 0;

	while (i < link->count && link->sites[i] != site)
		i++;
	return i;
}

/* Restores what can be restored: one site whose bytes somebody else changed does not keep the others patched. */
static int restore_text(struct change *change)
{
	struct poke *pokes;
	struct site **sites;
	u32 count;
	int err = list_pokes(change, false, &pokes, &sites, &count);

	if (err)
		return err;
	err = count ? poke_batch(pokes, count, change->stopper, NULL) : 0;
	if (err >= 0) {
		for (u32 i = 0; i < count; i++)
			sites[i]->patched = false;
		err = 0;
		goto free_pokes;
	}
	err = 0;
	for (u32 i = 0; i < count; i++) {
		int one = poke_batch(&pokes[i], 1, change->stopper, NULL);

		/* Busy: the bytes are not our branch any more, whoever's they are. */
		sites[i]->patched = one < 0 && one != -EBUSY;
		err = one < 0 ? one : err;
	}
free_pokes:
	arena_free(pokes);
	return err;
}

/*
 * -errno: nothing changed. Else 0, and ret_restored says whether the text could be restored, or -ETIMEDOUT: some stub still
 * leads to an image with the programs.
 */
static int detach(struct change *change, int *ret_restored)
{
	int err = 0, stuck = 0;

	for (struct site *site = change->first; site && !err; site = site->next_changed)
		err = prepare(change, site);
	if (err) {
		drop_built(change);
		return err;
	}
	for (struct site *site = change->first; site; site = site->next_changed) {
		for (u32 side = 0; side < HOOK_SIDES; side++)
			remove_calls(&site->sides[side], change);
		if (unswap_images(site))
			stuck = -ETIMEDOUT;
	}
	drop_built(change);
	*ret_restored = restore_text(change);
	if (stuck)
		*ret_restored = stuck;
	return 0;
}

/* Unpatched sites whose stubs already have images: point them at nothing again. */
static void unswap_unpatched(struct change *change, struct site **sites, u32 count)
{
	drop_built(change);
	for (u32 i = 0; i < count; i++)
		unswap_images(sites[i]);
}

/* Sites that are not patched yet get their images first: nobody comes that way before the poke. */
static int patch_sites(struct change *change, const struct hook_link *link, u32 *ret_failed)
{
	struct poke *pokes;
	struct site **sites;
	u32 count, failed = 0;
	int err = list_pokes(change, true, &pokes, &sites, &count);

	if (err)
		return err;
	for (u32 i = 0; i < count && !err; i++) {
		failed = i;
		err = swap_images(sites[i]);
	}
	if (!err && count)
		err = poke_batch(pokes, count, change->stopper, &failed);
	if (err < 0) {
		*ret_failed = index_of(link, sites[failed]);
		/* A thread late in a stub may be in the image. */
		unswap_unpatched(change, sites, count);
		arena_free(pokes);
		return err;
	}
	for (u32 i = 0; i < count; i++) {
		sites[i]->patched = true;
		sites[i]->stage = SITE_UNCHANGED;
	}
	arena_free(pokes);
	return 0;
}

static int commit_attach(struct change *change, struct hook_link *link, u32 *ret_failed)
{
	int restored, err = patch_sites(change, link, ret_failed);

	if (err)
		return err;
	for (struct site *site = change->first; site && !err; site = site->next_changed) {
		if (site->stage != SITE_UNCHANGED)
			err = swap_images(site);
	}
	if (!err)
		return 0;
	/* Some have it already: as if the link had been attached, and is detached. */
	drop_built(change);
	for (struct site *site = change->first; site; site = site->next_changed)
		site->stage = SITE_LISTED;
	change->without = link;
	detach(change, &restored);
	return err;
}

/* Undoes claim. Sites and stubs stay: they cost little and the next attachment wants them. */
static void abandon(struct change *change, const struct hook_link *link)
{
	change->without = link;
	drop_built(change);
	for (struct site *site = change->first; site; site = site->next_changed) {
		for (u32 side = 0; side < HOOK_SIDES; side++)
			remove_calls(&site->sides[side], change);
	}
}

/* Can a program of this side be given what it needs? */
static bool signature_is_sane(const struct hook_attach *entry)
{
	const struct signature *signature = &entry->signature;

	if (signature->known &&
	    (signature->slot_count > SIGNATURE_MAX_SLOTS ||
	     signature->stack_words > 2 * SIGNATURE_MAX_SLOTS || entry->side == HOOK_RETURN))
		return false;
	if (entry->side == HOOK_EXIT || entry->side == HOOK_MODIFY) {
		if (!signature->known || signature->variadic)
			return false;
	}
	return entry->side != HOOK_MODIFY || signature->returns == SIGNATURE_INTEGER;
}

/* The first signature that a site is given stays. */
static int adopt_signature(struct site *site, const struct signature *signature)
{
	if (!signature->known)
		return 0;
	if (!site->signature.known)
		site->signature = *signature;
	return mem_equal(&site->signature, signature, sizeof(*signature)) ? 0 : -EBUSY;
}

static int claim(struct change *change, const struct hook_attach *entry, struct hook_link *link)
{
	struct site *site;
	int err;

	if (entry->side >= HOOK_SIDES || entry->program.slot >= READER_SLOTS ||
	    !signature_is_sane(entry))
		return -EINVAL;
	/* What is in the middle of a function has no arguments and does not return. */
	if (entry->site.inside && (entry->side != HOOK_ENTRY || entry->signature.known))
		return -EINVAL;
	err = site_claim(&entry->site, &site);
	if (!err)
		err = adopt_signature(site, &entry->signature);
	if (err)
		return err;
	list_site(change, site);
	link->sites[link->count++] = site;
	return add_call(site, entry, link);
}

/* One that cannot be counted at: as if the link had been attached, and is detached. */
static int raise_at(struct change *change, struct hook_link *link, u32 index)
{
	int restored, err = site_raise(link->sites[index]);

	if (!err)
		return 0;
	for (u32 i = 0; i < index; i++)
		site_lower(link->sites[i]);
	for (struct site *site = change->first; site; site = site->next_changed)
		site->stage = SITE_LISTED;
	change->without = link;
	detach(change, &restored);
	return err;
}

static int attach(const struct hook_attach *entries, u32 count, struct change *change,
		  struct hook_link *link, u32 *ret_failed)
{
	int err = reader_init();

	for (u32 i = 0; i < count && !err; i++) {
		*ret_failed = i;
		err = claim(change, &entries[i], link);
	}
	for (u32 i = 0; i < count && !err; i++) {
		*ret_failed = i;
		err = prepare(change, link->sites[i]);
	}
	if (!err) {
		code_map_publish();
		err = commit_attach(change, link, ret_failed);
	}
	for (u32 i = 0; i < count && !err; i++) {
		*ret_failed = i;
		err = raise_at(change, link, i);
	}
	if (err)
		abandon(change, link);
	return err;
}

u64 hook_owner(const struct site_spec *site)
{
	const struct site *owner;
	u64 function;

	lock();
	owner = site_owner(site);
	function = owner ? owner->spec.function : 0;
	unlock();
	return function;
}

int hook_attach_batch(const struct hook_attach *entries, u32 count,
		      const struct poke_stopper *stopper, struct hook_link **ret_link,
		      u32 *ret_failed)
{
	struct change change = {.stopper = stopper};
	struct hook_link *link;
	u32 failed = 0;
	int err;

	if (!count)
		return -EINVAL;
	link = arena_alloc(sizeof(*link) + count * sizeof(struct site *));
	if (!link)
		return -ENOMEM;
	lock();
	err = attach(entries, count, &change, link, &failed);
	end_change(&change);
	if (!err) {
		link->next = links;
		links = link;
	}
	reap(MIN(GRACE_ATTACH_MS, detach_timeout_ms));
	unlock();
	if (!err) {
		*ret_link = link;
		return 0;
	}
	arena_free(link);
	if (ret_failed)
		*ret_failed = failed;
	return err;
}

static void forget(struct hook_link *link)
{
	struct hook_link **at = &links;

	while (*at && *at != link)
		at = &(*at)->next;
	if (*at)
		*at = link->next;
	arena_free(link);
}

static void list_link(struct change *change, const struct hook_link *link)
{
	for (u32 i = 0; i < link->count; i++) {
		list_site(change, link->sites[i]);
		site_lower(link->sites[i]);
	}
}

int hook_detach(struct hook_link *link, const struct poke_stopper *stopper)
{
	struct change change = {.stopper = stopper, .without = link};
	int err, restored;

	lock();
	list_link(&change, link);
	err = detach(&change, &restored);
	end_change(&change);
	if (!err) {
		forget(link);
		err = reap(detach_timeout_ms);
		err = err ? err : restored;
	} else {
		for (u32 i = 0; i < link->count; i++)
			site_raise(link->sites[i]);
	}
	unlock();
	return err;
}

int hook_reap(void)
{
	int kept = 0;

	lock();
	reap(MIN(GRACE_ATTACH_MS, detach_timeout_ms));
	for (struct site_image *image = retired; image; image = image->next)
		kept++;
	unlock();
	return kept;
}

int hook_detach_all(const struct poke_stopper *stopper)
{
	struct change change = {.stopper = stopper, .without_all = true};
	int err, restored;

	lock();
	for (struct hook_link *link = links; link; link = link->next)
		list_link(&change, link);
	err = detach(&change, &restored);
	end_change(&change);
	while (links && !err)
		forget(links);
	if (!err) {
		err = reap(detach_timeout_ms);
		err = err ? err : restored;
	}
	unlock();
	return err;
}

int hook_restore_inherited(const struct poke_stopper *stopper)
{
	int err = site_restore_all(stopper);

	self_mem_set_fd(-1);
	return err;
}
