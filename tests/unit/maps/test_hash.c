// SPDX-License-Identifier: BSD-2-Clause
/* The HASH type: what bpf(2) says of it, and that no reader or writer ever sees what it should not. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "hash_check.h"
#include "maps/map.h"
#include "sync/reader.h"
#include "test.h"

static struct map_spec hash_of(u32 key_size, u32 value_size, u32 max_entries)
{
	struct map_spec spec = {
		.type = BPF_MAP_TYPE_HASH,
		.key_size = key_size,
		.value_size = value_size,
		.max_entries = max_entries,
		.name = "table",
	};

	return spec;
}

static struct map *make(u32 key_size, u32 value_size, u32 max_entries)
{
	struct map_spec spec = hash_of(key_size, value_size, max_entries);
	struct map *map = NULL;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	return map;
}

static void flags_and_errors_are_the_kernels(void)
{
	struct map *map = make(4, 8, 3);
	u32 key = 1;
	u64 value = 10, out = 0;

	CHECK(map->ops->lookup(map, &key) == NULL);
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_EXIST), -ENOENT);
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_NOEXIST), 0);
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_NOEXIST), -EEXIST);
	value = 11;
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_EXIST), 0);
	CHECK_EQ(*(u64 *)map->ops->lookup(map, &key), 11);
	CHECK_EQ(map->ops->update(map, &key, &value, 3), -EINVAL);
	for (key = 2; key <= 3; key++)
		CHECK_EQ(map->ops->update(map, &key, &value, BPF_ANY), 0);
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_ANY), -E2BIG);
	CHECK_EQ(map->shared->dropped, 1);
	/* Full, but what is there may be replaced. */
	key = 2;
	value = 22;
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_ANY), 0);
	CHECK_EQ(map->ops->copy_out(map, &key, &out), 0);
	CHECK_EQ(out, 22);
	CHECK_EQ(map->ops->delete (map, &key), 0);
	CHECK_EQ(map->ops->delete (map, &key), -ENOENT);
	CHECK_EQ(map->ops->copy_out(map, &key, &out), -ENOENT);
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_NOEXIST), 0);
	out = 0;
	CHECK_EQ(map->ops->take_out(map, &key, &out), 0);
	CHECK_EQ(out, 22);
	CHECK_EQ(map->ops->take_out(map, &key, &out), -ENOENT);
	hash_check_invariants(map);
	map_close(map);
}

static void max_entries_is_exact(void)
{
	u32 sizes[] = {1, 2, 7, 64, 1000, 4097};

	for (u32 s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct map *map = make(4, 4, sizes[s]);
		u32 key;

		for (u32 round = 0; round < 3; round++) {
			for (key = 0; key < sizes[s]; key++)
				CHECK_EQ(map->ops->update(map, &key, &key, BPF_ANY), 0);
			CHECK_EQ(map->ops->update(map, &key, &key, BPF_ANY), -E2BIG);
			for (key = 0; key < sizes[s]; key++)
				CHECK_EQ(map->ops->update(map, &key, &key, BPF_ANY), 0);
			hash_check_invariants(map);
			for (key = 0; key < sizes[s]; key++)
				CHECK_EQ(map->ops->delete (map, &key), 0);
		}
		CHECK_EQ(map->ops->next_key(map, NULL, &key), -ENOENT);
		map_close(map);
	}
}

/* Keys of every small size: each found, none confused with another. */
static void keys_of_any_size(void)
{
	for (u32 size = 1; size <= 40; size++) {
		struct map *map = make(size, 1, 256);
		u8 key[40], value;

		for (u32 i = 0; i < 256; i++) {
			memset(key, 0x5a, sizeof(key));
			key[i % size] = (u8)i;
			key[size - 1] ^= (u8)(i >> 4);
			value = (u8)i;
			CHECK_EQ(map->ops->update(map, key, &value, BPF_ANY), 0);
			CHECK_EQ(*(u8 *)map->ops->lookup(map, key), value);
		}
		hash_check_invariants(map);
		map_close(map);
	}
}

