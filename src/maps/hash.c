// SPDX-License-Identifier: BSD-2-Clause
/* The table that HASH and PERCPU_HASH share, and HASH. The protocol is in hash.h. */
#include "maps/hash.h"

#include "base/arena.h"
#include "base/fence.h"
#include "base/mem.h"
#include "base/sys.h"

#define HASH_FLAGS                                                                                 \
	(BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE | MAP_ACCESS_FLAGS |            \
	 BPF_F_ZERO_SEED)

/* Key and value together, as in the kernel: KMALLOC_MAX_SIZE less its element's header. */
#define KEY_AND_VALUE_MAX ((4ull << 20) - 48)
#define BUCKETS_MAX	  (1u << 30)

/* Walks without the lock before a reader takes it. */
#define WALKS 64

/*
 * Readers race with writers by design, and find out afterwards (reused()). ThreadSanitizer knows no such protocol: what
 * reads what may be changing is hidden from it.
 */
#ifdef __SANITIZE_THREAD__
#define RACY __attribute__((no_sanitize("thread"), noinline))
#else
#define RACY
#endif

static RACY bool racy_equal(const void *a, const void *b, size_t size)
{
	const u8 *x = a;
	const u8 *y = b;

	for (; size >= 8; size -= 8, x += 8, y += 8) {
		u64 p, q;

		__builtin_memcpy(&p, x, 8);
		__builtin_memcpy(&q, y, 8);
		if (p != q)
			return false;
	}
	while (size--) {
		if (*x++ != *y++)
			return false;
	}
	return true;
}

/* How the data area is divided. */
struct layout {
	u64 elements, ring, end;
	u32 buckets, ring_size, element_count, element_size, value_offset;
};

static bool is_percpu(const struct map_spec *spec)
{
	return spec->type == BPF_MAP_TYPE_PERCPU_HASH;
}

static u32 round_up_to_power(u32 value)
{
	u32 power = 1;

	while (power < value)
		power <<= 1;
	return power;
}

/* More of them put more deletions between the freeing of an element and its reuse; at most about 1 MiB is spent. */
static u32 spare_elements(u32 max_entries, u32 element_size)
{
	u32 wanted = MAX(64u, max_entries / 8);
	u32 affordable = MAX(8u, (1u << 20) / element_size);

	return MIN(wanted, affordable);
}

static void lay_out(const struct map_spec *spec, u32 cpus, struct layout *ret_layout)
{
	struct layout layout;
	u64 value = (u64)map_stride(spec) * (is_percpu(spec) ? cpus : 1);

	layout.buckets = round_up_to_power(spec->max_entries);
	layout.value_offset = (u32)sizeof(struct hash_element) + ALIGN_UP(spec->key_size, 8u);
	layout.element_size = layout.value_offset + (u32)value;
	layout.element_count =
		spec->max_entries + spare_elements(spec->max_entries, layout.element_size);
	layout.ring_size = round_up_to_power(layout.element_count);
	layout.elements = ALIGN_UP(layout.buckets * sizeof(struct hash_bucket), 64ul);
	layout.ring = layout.elements + (u64)layout.element_count * layout.element_size;
	layout.end = layout.ring + (u64)layout.ring_size * sizeof(u32);
	*ret_layout = layout;
}

int hash_check(const struct map_spec *spec)
{
	if (spec->flags & ~HASH_FLAGS || !map_access_flags_ok(spec->flags) ||
	    spec->flags & BPF_F_NO_COMMON_LRU)
		return -EINVAL;
	if (!spec->max_entries || !spec->key_size || !spec->value_size)
		return -EINVAL;
	if ((u64)spec->key_size + spec->value_size >= KEY_AND_VALUE_MAX)
		return -E2BIG;
	if (is_percpu(spec) && map_stride(spec) > MAP_PERCPU_VALUE_MAX)
		return -E2BIG;
	return spec->max_entries > BUCKETS_MAX ? -E2BIG : 0;
}

u64 hash_data_size(const struct map_spec *spec, u32 cpus)
{
	struct layout layout;

	lay_out(spec, cpus, &layout);
	return layout.end;
}

static struct hash_state *state_of(const struct map *map)
{
	return (struct hash_state *)map->shared->type_state;
}

