/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fit programs into functions of this process: sites, ownership, trampolines.
 *
 * All functions here run in the agent's thread (or a host's control thread), never at a hit; one internal lock
 * serialises them. On any failure the target's text is byte for byte as it was.
 */
#ifndef INLAY_HOOK_HOOK_H
#define INLAY_HOOK_HOOK_H

#include "arch/signature.h"
#include "arch/site.h"
#include "base/types.h"
#include "hook/poke.h"

/* When a program runs. Without a signature its context is struct pt_regs, with one the words that it names. */
enum hook_side {
	HOOK_ENTRY,  /* with a signature: fentry */
	HOOK_RETURN, /* at a hooked return; no signature */
	HOOK_EXIT, /* fexit: the function is called, and this runs when it has returned. With a signature */
	HOOK_MODIFY, /* fmod_ret: may replace the function's result. With a signature */
	HOOK_SIDES,
};

/* A program as the trampoline calls it. */
struct hook_program {
	u64 entry;
	u32 slot, clobbers, ctx_words, facts;
};

struct hook_attach {
	struct site_spec site;
	enum hook_side side;
	struct hook_program program;
	struct signature signature; /* known = 0: none */
	u64 cookie;
};

struct hook_link;

/*
 * Attaches a batch, all or nothing, in the order given; several programs on a site run in order of attachment.
 * Entry programs run before those that modify. stopper may be NULL (then sites that need a stop answer -EOPNOTSUPP). ret_failed (may be NULL) gets the index of the
 * entry that failed. Errors: -EBUSY (bytes are not what the file has: somebody else patched it; or another owner, or another signature),
 * -ERANGE (no memory for code within reach), -ENOMEM, -E2BIG (over 38 programs on a site).
 */
int hook_attach_batch(const struct hook_attach *entries, u32 count,
		      const struct poke_stopper *stopper, struct hook_link **ret_link,
		      u32 *ret_failed);
/*
 * Why -EBUSY: the function whose patched bytes some of the site's are, by its entry address (the site's own function: programs
 * with other types, or at another kind of place, have it), or 0: nobody of this process, so the bytes are not the file's.
 */
u64 hook_owner(const struct site_spec *site);
/*
 * Detaches the whole batch; the site's bytes are restored when its last program goes. Waits for a grace period, then
 * the programs' code may be freed. Returns 0, or -ETIMEDOUT: text is restored, but a thread is still inside and the
 * images are kept (the link is dead either way; the programs must be leaked, or hook_reap called later). -EBUSY, -EIO,
 * -EOPNOTSUPP: the link is dead and the programs may be freed, but some site's text is not what we wrote or could not be
 * written; a site that could not be written still jumps to its stub, which does nothing. -ENOMEM: nothing changed, the link lives.
 */
int hook_detach(struct hook_link *link, const struct poke_stopper *stopper);
/* How long hook_detach waits for threads that are inside; 1000 until set. */
void hook_set_timeout(int milliseconds);
/* Frees what earlier detachments had to keep. Returns how many images are still kept. */
int hook_reap(void);
/* Detaches everything of this process (the loader died): all links are dead. Returns as hook_detach. */
int hook_detach_all(const struct poke_stopper *stopper);
/*
 * In the child of a fork: takes what its parent had patched out of its own text, so that it can be attached to by itself. Its
 * threads may go on in the stubs and images, which stay. Opens /proc/self/mem, and closes it. Nothing else of hook/ may be used by
 * the child: locks may be as somebody held them when it was forked, and this takes none, nor may the stopper. 0, or -errno of a site
 * that was left.
 */
int hook_restore_inherited(const struct poke_stopper *stopper);

#endif
