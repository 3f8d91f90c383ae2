/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does an operation on each map type cost a program?
 *
 * Thread-CPU ns an operation through map_ops, as helpers call it; one thread, 8-byte keys (4 for arrays) and values, 4096
 * elements, keys in a random order that is the same for all. Ring buffer: 16-byte records, no wake-up, emptied as
 * it fills. The process is a participant, as a target is. Rounds interleave the variants; the value is the median over
 * rounds, the spread half the distance between quartiles. The loop itself ("nothing") is not subtracted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "maps/ringbuf.h"
#include "sync/participant.h"
#include "sync/percpu.h"
#include "sync/reader.h"

#define ROUNDS	 21
#define ELEMENTS 4096u
#define PASSES	 16u

static struct map *array, *hash, *percpu_array, *percpu_hash, *ring;
static u64 keys[ELEMENTS]; /* shuffled; arrays read the low half (little-endian) */
static u64 sink;

static void nothing(u64 *key)
{
	__asm__ volatile("" : : "r"(key) : "memory");
}

static void look_up(struct map *map, u64 *key)
{
	u64 *value = map->ops->lookup(map, key);

	sink += value ? *value : 0;
}

static void array_lookup(u64 *key)
{
	look_up(array, key);
}

static void array_update(u64 *key)
{
	array->ops->update(array, key, key, BPF_ANY);
}

static void hash_lookup(u64 *key)
{
	look_up(hash, key);
}

static void hash_miss(u64 *key)
{
	u64 absent = *key + (1ull << 40);

	look_up(hash, &absent);
}

static void hash_replace(u64 *key)
{
	hash->ops->update(hash, key, key, BPF_ANY);
}

static void hash_delete_insert(u64 *key)
{
	hash->ops->delete (hash, key);
	hash->ops->update(hash, key, key, BPF_ANY);
}

static void slot(u64 *key)
{
	(void)key;
	if (percpu_enter() >= 0)
		percpu_leave();
}

static void percpu_array_lookup(u64 *key)
{
	look_up(percpu_array, key);
}

static void percpu_hash_lookup(u64 *key)
{
	look_up(percpu_hash, key);
}

static void percpu_hash_update(u64 *key)
{
	percpu_hash->ops->update(percpu_hash, key, key, BPF_ANY);
}

/* As a consumer would: what has been produced is consumed. */
static void empty_ring(void)
{
	u64 *consumer_pos = (u64 *)ring->data;

	if (ringbuf_query(ring, BPF_RB_AVAIL_DATA) > ringbuf_query(ring, BPF_RB_RING_SIZE) / 2)
		__atomic_store_n(consumer_pos, ringbuf_query(ring, BPF_RB_PROD_POS),
				 __ATOMIC_RELEASE);
}

static void ring_reserve_submit(u64 *key)
{
	u64 *record = ringbuf_reserve(ring, 16, 0);

	if (record) {
		record[0] = *key;
		record[1] = 0;
		ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	}
	empty_ring();
}

static void ring_output(u64 *key)
{
	u64 record[2] = {*key, 0};

	ringbuf_output(ring, record, sizeof(record), BPF_RB_NO_WAKEUP);
	empty_ring();
}

static struct variant {
	const char *name, *metric;
	void (*run)(u64 *key);
	bool in_slot; /* measured while a slot is held, as programs hold one */
	double ns[ROUNDS];
} variants[] = {
	{"nothing", "per call", nothing, false, {0}},
	{"array", "lookup", array_lookup, false, {0}},
	{"array", "update", array_update, false, {0}},
	{"hash", "lookup", hash_lookup, false, {0}},
	{"hash", "lookup, absent", hash_miss, false, {0}},
	{"hash", "update, present", hash_replace, false, {0}},
	{"hash", "delete and update", hash_delete_insert, false, {0}},
	{"slot", "enter and leave", slot, false, {0}},
	{"percpu_array", "lookup", percpu_array_lookup, true, {0}},
	{"percpu_hash", "lookup", percpu_hash_lookup, true, {0}},
	{"percpu_hash", "update, present", percpu_hash_update, true, {0}},
	{"ringbuf", "reserve and submit", ring_reserve_submit, false, {0}},
	{"ringbuf", "output", ring_output, false, {0}},
};

static double thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double time_variant(const struct variant *variant)
{
	double start;

	if (variant->in_slot)
		percpu_enter();
	start = thread_ns();
	for (u32 pass = 0; pass < PASSES; pass++) {
		for (u32 i = 0; i < ELEMENTS; i++)
			variant->run(&keys[i]);
	}
	start = (thread_ns() - start) / (PASSES * ELEMENTS);
	if (variant->in_slot)
		percpu_leave();
	return start;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_row(struct variant *variant)
{
	qsort(variant->ns, ROUNDS, sizeof(double), compare);
	printf("{\"bench\":\"maps\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"ns\",\"value\":%.2f,"
	       "\"spread\":%.2f}\n",
	       variant->name, variant->metric, variant->ns[ROUNDS / 2],
	       (variant->ns[ROUNDS * 3 / 4] - variant->ns[ROUNDS / 4]) / 2);
}

static int make(u32 type, u32 key_size, struct map **ret_map)
{
	struct map_spec spec = {
		.type = type,
		.key_size = key_size,
		.value_size = key_size ? 8 : 0,
		.max_entries = key_size ? ELEMENTS : 1u << 20,
		.name = "bench",
	};

	return map_create(&spec, 0, ret_map);
}

static int prepare(void)
{
	int error = reader_init();

	if (!error && participant_join(memfd_create("registry", MFD_CLOEXEC)) < 0)
		error = -1;
	error = error ?: make(BPF_MAP_TYPE_ARRAY, 4, &array);
	error = error ?: make(BPF_MAP_TYPE_HASH, 8, &hash);
	error = error ?: make(BPF_MAP_TYPE_PERCPU_ARRAY, 4, &percpu_array);
	error = error ?: make(BPF_MAP_TYPE_PERCPU_HASH, 8, &percpu_hash);
	error = error ?: make(BPF_MAP_TYPE_RINGBUF, 0, &ring);
	if (error)
		return error;
	for (u32 i = 0; i < ELEMENTS; i++)
		keys[i] = i;
	srand(1);
	for (u32 i = ELEMENTS - 1; i; i--) {
		u32 other = (u32)rand() % (i + 1);
		u64 key = keys[i];

		keys[i] = keys[other];
		keys[other] = key;
	}
	for (u32 i = 0; i < ELEMENTS; i++) {
		hash->ops->update(hash, &keys[i], &keys[i], BPF_ANY);
		percpu_hash->ops->update(percpu_hash, &keys[i], &keys[i], BPF_ANY);
	}
	return 0;
}

int main(void)
{
	if (prepare()) {
		fprintf(stderr, "maps: cannot create the maps\n");
		return 1;
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
			variants[i].ns[round] = time_variant(&variants[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		print_row(&variants[i]);
	return 0;
}