int hash_init(struct map *map)
{
	struct hash_bucket *buckets = (struct hash_bucket *)map->data;
	struct hash_state *state = state_of(map);
	struct layout layout;
	u32 *ring;

	lay_out(&map->spec, map->cpus, &layout);
	if (!(map->spec.flags & BPF_F_ZERO_SEED) &&
	    sys_getrandom(&state->seed, sizeof(state->seed), 0) != sizeof(state->seed))
		return -EAGAIN;
	for (u32 i = 0; i < layout.buckets; i++)
		buckets[i].head = HASH_END | i;
	ring = (u32 *)(map->data + layout.ring);
	for (u32 i = 0; i < layout.element_count; i++)
		ring[i] = i;
	state->push = layout.element_count;
	return 0;
}

int hash_open(struct map *map)
{
	struct hash_view *view = arena_alloc(sizeof(*view));
	struct layout layout;

	if (!view)
		return -ENOMEM;
	lay_out(&map->spec, map->cpus, &layout);
	view->buckets = (struct hash_bucket *)map->data;
	view->elements = map->data + layout.elements;
	view->ring = (u32 *)(map->data + layout.ring);
	view->state = state_of(map);
	view->seed = view->state->seed;
	view->bucket_mask = layout.buckets - 1;
	view->ring_mask = layout.ring_size - 1;
	view->element_count = layout.element_count;
	view->element_size = layout.element_size;
	view->key_size = map->spec.key_size;
	view->value_offset = layout.value_offset;
	view->value_bytes =
		is_percpu(&map->spec) ? map->value_stride * map->cpus : map->spec.value_size;
	view->max_entries = map->spec.max_entries;
	map->type_view = view;
	return 0;
}

void hash_close(struct map *map)
{
	arena_free(map->type_view);
}

static u64 mix(u64 a, u64 b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (u64)product ^ (u64)(product >> 64);
}

/* Multiply and fold, a word at a time, from a secret start: collisions cannot be chosen from outside. */
static u64 hash_of(const struct hash_view *view, const void *key)
{
	const u8 *bytes = key;
	u32 left = view->key_size;
	u64 hash = view->seed ^ 0x9e3779b97f4a7c15ull * left;
	u64 word;

	for (; left >= 8; left -= 8, bytes += 8) {
		__builtin_memcpy(&word, bytes, 8);
		hash = mix(hash ^ word, 0xa0761d6478bd642full);
	}
	if (left >= 4) {
		u32 half;

		__builtin_memcpy(&half, bytes, 4);
		hash = mix(hash ^ half, 0xe7037ed1a0b428dbull);
		left -= 4;
		bytes += 4;
	}
	for (word = 0; left; left--)
		word = word << 8 | *bytes++;
	return mix(hash ^ word, 0x8ebc6af09c88c6e3ull);
}

static u32 bucket_of(const struct hash_view *view, u64 hash)
{
	return (u32)hash & view->bucket_mask;
}

static u32 tag_of(u64 hash)
{
	return (u32)(hash >> 32);
}

/* Was the element reused since seq was read? Puts the reads before it first. */
static bool reused(const struct hash_element *element, u32 seq)
{
	fence(__ATOMIC_ACQUIRE);
	return seq & 1 || __atomic_load_n(&element->seq, __ATOMIC_RELAXED) != seq;
}

/* One walk along a chain: index, -ENOENT or -EAGAIN (something moved: walk again). */
static s64 walk(struct hash_view *view, const void *key, u64 hash, u32 *ret_seq)
{
	u32 bucket = bucket_of(view, hash);
	struct hash_bucket *row = &view->buckets[bucket];
	u32 version = __atomic_load_n(&row->version, __ATOMIC_ACQUIRE);
	u32 at = __atomic_load_n(&row->head, __ATOMIC_ACQUIRE);
	u32 steps = 0;

	while (at < view->element_count) {
		struct hash_element *element = hash_element(view, at);
		u32 seq = __atomic_load_n(&element->seq, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&element->hash, __ATOMIC_RELAXED) == tag_of(hash) &&
		    racy_equal(hash_key(element), key, view->key_size)) {
			if (reused(element, seq))
				return -EAGAIN;
			*ret_seq = seq;
			return at;
		}
		if (unlikely(++steps > view->element_count))
			return -EAGAIN;
		at = __atomic_load_n(&element->next, __ATOMIC_ACQUIRE);
	}
	if (at != (HASH_END | bucket) ||
	    __atomic_load_n(&row->version, __ATOMIC_RELAXED) != version)
		return -EAGAIN;
	return -ENOENT;
}

