/* SPDX-License-Identifier: BSD-2-Clause */
/* What must hold of a quiet hash table, by walking all of it. Include before use of test.h's CHECK. */
#ifndef INLAY_TESTS_UNIT_MAPS_HASH_CHECK_H
#define INLAY_TESTS_UNIT_MAPS_HASH_CHECK_H

#include <stdlib.h>

#include "maps/hash.h"
#include "test.h"

/* Every element is in exactly one chain, its own, or once in the queue; nothing is in transit; counts agree. */
static inline void hash_check_invariants(struct map *map)
{
	struct hash_view *view = hash_view_of(map);
	u8 *seen = calloc(view->element_count, 1);
	u32 head = (u32)view->state->pop, tail = (u32)view->state->push;
	u32 chained = 0, twice = 0, misplaced = 0, missing = 0, transit = 0;

	for (u32 b = 0; b <= view->bucket_mask; b++) {
		u32 at = view->buckets[b].head;

		transit += (view->buckets[b].arriving | view->buckets[b].leaving) != 0;
		for (; at < view->element_count && chained <= view->element_count; chained++) {
			struct hash_element *element = hash_element(view, at);
			u32 seq;

			twice += seen[at]++ != 0;
			misplaced += element->owner != b + 1 || element->seq & 1 ||
				     hash_find(view, hash_key(element), &seq) != at;
			at = element->next;
		}
		misplaced += at != (HASH_END | b);
	}
	for (u32 i = head; i != tail; i++) {
		u32 at = view->ring[i & view->ring_mask];

		twice += seen[at]++ != 0;
		misplaced += hash_element(view, at)->owner != 0;
	}
	for (u32 i = 0; i < view->element_count; i++)
		missing += !seen[i];
	CHECK_EQ(transit, 0);
	CHECK_EQ(twice, 0);
	CHECK_EQ(misplaced, 0);
	CHECK_EQ(missing, 0);
	CHECK_EQ(hash_count(view), chained);
	free(seen);
}

static inline u32 hash_check_longest_chain(struct map *map)
{
	struct hash_view *view = hash_view_of(map);
	u32 longest = 0;

	for (u32 b = 0; b <= view->bucket_mask; b++) {
		u32 length = 0;

		for (u32 at = view->buckets[b].head; at < view->element_count;
		     at = hash_element(view, at)->next)
			length++;
		longest = MAX(longest, length);
	}
	return longest;
}

#endif