static void next_key_visits_each_once_and_in_order(void)
{
	struct map *map = make(8, 8, 500);
	static u64 order[500];
	u64 key, count = 0, at;

	for (key = 0; key < 500; key++)
		map->ops->update(map, &key, &key, BPF_ANY);
	CHECK_EQ(map->ops->next_key(map, NULL, &key), 0);
	do {
		CHECK(key < 500);
		order[count++] = key;
	} while (count < 501 && map->ops->next_key(map, &key, &key) == 0);
	CHECK_EQ(count, 500);
	for (u32 i = 0; i < 500; i++) {
		for (u32 k = 0; k < i; k++)
			CHECK(order[i] != order[k]);
	}
	/* Deleting what was visited is how clients empty a map. The order of the others stays. */
	at = 0;
	CHECK_EQ(map->ops->next_key(map, NULL, &key), 0);
	do {
		u64 next;
		int end = map->ops->next_key(map, &key, &next);

		CHECK_EQ(key, order[at]);
		at++;
		CHECK_EQ(map->ops->delete (map, &key), 0);
		if (end)
			break;
		key = next;
	} while (at < 501);
	CHECK_EQ(at, 500);
	/* An unknown key starts again. */
	key = 7;
	map->ops->update(map, &key, &key, BPF_ANY);
	key = 12345;
	CHECK_EQ(map->ops->next_key(map, &key, &key), 0);
	CHECK_EQ(key, 7);
	map_close(map);
}

/* A deleted value keeps its bytes while others come and go: as many as there are spare elements. */
static void a_deleted_value_stays_readable(void)
{
	struct map *map = make(4, 8, 4);
	u32 key = 1;
	u64 value = 77, *held;

	map->ops->update(map, &key, &value, BPF_ANY);
	held = map->ops->lookup(map, &key);
	map->ops->delete (map, &key);
	value = 0;
	for (u32 i = 0; i < 64; i++) {
		key = 100 + i;
		CHECK_EQ(map->ops->update(map, &key, &value, BPF_ANY), 0);
		CHECK_EQ(*held, 77);
		map->ops->delete (map, &key);
	}
	map_close(map);
}

static void seeds_differ(void)
{
	struct map_spec spec = hash_of(8, 8, 64);
	struct map *one = make(8, 8, 64), *two = make(8, 8, 64), *zero;

	CHECK(hash_view_of(one)->seed != hash_view_of(two)->seed);
	spec.flags = BPF_F_ZERO_SEED;
	CHECK_EQ(map_create(&spec, 1, &zero), 0);
	CHECK_EQ(hash_view_of(zero)->seed, 0);
	map_close(one);
	map_close(two);
	map_close(zero);
}

/* Chains stay short for the keys people use: counters, addresses, and both in the high half. */
static void chains_stay_short(void)
{
	u64 steps[] = {1, 64, 4096, 1ull << 32, 0x9e3779b97f4a7c15ull};

	for (u32 s = 0; s < ARRAY_SIZE(steps); s++) {
		struct map *map = make(8, 8, 4096);

		for (u64 i = 0; i < 4096; i++) {
			u64 key = i * steps[s];

			CHECK_EQ(map->ops->update(map, &key, &i, BPF_ANY), 0);
		}
		CHECK(hash_check_longest_chain(map) <= 12);
		map_close(map);
	}
}

/* Two writers delete, insert and replace while readers look: a value always belongs to its key, a key that is never
 * deleted is always found. */
struct stress {
	struct map *map;
	bool stop;
	u64 lookups, wrong, lost, bad_errors;
};

#define KEYS	 64
#define KEPT_KEY 1000