static s64 find_hashed(struct hash_view *view, const void *key, u64 hash, u32 *ret_seq)
{
	s64 found = -EAGAIN;

	for (u32 i = 0; i < WALKS; i++) {
		found = walk(view, key, hash, ret_seq);
		if (likely(found != -EAGAIN))
			return found;
	}
	if (hash_lock(view, bucket_of(view, hash)) == 0) {
		found = walk(view, key, hash, ret_seq);
		hash_unlock(view, bucket_of(view, hash));
	}
	return found >= 0 ? found : -ENOENT;
}

s64 hash_find(struct hash_view *view, const void *key, u32 *ret_seq)
{
	return find_hashed(view, key, hash_of(view, key), ret_seq);
}

/* Fills an element that no chain has, and puts it at the head of the bucket's. */
static void write_and_link(struct map *map, u32 index, const void *key, u64 hash, hash_fill_fn fill,
			   const void *arg)
{
	struct hash_view *view = hash_view_of(map);
	struct hash_element *element = hash_element(view, index);
	struct hash_bucket *row = &view->buckets[bucket_of(view, hash)];
	u32 seq = element->seq | 1;

	__atomic_store_n(&element->seq, seq, __ATOMIC_RELAXED);
	fence(__ATOMIC_RELEASE);
	__atomic_store_n(&element->hash, tag_of(hash), __ATOMIC_RELAXED);
	mem_copy_words(hash_key(element), key, view->key_size);
	fill(map, hash_value(view, element), arg);
	__atomic_store_n(&element->next, row->head, __ATOMIC_RELEASE);
	__atomic_store_n(&element->seq, seq + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&row->head, index, __ATOMIC_RELEASE);
}

static void forget(u32 *note)
{
	__atomic_store_n(note, 0, __ATOMIC_RELEASE);
}

static int insert(struct map *map, const void *key, u64 hash, hash_fill_fn fill, const void *arg)
{
	struct hash_view *view = hash_view_of(map);
	u32 bucket = bucket_of(view, hash);
	u32 index;
	int error = hash_queue_pop(view, bucket, HASH_POP_INSERT, &index);

	if (error == -E2BIG)
		__atomic_fetch_add(&map->shared->dropped, 1, __ATOMIC_RELAXED);
	if (error)
		return error;
	write_and_link(map, index, key, hash, fill, arg);
	forget(&view->buckets[bucket].arriving);
	return 0;
}

/* A new element takes the old one's place: who holds the old value goes on reading it whole. */
static int replace(struct map *map, const void *key, u64 hash, u32 old, hash_fill_fn fill,
		   const void *arg)
{
	struct hash_view *view = hash_view_of(map);
	u32 bucket = bucket_of(view, hash);
	struct hash_bucket *row = &view->buckets[bucket];
	u32 index;
	int error;

	__atomic_store_n(&row->leaving, old + 1, __ATOMIC_RELEASE);
	error = hash_queue_pop(view, bucket, HASH_POP_REPLACE, &index);
	if (error) {
		forget(&row->leaving);
		return error;
	}
	write_and_link(map, index, key, hash, fill, arg);
	hash_unlink(view, bucket, old);
	/* Done as far as anybody can see; when the queue is busy, the notes let the bucket's next owner push. */
	if (hash_queue_push(view, old, false) == 0) {
		forget(&row->leaving);
		forget(&row->arriving);
	}
	return 0;
}

int hash_put(struct map *map, const void *key, u64 flags, hash_fill_fn fill, hash_fill_fn modify,
	     const void *arg)
{
	struct hash_view *view = hash_view_of(map);
	u64 hash = hash_of(view, key);
	u32 bucket = bucket_of(view, hash);
	u32 seq;
	s64 found;
	int error = map_check_update_flags(flags);

	if (!error)
		error = hash_lock(view, bucket);
	if (error)
		return error;
	found = walk(view, key, hash, &seq);
	if (found >= 0 && flags == BPF_NOEXIST)
		error = -EEXIST;
	else if (found < 0 && flags == BPF_EXIST)
		error = -ENOENT;
	else if (found < 0)
		error = insert(map, key, hash, fill, arg);
	else if (modify)
		modify(map, hash_value(view, hash_element(view, (u32)found)), arg);
	else
		error = replace(map, key, hash, (u32)found, fill, arg);
	hash_unlock(view, bucket);
	return error;
}

