/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of sites: who owns which patched bytes, and the stubs that belong to them for good. Private to hook/.
 *
 * A site is made at the first attachment to its address and never goes: a thread may be parked in its stub, and attaching
 * again finds the stub there. One owner a range: a window that overlaps another site's is -EBUSY.
 *
 * state \ event | attach                          | last detach           | other bytes seen at attach
 * unpatched     | poke original -> jmp            | -                     | -EBUSY; a new recipe makes a new site
 * patched       | swap images                     | poke jmp -> original  | -
 *
 * Agent thread, under hook.c's lock.
 */
#ifndef INLAY_HOOK_SITE_H
#define INLAY_HOOK_SITE_H

#include "arch/arch.h"
#include "arch/site.h"
#include "arch/trampoline.h"
#include "base/text.h"
#include "base/types.h"
#include "hook/hook.h"

/* Code that runs under a mark: freed a grace period after its branch was swapped away. */
struct site_image {
	struct text_block block;
	u64 shortcut;		 /* ENTRY: permanent code that does the same; 0: none */
	struct site_image *next; /* on hook.c's list of those to free */
};

struct site_stub {
	bool made;
	struct text_block block;
	struct stub_spec spec;
};

/* A program on one side of a site. */
struct site_call {
	struct trampoline_call call;
	struct hook_link *link;
};

struct site_programs {
	struct site_call *calls; /* in order of attachment */
	u32 count, capacity;
	struct site_image *image; /* NULL: the stub idles */
	struct site_image *built; /* the next image, while a change is prepared */
};

enum site_stage {
	SITE_UNCHANGED,
	SITE_LISTED,   /* on the list of changed sites */
	SITE_PREPARED, /* its stubs and next images are made */
};

struct site {
	struct site *next; /* in its hash chain */
	struct site *next_changed;
	u8 stage;     /* enum site_stage of the change under way */
	bool patched; /* the site's text jumps to the stub */
	struct site_spec spec;
	u32 raised; /* how often the semaphore was */
	struct signature
		signature; /* of typed programs; stays, as the EXIT stub is built upon it */
	struct site_stub
		stubs[HOOK_SIDES]; /* MODIFY has none: its programs run in the ENTRY image */
	struct site_programs sides[HOOK_SIDES];
};

/* Finds or makes the site. -EBUSY (another owner of some of the bytes, or another recipe), -ENOMEM, -ERANGE. */
int site_claim(const struct site_spec *spec, struct site **ret_site);
/* The patched site that owns some of the bytes, its own included, or NULL. */
const struct site *site_owner(const struct site_spec *spec);
/* Makes the stub of a side unless it is there. */
int site_make_stub(struct site *site, enum hook_side side);
/* Where the stub of a side is entered. */
u64 site_stub_address(const struct site *site, enum hook_side side);
/* Builds side->built from its calls but those of link `without` (or all, without_all). NULL when none is needed. */
int site_build_image(struct site *site, enum hook_side side, bool without_all,
		     const struct hook_link *without);
/*
 * Points the stub to side->built, which becomes its image; *ret_old (always written) is the old one, or NULL. -errno of the
 * write: nothing changed. The page is there, so that takes a fork's child sharing it and no memory left for a copy.
 */
int site_swap_image(struct site *site, enum hook_side side, struct site_image **ret_old);
void site_free_image(struct site_image *image);
/* hook_restore_inherited's work. */
int site_restore_all(const struct poke_stopper *stopper);
/* Counts one more watcher at the site's semaphore, if it has one. The site is patched. -errno of the write. */
int site_raise(struct site *site);
/* One less. Before the site's text is restored. */
void site_lower(struct site *site);
/* Fills the change of the site's text: to the stub, or back to what it was. */
int site_fill_poke(const struct site *site, bool patch, struct poke *ret_poke);

#endif