static void *write_stress(void *argument)
{
	struct stress *stress = argument;
	unsigned int seed = (unsigned int)syscall(186);

	while (!__atomic_load_n(&stress->stop, __ATOMIC_RELAXED)) {
		u64 key = (u64)rand_r(&seed) % KEYS;
		u64 value[2] = {key, ~key};
		int error;

		if (rand_r(&seed) % 3 == 0)
			error = stress->map->ops->delete (stress->map, &key);
		else
			error = stress->map->ops->update(stress->map, &key, value, BPF_ANY);
		if (error && error != -ENOENT && error != -EBUSY && error != -ENOMEM)
			__atomic_fetch_add(&stress->bad_errors, 1, __ATOMIC_RELAXED);
		key = KEPT_KEY;
		value[0] = key;
		value[1] = ~key;
		stress->map->ops->update(stress->map, &key, value, BPF_EXIST);
	}
	return NULL;
}

static void *read_stress(void *argument)
{
	struct stress *stress = argument;
	unsigned int seed = 5;

	while (!__atomic_load_n(&stress->stop, __ATOMIC_RELAXED)) {
		u64 key = (u64)rand_r(&seed) % KEYS;
		u64 value[2], kept = KEPT_KEY;

		if (stress->map->ops->copy_out(stress->map, &key, value) == 0 &&
		    (value[0] != key || value[1] != ~key))
			__atomic_fetch_add(&stress->wrong, 1, __ATOMIC_RELAXED);
		if (!stress->map->ops->lookup(stress->map, &kept))
			__atomic_fetch_add(&stress->lost, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&stress->lookups, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void readers_never_see_another_keys_value(void)
{
	struct stress stress = {.map = make(8, 16, KEYS + 1)};
	u64 key = KEPT_KEY, value[2] = {key, ~key};
	const char *seconds = getenv("INLAY_STRESS_SECONDS");
	pthread_t threads[4];

	stress.map->ops->update(stress.map, &key, value, BPF_ANY);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i < 2 ? write_stress : read_stress, &stress);
	usleep(seconds ? (useconds_t)atoi(seconds) * 1000000 : 1500000);
	__atomic_store_n(&stress.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(stress.lookups > 10000);
	CHECK_EQ(stress.wrong, 0);
	CHECK_EQ(stress.lost, 0);
	CHECK_EQ(stress.bad_errors, 0);
	hash_check_invariants(stress.map);
	map_close(stress.map);
}

static int create(struct map_spec spec, u32 flags)
{
	struct map *map;
	int error;

	spec.flags = flags;
	error = map_create(&spec, 1, &map);
	if (!error)
		map_close(map);
	return error;
}

static void bad_specs_are_refused(void)
{
	CHECK_EQ(create(hash_of(0, 8, 1), 0), -EINVAL);
	CHECK_EQ(create(hash_of(8, 0, 1), 0), -EINVAL);
	CHECK_EQ(create(hash_of(8, 8, 0), 0), -EINVAL);
	CHECK_EQ(create(hash_of(8, 8, 1), BPF_F_NO_PREALLOC), 0);
	CHECK_EQ(create(hash_of(8, 8, 1), BPF_F_RDONLY_PROG), 0);
	CHECK_EQ(create(hash_of(8, 8, 1), BPF_F_MMAPABLE), -EINVAL);
	CHECK_EQ(create(hash_of(8, 8, 1), BPF_F_NO_COMMON_LRU), -EINVAL);
	CHECK_EQ(create(hash_of(8, 4u << 20, 1), 0), -E2BIG);
	CHECK_EQ(create(hash_of(8, 8, 0x90000000u), 0), -E2BIG);
}

int main(void)
{
	reader_init();
	RUN(flags_and_errors_are_the_kernels);
	RUN(max_entries_is_exact);
	RUN(keys_of_any_size);
	RUN(next_key_visits_each_once_and_in_order);
	RUN(a_deleted_value_stays_readable);
	RUN(seeds_differ);
	RUN(chains_stay_short);
	RUN(readers_never_see_another_keys_value);
	RUN(bad_specs_are_refused);
	return test_done();
}
