// SPDX-License-Identifier: BSD-2-Clause
/* The queue of free elements, and what is done for an owner of a lock that was killed. See hash.h. */
#include <errno.h>

#include "maps/hash.h"

static u32 low(u64 word)
{
	return (u32)word;
}

static u32 high(u64 word)
{
	return (u32)(word >> 32);
}

static u64 words(u32 position, u32 count)
{
	return (u64)count << 32 | position;
}

u32 hash_count(const struct hash_view *view)
{
	u64 push = __atomic_load_n(&view->state->push, __ATOMIC_ACQUIRE);
	u64 pop = __atomic_load_n(&view->state->pop, __ATOMIC_ACQUIRE);

	return high(pop) - high(push);
}

/* An index read from shared memory, made safe to use whatever is there. */
static u32 ring_at(const struct hash_view *view, u32 position)
{
	u32 index = view->ring[position & view->ring_mask];

	return index < view->element_count ? index : 0;
}

static void set_owner(struct hash_view *view, u32 index, u32 owner)
{
	__atomic_store_n(&hash_element(view, index)->owner, owner, __ATOMIC_RELEASE);
}

static int lock_queue(struct hash_view *view)
{
	struct hash_state *state = view->state;
	int result = shared_lock_acquire(&state->queue_lock);
	u32 head, tail;

	if (result == SHARED_LOCK_TAKEN_OVER) {
		head = low(state->pop);
		tail = low(state->push);
		if (head != tail) {
			set_owner(view, ring_at(view, head), 0);
			set_owner(view, ring_at(view, tail - 1), 0);
		}
		return 0;
	}
	return result ? -EBUSY : 0;
}

int hash_queue_pop(struct hash_view *view, u32 bucket, enum hash_pop kind, u32 *ret_index)
{
	struct hash_state *state = view->state;
	int error = lock_queue(view);
	u32 index;

	if (error)
		return error;
	if (kind == HASH_POP_INSERT && hash_count(view) >= view->max_entries)
		error = -E2BIG;
	else if (low(state->pop) == low(state->push))
		error = -ENOMEM;
	if (!error) {
		index = ring_at(view, low(state->pop));
		set_owner(view, index, bucket + 1);
		__atomic_store_n(&view->buckets[bucket].arriving, index + 1, __ATOMIC_RELEASE);
		__atomic_store_n(
			&state->pop,
			words(low(state->pop) + 1, high(state->pop) + (kind == HASH_POP_INSERT)),
			__ATOMIC_RELEASE);
		*ret_index = index;
	}
	shared_lock_release(&state->queue_lock);
	return error;
}

int hash_queue_push(struct hash_view *view, u32 index, bool counted)
{
	struct hash_state *state = view->state;
	int error = lock_queue(view);

	if (error)
		return error;
	view->ring[low(state->push) & view->ring_mask] = index;
	__atomic_store_n(&state->push, words(low(state->push) + 1, high(state->push) + counted),
			 __ATOMIC_RELEASE);
	set_owner(view, index, 0);
	shared_lock_release(&state->queue_lock);
	return 0;
}

/* The link (a head or a next) that holds index, or NULL. */
static u32 *find_link(struct hash_view *view, u32 bucket, u32 index)
{
	u32 *link = &view->buckets[bucket].head;

	for (u32 steps = 0; steps <= view->element_count; steps++) {
		u32 at = __atomic_load_n(link, __ATOMIC_ACQUIRE);

		if (at == index)
			return link;
		if (at >= view->element_count)
			return NULL;
		link = &hash_element(view, at)->next;
	}
	return NULL;
}

bool hash_unlink(struct hash_view *view, u32 bucket, u32 index)
{
	struct hash_bucket *row = &view->buckets[bucket];
	u32 *link = find_link(view, bucket, index);

	if (!link)
		return false;
	__atomic_store_n(&row->version, row->version + 1, __ATOMIC_RELEASE);
	__atomic_store_n(link, hash_element(view, index)->next, __ATOMIC_RELEASE);
	return true;
}

/* Waits out whatever a killed owner left in the queue, so that owner words can be trusted. */
static int settle_queue(struct hash_view *view)
{
	int error = lock_queue(view);

	if (!error)
		shared_lock_release(&view->state->queue_lock);
	return error;
}

static int push_if_owned(struct hash_view *view, u32 bucket, u32 index, bool counted)
{
	if (__atomic_load_n(&hash_element(view, index)->owner, __ATOMIC_ACQUIRE) != bucket + 1)
		return 0;
	return hash_queue_push(view, index, counted);
}

static void forget(u32 *note)
{
	__atomic_store_n(note, 0, __ATOMIC_RELEASE);
}

/* An insert or a replacement was under way. */
static int finish_arriving(struct hash_view *view, u32 bucket)
{
	struct hash_bucket *row = &view->buckets[bucket];
	u32 index = (row->arriving - 1) % view->element_count;
	bool replaces = row->leaving != 0;
	int error = 0;

	if (!find_link(view, bucket, index)) {
		error = push_if_owned(view, bucket, index, !replaces);
		if (error)
			return error;
		forget(&row->arriving);
		forget(&row->leaving);
		return 0;
	}
	if (replaces) {
		u32 old = (row->leaving - 1) % view->element_count;

		hash_unlink(view, bucket, old);
		error = push_if_owned(view, bucket, old, false);
		if (error)
			return error;
	}
	forget(&row->leaving);
	forget(&row->arriving);
	return 0;
}

/* A deletion was under way, or a replacement that had not begun. */
static int finish_leaving(struct hash_view *view, u32 bucket)
{
	struct hash_bucket *row = &view->buckets[bucket];
	u32 index = (row->leaving - 1) % view->element_count;
	int error = 0;

	if (!find_link(view, bucket, index))
		error = push_if_owned(view, bucket, index, true);
	if (!error)
		forget(&row->leaving);
	return error;
}

static __attribute__((noinline)) int repair(struct hash_view *view, u32 bucket)
{
	int error = settle_queue(view);

	if (error)
		return error;
	return view->buckets[bucket].arriving ? finish_arriving(view, bucket)
					      : finish_leaving(view, bucket);
}

/*
 * The notes themselves say that there is something to repair: also when an owner that could not get the queue's lock had
 * to let go of the bucket.
 */
int hash_lock(struct hash_view *view, u32 bucket)
{
	struct hash_bucket *row = &view->buckets[bucket];
	int error = shared_lock_acquire(&row->lock);

	if (error < 0)
		return -EBUSY;
	if (likely(!(row->arriving | row->leaving)))
		return 0;
	error = repair(view, bucket);
	if (error)
		shared_lock_release(&row->lock);
	return error;
}

void hash_unlock(struct hash_view *view, u32 bucket)
{
	shared_lock_release(&view->buckets[bucket].lock);
}