/* to: NULL, or where the value goes. */
static int take(struct map *map, const void *key, void *to)
{
	struct hash_view *view = hash_view_of(map);
	u64 hash = hash_of(view, key);
	u32 bucket = bucket_of(view, hash);
	struct hash_bucket *row = &view->buckets[bucket];
	u32 seq;
	s64 found;
	int error = hash_lock(view, bucket);

	if (error)
		return error;
	found = walk(view, key, hash, &seq);
	if (found >= 0) {
		if (to)
			mem_copy_words(to, hash_value(view, hash_element(view, (u32)found)),
				       view->value_bytes);
		__atomic_store_n(&row->leaving, (u32)found + 1, __ATOMIC_RELEASE);
		hash_unlink(view, bucket, (u32)found);
		if (hash_queue_push(view, (u32)found, true) == 0)
			forget(&row->leaving);
	}
	hash_unlock(view, bucket);
	return found >= 0 ? 0 : -ENOENT;
}

int hash_delete(struct map *map, const void *key)
{
	return take(map, key, NULL);
}

int hash_take_area(struct map *map, const void *key, void *to)
{
	return take(map, key, to);
}

int hash_copy_area(struct map *map, const void *key, void *to)
{
	struct hash_view *view = hash_view_of(map);

	for (u32 i = 0; i < WALKS; i++) {
		u32 seq;
		s64 found = hash_find(view, key, &seq);
		struct hash_element *element;

		if (found < 0)
			return (int)found;
		element = hash_element(view, (u32)found);
		mem_copy_racy(to, hash_value(view, element), view->value_bytes);
		if (!reused(element, seq))
			return 0;
	}
	return -EBUSY;
}

/* The key of the first element from bucket on. -ENOENT at the end, -EAGAIN when it was reused meanwhile. */
static int first_key(struct hash_view *view, u32 bucket, u32 at, void *next)
{
	while (at >= view->element_count) {
		if (bucket == view->bucket_mask)
			return -ENOENT;
		at = __atomic_load_n(&view->buckets[++bucket].head, __ATOMIC_ACQUIRE);
	}
	{
		struct hash_element *element = hash_element(view, at);
		u32 seq = __atomic_load_n(&element->seq, __ATOMIC_ACQUIRE);

		mem_copy_racy(next, hash_key(element), view->key_size);
		return reused(element, seq) ? -EAGAIN : 0;
	}
}

/* In the order of buckets, and in each from the newest: stable for keys that stay. A key not found starts again. */
int hash_next_key(struct map *map, const void *key, void *next)
{
	struct hash_view *view = hash_view_of(map);
	u64 hash = key ? hash_of(view, key) : 0;
	int error = -EAGAIN;

	for (u32 i = 0; i < WALKS && error == -EAGAIN; i++) {
		u32 bucket = 0, seq;
		u32 at = __atomic_load_n(&view->buckets[0].head, __ATOMIC_ACQUIRE);
		s64 found = key ? find_hashed(view, key, hash, &seq) : -ENOENT;

		if (found >= 0) {
			struct hash_element *element = hash_element(view, (u32)found);

			bucket = bucket_of(view, hash);
			at = __atomic_load_n(&element->next, __ATOMIC_ACQUIRE);
			if (reused(element, seq))
				continue;
		}
		error = first_key(view, bucket, at, next);
	}
	return error == -EAGAIN ? -EBUSY : error;
}

static void fill_value(struct map *map, char *area, const void *value)
{
	mem_copy_words(area, value, map->spec.value_size);
}

static void *hash_lookup(struct map *map, const void *key)
{
	struct hash_view *view = hash_view_of(map);
	u32 seq;
	s64 found = hash_find(view, key, &seq);

	return found < 0 ? NULL : hash_value(view, hash_element(view, (u32)found));
}

static int hash_update(struct map *map, const void *key, const void *value, u64 flags)
{
	return hash_put(map, key, flags, fill_value, NULL, value);
}

const struct map_ops hash_ops = {
	.type = BPF_MAP_TYPE_HASH,
	.name = "hash",
	.check = hash_check,
	.data_size = hash_data_size,
	.init = hash_init,
	.open = hash_open,
	.close = hash_close,
	.lookup = hash_lookup,
	.update = hash_update,
	.delete = hash_delete,
	.next_key = hash_next_key,
	.copy_out = hash_copy_area,
	.copy_in = hash_update,
	.take_out = hash_take_area,
};
