// SPDX-License-Identifier: BSD-2-Clause
/*
 * STACK_TRACE: a bucket a stack id, one stack in each.
 *
 *   data area: words (u64 a bucket) | stacks (value_size a bucket)
 *
 * A bucket's word says what its stack is: state, number of addresses, a sequence that changes with each stack, and the hash.
 *
 *   EMPTY -> WRITING -> FULL -> EMPTY (deleted), FULL -> WRITING (BPF_F_REUSE_STACKID)
 *
 * Who takes a word to WRITING (compare and swap) owns the stack until it stores FULL. Readers take no lock: they look whether
 * the word is the same after as before. A writer that was killed leaves WRITING behind: that id gives -EBUSY until the
 * element is deleted.
 */
#include "maps/stack_trace.h"

#include <errno.h>

#include "base/cpu.h"
#include "base/mem.h"

#define STACK_FLAGS (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_STACK_BUILD_ID)
/* The kernel's sysctl kernel.perf_event_max_stack as it is by default. */
#define MAX_DEPTH   127
#define MAX_BUCKETS (1u << 31)
#define PATIENCE    256

enum state {
	EMPTY,
	WRITING,
	FULL,
};

#define STATE(word)    ((word)&3)
#define COUNT(word)    ((u32)(word) >> 2 & 0x3ff)
#define SEQUENCE(word) ((u32)(word) >> 12)
#define HASH(word)     ((u32)((word) >> 32))

static u64 make_word(enum state state, u32 count, u32 sequence, u32 hash)
{
	return (u64)hash << 32 | (u32)(sequence << 12) | count << 2 | (u32)state;
}

static u64 buckets_of(const struct map_spec *spec)
{
	u64 buckets = 1;

	while (buckets < spec->max_entries)
		buckets *= 2;
	return buckets;
}

static u64 *word_at(const struct map *map, u32 id)
{
	return (u64 *)(void *)map->data + id;
}

static u64 *stack_at(const struct map *map, u32 id)
{
	return (u64 *)(void *)(map->data + buckets_of(&map->spec) * 8 +
			       (u64)id * map->spec.value_size);
}

static int check(const struct map_spec *spec)
{
	if (spec->flags & ~STACK_FLAGS || !spec->max_entries || spec->key_size != 4 ||
	    spec->value_size < 8 || spec->value_size % 8)
		return -EINVAL;
	/* Stacks by build-id would need the files' ids at a hit: not offered. */
	if (spec->flags & BPF_F_STACK_BUILD_ID)
		return -EOPNOTSUPP;
	if (spec->value_size / 8 > MAX_DEPTH)
		return -EINVAL;
	return spec->max_entries > MAX_BUCKETS ? -E2BIG : 0;
}

static u64 data_size(const struct map_spec *spec, u32 cpus)
{
	(void)cpus;
	return buckets_of(spec) * (8 + (u64)spec->value_size);
}

