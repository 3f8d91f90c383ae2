/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash table that HASH and PERCPU_HASH share: chains of element indices in shared memory.
 *
 *   data area: buckets | elements | queue ring; type_state: struct hash_state
 *
 * An element is in exactly one of three places: in the chain of bucket b (owner == b + 1), in the queue of free elements
 * (owner == 0), or in transit between the two, and then bucket b's `arriving` or `leaving` says so. All stores to a
 * chain, to owner and to arriving/leaving are made under bucket b's lock; those to the queue under the queue's lock,
 * which is taken inside a bucket's and never the other way round.
 *
 * Readers take no lock:
 *
 *   reader                                 | writer                                    | so that
 *   version (acquire), head, next (acquire)| insert: element, next; then head (release)| a linked element is whole
 *   seq (acquire), key, seq again          | reuse: seq odd; key, value; seq even      | an element reused meanwhile is
 *                                          | (release)                                 | noticed: the walk starts again
 *   the chain's end says which bucket      | an element may move to another chain      | a reader that was carried along
 *                                          |                                           | notices: starts again
 *   version at the end                     | version + 1 before each unlink            | "not found" is never due to a
 *                                          |                                           | replacement
 *
 * Free elements are handed out in the order they were freed, and there are always spare ones: the memory of an element
 * that was deleted while a program still reads it keeps its bytes until all free elements before it have been used.
 *
 * Killed between any two stores. What the next owner of the bucket's lock finds (arriving, leaving; c: element is in
 * the chain, o: owner == b + 1, so it is not in the queue), and does, in this order so that it may be killed as well:
 *
 *   insert   1 arriving = e          (under the queue's lock, owner = b + 1 before it; 2 commits)
 *            2 pop word: head + 1, inserted + 1
 *            3 key, value, next   4 head = e   5 arriving = 0
 *      after 1: !o (the queue's repair cleared it): forget       after 2, 3: !c, o: push back, deleted + 1
 *      after 4: c: forget
 *   delete   1 leaving = e   2 unlink   3 push: ring slot, then the push word: tail + 1, deleted + 1; owner = 0   4 leaving = 0
 *      after 1: c: forget (not deleted)   after 2: !c, o: push   after 3: !o: forget
 *   replace  1 leaving = old   2-5 as insert, but inserted unchanged   6 unlink old   7 push old, deleted unchanged
 *            8 leaving = 0   9 arriving = 0
 *      arriving !c: push it back, deleted unchanged, forget both (the old value stays)
 *      arriving c: unlink old if c, push it if o, forget both
 *   Pop and push words are single stores that carry position and count together; an owner of the queue's lock killed
 *   before or after them leaves at most owner of the first or last free element wrong, which the lock's next owner sets to 0.
 */
#ifndef INLAY_MAPS_HASH_H
#define INLAY_MAPS_HASH_H

#include "maps/map_types.h"
#include "sync/shared_lock.h"

#define HASH_END                                                                                   \
	(1u << 31) /* in head and next: the chain ends; the other bits are the bucket's number */

struct hash_bucket {
	u32 head; /* index, or HASH_END | bucket */
	u32 version;
	struct shared_lock lock;
	u32 arriving, leaving; /* index + 1, or 0 */
};

struct hash_element {
	u32 next;
	u32 seq; /* odd: being written; + 2 at each reuse */
	u32 hash;
	u32 owner; /* bucket + 1, or 0: free */
		   /* key, rounded up to 8; then the value, or one value a CPU */
};

/* In type_state. */
struct hash_state {
	u64 seed;
	struct shared_lock queue_lock;
	u64 pop;  /* head of the queue | elements ever inserted << 32 */
	u64 push; /* tail of the queue | elements ever deleted << 32 */
};

/* Addresses and sizes of this process's mapping; constant. */
struct hash_view {
	struct hash_bucket *buckets;
	char *elements;
	u32 *ring;
	struct hash_state *state;
	u64 seed;
	u32 bucket_mask, ring_mask;
	u32 element_count; /* max_entries and the spare ones */
	u32 element_size;
	u32 key_size, value_offset, value_bytes;
	u32 max_entries;
};

static inline struct hash_view *hash_view_of(const struct map *map)
{
	return map->type_view;
}

static inline struct hash_element *hash_element(const struct hash_view *view, u32 index)
{
	return (struct hash_element *)(view->elements + (u64)index * view->element_size);
}

static inline void *hash_key(struct hash_element *element)
{
	return element + 1;
}

static inline char *hash_value(const struct hash_view *view, struct hash_element *element)
{
	return (char *)element + view->value_offset;
}

/* hash.c: what a map type made of this table is built from. */

int hash_check(const struct map_spec *spec);
u64 hash_data_size(const struct map_spec *spec, u32 cpus);
int hash_init(struct map *map);
int hash_open(struct map *map);
void hash_close(struct map *map);
int hash_next_key(struct map *map, const void *key, void *next);
int hash_delete(struct map *map, const void *key);
/* The element's index or -ENOENT. *ret_seq is its seq when it was found. Any thread, at a hit. */
s64 hash_find(struct hash_view *view, const void *key, u32 *ret_seq);
/*
 * Puts a value in. fill(value area, arg) writes the value of a new element (its memory holds an older element's bytes).
 * Where the key exists: with modify, modify(value area, arg) changes it in place; with NULL the element is replaced.
 */
typedef void (*hash_fill_fn)(struct map *map, char *area, const void *arg);
int hash_put(struct map *map, const void *key, u64 flags, hash_fill_fn fill, hash_fill_fn modify,
	     const void *arg);
/* Copies the value area out unless the element is deleted meanwhile. */
int hash_copy_area(struct map *map, const void *key, void *to);
/* The same and deletes it, in one step. */
int hash_take_area(struct map *map, const void *key, void *to);
/* Elements now in the map. */
u32 hash_count(const struct hash_view *view);

/* hash_queue.c: free elements, and repair. */

enum hash_pop {
	HASH_POP_INSERT, /* counts; -E2BIG at max_entries */
	HASH_POP_REPLACE,
};

/* Takes the first free element for bucket b, whose lock is held, and notes it in `arriving`. -E2BIG, -ENOMEM or -EBUSY. */
int hash_queue_pop(struct hash_view *view, u32 bucket, enum hash_pop kind, u32 *ret_index);
/* Gives an element back that is in no chain. counted: an element less in the map. 0 or -EBUSY: call again (see hash_lock). */
int hash_queue_push(struct hash_view *view, u32 index, bool counted);
/* Locks the bucket and repairs what its last owner left. 0 or -EBUSY. */
int hash_lock(struct hash_view *view, u32 bucket);
void hash_unlock(struct hash_view *view, u32 bucket);
/* Takes an element out of the bucket's chain, whose lock is held; false: it is not in it. */
bool hash_unlink(struct hash_view *view, u32 bucket, u32 index);

#endif
