// SPDX-License-Identifier: BSD-2-Clause
/* Against the kernel: the same attributes are refused with the same error, the same operations answer alike. Needs root. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/sys.h"
#include "maps/map.h"
#include "sync/percpu.h"
#include "sync/reader.h"
#include "test.h"

/* By the system call itself: libc's syscall() is ours in this program. */
static long kernel_bpf(int cmd, union bpf_attr *attr)
{
	return sys_call3(__NR_bpf, cmd, attr, sizeof(*attr));
}

static struct map_spec spec_of(u32 type, u32 key_size, u32 value_size, u32 max_entries, u32 flags)
{
	struct map_spec spec = {
		.type = type,
		.key_size = key_size,
		.value_size = value_size,
		.max_entries = max_entries,
		.flags = flags,
	};

	return spec;
}

static int kernel_create(const struct map_spec *spec)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = spec->type;
	attr.key_size = spec->key_size;
	attr.value_size = spec->value_size;
	attr.max_entries = spec->max_entries;
	attr.map_flags = spec->flags;
	return (int)kernel_bpf(BPF_MAP_CREATE, &attr);
}

static bool kernel_allows(void)
{
	struct map_spec spec = spec_of(BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0);
	int fd = kernel_create(&spec);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static const u32 types[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
			    BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_RINGBUF};

static int ours_create(const struct map_spec *spec)
{
	struct map *map;
	int error = map_create(spec, 1, &map);

	if (!error)
		map_close(map);
	return error;
}

static u32 differences;

static void compare_create(const struct map_spec *spec)
{
	int kernel = kernel_create(spec), ours = ours_create(spec);

	if (kernel >= 0) {
		close(kernel);
		kernel = 0;
	}
	if (kernel == ours)
		return;
	differences++;
	printf("# type %u key %u value %u max %u flags %#x: kernel %d, ours %d\n", spec->type,
	       spec->key_size, spec->value_size, spec->max_entries, spec->flags, kernel, ours);
}

static void attributes_are_judged_alike(void)
{
	static const u32 keys[] = {0, 1, 4, 8, 512};
	static const u32 values[] = {0, 1, 8, 100, 32768, 32769, (4u << 20) - 57, 4u << 20};
	static const u32 sizes[] = {0, 1, 3, 4096, 8192, 12288};
	u32 count = 0;

	if (!kernel_allows())
		SKIP("bpf(2) is not permitted");
	differences = 0;
	for (u32 t = 0; t < ARRAY_SIZE(types); t++) {
		for (u32 k = 0; k < ARRAY_SIZE(keys); k++) {
			for (u32 v = 0; v < ARRAY_SIZE(values); v++) {
				for (u32 m = 0; m < ARRAY_SIZE(sizes); m++) {
					struct map_spec spec =
						spec_of(types[t], keys[k], values[v], sizes[m], 0);

					/* What both would have to find 100 MiB for is no question. */
					if ((u64)values[v] * sizes[m] > 16u << 20)
						continue;
					compare_create(&spec);
					count++;
				}
			}
		}
	}
	printf("# %u attribute sets\n", count);
	CHECK_EQ(differences, 0);
}

static void flags_are_judged_alike(void)
{
	if (!kernel_allows())
		SKIP("bpf(2) is not permitted");
	differences = 0;
	for (u32 t = 0; t < ARRAY_SIZE(types); t++) {
		bool ring = types[t] == BPF_MAP_TYPE_RINGBUF;

		for (u32 bit = 0; bit < 16; bit++) {
			for (u32 other = bit; other < 16; other++) {
				struct map_spec spec =
					spec_of(types[t], ring ? 0 : 4, ring ? 0 : 8,
						ring ? 4096 : 4, 1u << bit | 1u << other);

				/* NUMA nodes we have none of; inner maps and objects by descriptor are object/'s. */
				if (spec.flags & BPF_F_NUMA_NODE)
					continue;
				compare_create(&spec);
			}
		}
	}
	CHECK_EQ(differences, 0);
}

/* The same operation on both; error numbers, found values and emptiness must agree all along. */
struct pair {
	struct map *map;
	int kernel;
	u32 value_bytes;
};

static int kernel_element(int cmd, int fd, const void *key, void *value, u64 flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (u32)fd;
	attr.key = ptr_to_u64(key);
	attr.value = ptr_to_u64(value);
	attr.flags = flags;
	return (int)kernel_bpf(cmd, &attr);
}

static void operate(const struct pair *pair, unsigned int *seed)
{
	static const u64 flags[] = {BPF_ANY, BPF_NOEXIST, BPF_EXIST, 3, 100};
	static char one[4096], two[4096];
	u32 key = (u32)rand_r(seed) % 20;
	u64 flag =
		flags[(u32)rand_r(seed) % 16 < 12 ? (u32)rand_r(seed) % 3 : (u32)rand_r(seed) % 5];
	int ours, kernel;

	for (u32 i = 0; i < pair->value_bytes; i++)
		one[i] = two[i] = (char)rand_r(seed);
	switch ((u32)rand_r(seed) % 3) {
	case 0:
		ours = pair->map->ops->copy_in(pair->map, &key, one, flag);
		kernel = kernel_element(BPF_MAP_UPDATE_ELEM, pair->kernel, &key, one, flag);
		break;
	case 1:
		ours = pair->map->ops->delete (pair->map, &key);
		kernel = kernel_element(BPF_MAP_DELETE_ELEM, pair->kernel, &key, NULL, 0);
		break;
	default:
		ours = pair->map->ops->copy_out(pair->map, &key, one);
		kernel = kernel_element(BPF_MAP_LOOKUP_ELEM, pair->kernel, &key, two, 0);
		CHECK(!memcmp(one, two, pair->value_bytes));
	}
	if (ours != kernel)
		printf("# type %u key %u flags %llu: kernel %d, ours %d\n", pair->map->ops->type,
		       key, (unsigned long long)flag, kernel, ours);
	CHECK_EQ(ours, kernel);
}

static u32 count_keys(const struct pair *pair, bool kernel)
{
	u32 key, count = 0;
	int error = kernel ? kernel_element(BPF_MAP_GET_NEXT_KEY, pair->kernel, NULL, &key, 0)
			   : pair->map->ops->next_key(pair->map, NULL, &key);

	while (!error && count < 100) {
		count++;
		error = kernel ? kernel_element(BPF_MAP_GET_NEXT_KEY, pair->kernel, &key, &key, 0)
			       : pair->map->ops->next_key(pair->map, &key, &key);
	}
	return error == -ENOENT ? count : 1000;
}

static void operations_answer_alike(void)
{
	unsigned int seed = 3;

	if (!kernel_allows())
		SKIP("bpf(2) is not permitted");
	for (u32 t = 0; t < 4; t++) {
		struct map_spec spec = spec_of(types[t], 4, 12, 10, 0);
		struct pair pair;

		CHECK_EQ(map_create(&spec, 1, &pair.map), 0);
		pair.kernel = kernel_create(&spec);
		CHECK(pair.kernel >= 0);
		pair.value_bytes = map_value_bytes(pair.map);
		for (u32 i = 0; i < 20000 && !test_failed_here; i++)
			operate(&pair, &seed);
		CHECK_EQ(count_keys(&pair, false), count_keys(&pair, true));
		close(pair.kernel);
		map_close(pair.map);
	}
}

int main(void)
{
	reader_init();
	RUN(attributes_are_judged_alike);
	RUN(flags_are_judged_alike);
	RUN(operations_answer_alike);
	return test_done();
}
