// SPDX-License-Identifier: BSD-2-Clause
/* PERCPU_ARRAY and PERCPU_HASH: a slot's value for programs, all of them for the system call side. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "hash_check.h"
#include "maps/map.h"
#include "sync/percpu.h"
#include "sync/reader.h"
#include "test.h"

static struct map *make(u32 type, u32 value_size, u32 max_entries)
{
	struct map_spec spec = {
		.type = type, .key_size = 4, .value_size = value_size, .max_entries = max_entries};
	struct map *map = NULL;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	return map;
}

static void a_program_has_its_own_value(u32 type)
{
	struct map *map = make(type, 12, 4);
	u32 cpus = percpu_count(), key = 2;
	char *all = calloc(cpus, 16), value[12] = "0123456789a";
	int slot = percpu_enter();

	CHECK(slot >= 0);
	CHECK_EQ(map_value_bytes(map), 16 * cpus);
	CHECK_EQ(map->ops->update(map, &key, value, BPF_ANY), 0);
	CHECK(!memcmp(map->ops->lookup(map, &key), value, 12));
	CHECK_EQ(map->ops->copy_out(map, &key, all), 0);
	for (u32 cpu = 0; cpu < cpus; cpu++) {
		char none[12] = "";

		CHECK(!memcmp(all + 16 * cpu, cpu == (u32)slot ? value : none, 12));
		memset(all + 16 * cpu, (int)cpu + 1, 12);
	}
	CHECK_EQ(map->ops->copy_in(map, &key, all, BPF_ANY), 0);
	CHECK_EQ(*(u8 *)map->ops->lookup(map, &key), slot + 1);
	for (u32 cpu = 0; cpu < cpus; cpu++)
		CHECK_EQ(*(u8 *)map->ops->lookup_percpu(map, &key, cpu), (u8)(cpu + 1));
	CHECK(map->ops->lookup_percpu(map, &key, cpus) == NULL);
	CHECK_EQ(map->ops->copy_in(map, &key, all, 3), -EINVAL);
	CHECK_EQ(map->ops->copy_in(map, &key, all, BPF_NOEXIST), -EEXIST);
	percpu_leave();
	free(all);
	map_close(map);
}

static void array_values(void)
{
	struct map *map = make(BPF_MAP_TYPE_PERCPU_ARRAY, 8, 2);
	u32 key = 2;
	char *all = calloc(percpu_count(), 8);

	a_program_has_its_own_value(BPF_MAP_TYPE_PERCPU_ARRAY);
	CHECK(map->ops->lookup(map, &key) == NULL);
	CHECK_EQ(map->ops->copy_out(map, &key, all), -ENOENT);
	CHECK_EQ(map->ops->copy_in(map, &key, all, 0), -E2BIG);
	CHECK_EQ(map->ops->update(map, &key, all, 0), -E2BIG);
	CHECK_EQ(map->ops->delete (map, &key), -EINVAL);
	map_close(map);
	free(all);
}

static void hash_values(void)
{
	struct map *map = make(BPF_MAP_TYPE_PERCPU_HASH, 8, 2);
	u32 key = 1;
	u64 *all = calloc(percpu_count(), 8), one = 1;

	a_program_has_its_own_value(BPF_MAP_TYPE_PERCPU_HASH);
	CHECK_EQ(map->ops->update(map, &key, &one, BPF_EXIST), -ENOENT);
	for (u32 cpu = 0; cpu < percpu_count(); cpu++)
		all[cpu] = 9;
	CHECK_EQ(map->ops->copy_in(map, &key, all, BPF_NOEXIST), 0);
	CHECK_EQ(map->ops->delete (map, &key), 0);
	/* Elements are reused: the other slots of a new one must be 0 all the same. */
	for (key = 10; key < 300; key++) {
		u64 sum = 0;

		CHECK_EQ(map->ops->update(map, &key, &one, BPF_ANY), 0);
		CHECK_EQ(map->ops->copy_out(map, &key, all), 0);
		for (u32 cpu = 0; cpu < percpu_count(); cpu++)
			sum += all[cpu];
		CHECK_EQ(sum, 1);
		CHECK_EQ(map->ops->take_out(map, &key, all), 0);
	}
	key = 1;
	map->ops->update(map, &key, &one, 0);
	key = 2;
	map->ops->update(map, &key, &one, 0);
	key = 3;
	CHECK_EQ(map->ops->update(map, &key, &one, 0), -E2BIG);
	hash_check_invariants(map);
	map_close(map);
	free(all);
}

/* What slots are for: plain increments by more threads than CPUs, and none is lost. */
#define THREADS	   6
#define PER_THREAD 100000

struct counters {
	struct map *array, *hash;
	u64 missed;
};

static void *count_up(void *argument)
{
	struct counters *counters = argument;
	u32 key = 0;

	for (u32 i = 0; i < PER_THREAD; i++) {
		volatile u64 *in_array, *in_hash;

		if (percpu_enter() < 0) {
			__atomic_fetch_add(&counters->missed, 1, __ATOMIC_RELAXED);
			continue;
		}
		in_array = counters->array->ops->lookup(counters->array, &key);
		in_hash = counters->hash->ops->lookup(counters->hash, &key);
		++*in_array;
		if (i % 4096 == 0)
			sched_yield();
		++*in_hash;
		percpu_leave();
	}
	return NULL;
}

static u64 total(struct map *map)
{
	u64 *all = calloc(percpu_count(), 8), sum = 0;
	u32 key = 0;

	map->ops->copy_out(map, &key, all);
	for (u32 cpu = 0; cpu < percpu_count(); cpu++)
		sum += all[cpu];
	free(all);
	return sum;
}

static void no_increment_is_lost(void)
{
	struct counters counters = {
		.array = make(BPF_MAP_TYPE_PERCPU_ARRAY, 8, 1),
		.hash = make(BPF_MAP_TYPE_PERCPU_HASH, 8, 1),
	};
	pthread_t threads[THREADS];
	u64 zero = 0;
	u32 key = 0;

	CHECK_EQ(counters.hash->ops->update(counters.hash, &key, &zero, 0), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, count_up, &counters);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(total(counters.array) + counters.missed, (u64)THREADS * PER_THREAD);
	CHECK_EQ(total(counters.hash) + counters.missed, (u64)THREADS * PER_THREAD);
	CHECK(counters.missed < PER_THREAD);
	map_close(counters.array);
	map_close(counters.hash);
}

static int create(u32 type, u32 value_size, u32 flags)
{
	struct map_spec spec = {.type = type,
				.key_size = 4,
				.value_size = value_size,
				.max_entries = 1,
				.flags = flags};
	struct map *map;
	int error = map_create(&spec, 1, &map);

	if (!error)
		map_close(map);
	return error;
}

static void bad_specs_are_refused(void)
{
	u32 types[] = {BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH};

	for (u32 i = 0; i < 2; i++) {
		CHECK_EQ(create(types[i], 32768, 0), 0);
		CHECK_EQ(create(types[i], 32769, 0), -E2BIG);
		CHECK_EQ(create(types[i], 0, 0), -EINVAL);
		CHECK_EQ(create(types[i], 8, BPF_F_MMAPABLE), -EINVAL);
		CHECK_EQ(create(types[i], 8, BPF_F_RDONLY_PROG), 0);
	}
}

int main(void)
{
	reader_init();
	RUN(array_values);
	RUN(hash_values);
	RUN(no_increment_is_lost);
	RUN(bad_specs_are_refused);
	return test_done();
}