static u64 load(const u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static u32 hash_of(const u64 *ips, u32 count)
{
	u64 hash = count;

	for (u32 i = 0; i < count; i++) {
		hash = (hash ^ ips[i]) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 29;
	}
	return (u32)(hash ^ hash >> 32);
}

static bool holds(const struct map *map, u32 id, u64 word, const u64 *ips, u32 count)
{
	const volatile u64 *stack = stack_at(map, id);

	if (COUNT(word) != count)
		return false;
	for (u32 i = 0; i < count; i++) {
		if (stack[i] != ips[i])
			return false;
	}
	return true;
}

/* Waits a little for a writer; it may be the very thread, interrupted. */
static u64 settled_word(const u64 *at)
{
	u64 word = load(at);

	for (u32 i = 0; STATE(word) == WRITING && i < PATIENCE; i++) {
		cpu_pause();
		word = load(at);
	}
	return word;
}

static bool put(struct map *map, u32 id, u64 old, u32 hash, const u64 *ips, u32 count)
{
	u64 *at = word_at(map, id);
	u64 writing = make_word(WRITING, 0, SEQUENCE(old) + 1, hash);

	if (!__atomic_compare_exchange_n(at, &old, writing, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return false;
	mem_copy_words(stack_at(map, id), ips, count * 8ull);
	/* Deleted meanwhile, it stays deleted. */
	__atomic_compare_exchange_n(at, &writing, make_word(FULL, count, SEQUENCE(writing), hash),
				    false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	return true;
}

s64 stack_trace_id(struct map *map, const u64 *ips, u32 count, u64 flags)
{
	u32 hash = hash_of(ips, count);
	u32 id = hash & (u32)(buckets_of(&map->spec) - 1);

	for (u32 i = 0; i < PATIENCE; i++) {
		u64 word = settled_word(word_at(map, id));

		if (STATE(word) == WRITING)
			return -EBUSY;
		if (STATE(word) == FULL && HASH(word) == hash) {
			if (flags & BPF_F_FAST_STACK_CMP)
				return id;
			if (holds(map, id, word, ips, count) && load(word_at(map, id)) == word)
				return id;
		}
		if (STATE(word) == FULL && !(flags & BPF_F_REUSE_STACKID))
			return -EEXIST;
		if (put(map, id, word, hash, ips, count))
			return id;
	}
	return -EBUSY;
}

/* Programs have bpf_get_stackid alone; the verifier lets nothing else near the map. */
static void *lookup(struct map *map, const void *key)
{
	(void)map;
	(void)key;
	return NULL;
}

static int update(struct map *map, const void *key, const void *value, u64 flags)
{
	(void)map;
	(void)key;
	(void)value;
	(void)flags;
	return -EINVAL;
}

static u32 key_of(const void *key)
{
	u32 id;

	__builtin_memcpy(&id, key, sizeof(id));
	return id;
}

static int delete (struct map *map, const void *key)
{
	u32 id = key_of(key);
	u64 word;

	if (id >= buckets_of(&map->spec))
		return -E2BIG;
	word = load(word_at(map, id));
	do {
		if (STATE(word) == EMPTY)
			return -ENOENT;
	} while (!__atomic_compare_exchange_n(word_at(map, id), &word,
					      make_word(EMPTY, 0, SEQUENCE(word) + 1, 0), false,
					      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return 0;
}

static int next_key(struct map *map, const void *key, void *next)
{
	u64 buckets = buckets_of(&map->spec);
	u64 id = key ? key_of(key) : buckets;

	id = id >= buckets ? 0 : id + 1;
	while (id < buckets && STATE(load(word_at(map, (u32)id))) != FULL)
		id++;
	if (id == buckets)
		return -ENOENT;
	mem_copy_words(next, &(u32){(u32)id}, 4);
	return 0;
}

static int copy_out(struct map *map, const void *key, void *value)
{
	u32 id = key_of(key), count;
	u64 word;

	if (id >= buckets_of(&map->spec))
		return -ENOENT;
	do {
		word = settled_word(word_at(map, id));
		if (STATE(word) != FULL)
			return -ENOENT;
		count = MIN(COUNT(word), map->spec.value_size / 8);
		mem_copy_words(value, stack_at(map, id), count * 8ull);
		mem_zero((char *)value + count * 8ull, map->spec.value_size - count * 8ull);
	} while (load(word_at(map, id)) != word);
	return 0;
}

static int take_out(struct map *map, const void *key, void *value)
{
	int error = copy_out(map, key, value);

	return error ? error : delete (map, key);
}

const struct map_ops stack_trace_ops = {
	.type = BPF_MAP_TYPE_STACK_TRACE,
	.name = "stack_trace",
	.check = check,
	.data_size = data_size,
	.lookup = lookup,
	.update = update,
	.delete = delete,
	.next_key = next_key,
	.copy_out = copy_out,
	.copy_in = update,
	.take_out = take_out,
};
