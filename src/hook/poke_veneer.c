/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A patched place told as what it holds, in words; branches that do not reach their target go through a veneer.
 *
 * A veneer is permanent, like a stub and for the same reason: a thread may be parked in it. One is made for a target and
 * serves every site within its reach.
 */
#include <errno.h>

#include "arch/arch.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "hook/poke.h"

#define VENEER_SIZE 16

struct veneer {
	struct veneer *next;
	u64 target;
	struct text_block block;
};

static struct veneer *veneers;
static u32 veneer_lock;

static int make(u64 near, u64 target, struct veneer **ret_veneer)
{
	struct veneer *veneer = arena_alloc(sizeof(*veneer));
	int err;

	if (!veneer)
		return -ENOMEM;
	veneer->target = target;
	err = text_alloc(near, VENEER_SIZE, &veneer->block);
	if (err)
		goto free_veneer;
	arch_host()->patch.veneer(veneer->block.write, target);
	err = text_commit(&veneer->block);
	if (err)
		goto free_text;
	veneer->next = veneers;
	veneers = veneer;
	*ret_veneer = veneer;
	return 0;

free_text:
	text_free(&veneer->block);
free_veneer:
	arena_free(veneer);
	return err;
}

static int encode_by_veneer(u8 *bytes, enum patch_kind kind, u64 site, u64 target)
{
	struct veneer *veneer;
	int err = -ERANGE;

	if (!arch_host()->patch.veneer)
		return -ERANGE;
	while (__atomic_exchange_n(&veneer_lock, 1, __ATOMIC_ACQUIRE))
		sys_sched_yield();
	for (veneer = veneers; veneer && err; veneer = veneer->next) {
		if (veneer->target == target)
			err = arch_host()->patch.encode(bytes, kind, site,
							ptr_to_u64(veneer->block.exec));
	}
	if (err) {
		err = make(site, target, &veneer);
		if (!err)
			err = arch_host()->patch.encode(bytes, kind, site,
							ptr_to_u64(veneer->block.exec));
	}
	__atomic_store_n(&veneer_lock, 0, __ATOMIC_RELEASE);
	return err;
}

static int encode(u8 *bytes, u64 site, const struct poke_content *content)
{
	int err;

	if (content->kind == PATCH_RAW) {
		if (!content->bytes)
			return -EINVAL;
		mem_copy(bytes, content->bytes, arch_host()->limits.patch_size);
		return 0;
	}
	err = arch_host()->patch.encode(bytes, content->kind, site, content->target);
	return err == -ERANGE ? encode_by_veneer(bytes, content->kind, site, content->target) : err;
}

int poke_describe(u64 address, const struct poke_content *from, const struct poke_content *to,
		  struct poke *ret_poke)
{
	struct poke poke = {.address = address, .size = arch_host()->limits.patch_size};
	int err;

	if (!arch_host()->patch.encode)
		return -EOPNOTSUPP;
	err = encode(poke.from, address, from);
	if (!err)
		err = encode(poke.to, address, to);
	if (!err)
		*ret_poke = poke;
	return err;
}
