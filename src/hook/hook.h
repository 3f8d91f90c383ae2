/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fit programs into functions of this process: sites, ownership, trampolines.
 *
 * All functions here run in the agent's thread (or a host's control thread), never at a hit; one internal lock
 * serialises them. On any failure the target's text is byte for byte as it was.
 */
#ifndef INLAY_HOOK_HOOK_H
#define INLAY_HOOK_HOOK_H

#include "arch/site.h"
#include "base/types.h"
#include "hook/poke.h"

enum hook_side {
	HOOK_ENTRY,
	HOOK_RETURN,
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
	u64 cookie;
};

struct hook_link;

/*
 * Attaches a batch, all or nothing, in the order given; several programs on a site run in order of attachment.
 * stopper may be NULL (then sites that need a stop answer -EOPNOTSUPP). ret_failed (may be NULL) gets the index of the
 * entry that failed. Errors: -EBUSY (bytes are not what the file has: somebody else patched it; or another owner),
 * -ERANGE (no memory for code within reach), -ENOMEM, -E2BIG (over 38 programs on a site).
 */
int hook_attach_batch(const struct hook_attach *entries, u32 count,
		      const struct poke_stopper *stopper, struct hook_link **ret_link,
		      u32 *ret_failed);
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

#endif
