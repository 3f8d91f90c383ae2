// SPDX-License-Identifier: BSD-2-Clause
/* map_create, map_open and the ARRAY type. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maps/map.h"
#include "test.h"

static struct map_spec array_of(u32 value_size, u32 max_entries, u32 flags)
{
	struct map_spec spec = {
		.type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = value_size,
		.max_entries = max_entries,
		.flags = flags,
		.name = "numbers",
	};

	return spec;
}

static void elements_are_found_by_index(void)
{
	struct map_spec spec = array_of(12, 5, 0);
	struct map *map;
	char value[12] = "hello world", out[12];
	u32 key = 3, next;

	CHECK_EQ(map_create(&spec, 7, &map), 0);
	CHECK_EQ(map->shared->map_id, 7);
	CHECK_EQ(map->value_stride, 16);
	CHECK_EQ(map->ops->update(map, &key, value, BPF_ANY), 0);
	CHECK(map->ops->lookup(map, &key) == map->data + 48);
	CHECK(!memcmp(map->ops->lookup(map, &key), value, 12));
	CHECK_EQ(map->ops->copy_out(map, &key, out), 0);
	CHECK(!memcmp(out, value, 12));
	CHECK_EQ(map->ops->update(map, &key, value, BPF_EXIST), 0);
	CHECK_EQ(map->ops->update(map, &key, value, BPF_NOEXIST), -EEXIST);
	CHECK_EQ(map->ops->update(map, &key, value, 3), -EINVAL);
	CHECK_EQ(map->ops->update(map, &key, value, BPF_F_LOCK), -EINVAL);
	CHECK_EQ(map->ops->delete (map, &key), -EINVAL);
	key = 5;
	CHECK(map->ops->lookup(map, &key) == NULL);
	CHECK_EQ(map->ops->copy_out(map, &key, out), -ENOENT);
	CHECK_EQ(map->ops->update(map, &key, value, BPF_ANY), -E2BIG);
	CHECK_EQ(map->ops->next_key(map, NULL, &next), 0);
	for (u32 i = 0; i < 4; i++) {
		CHECK_EQ(next, i);
		CHECK_EQ(map->ops->next_key(map, &next, &next), 0);
	}
	CHECK_EQ(map->ops->next_key(map, &next, &next), -ENOENT);
	key = 99;
	CHECK_EQ(map->ops->next_key(map, &key, &next), 0);
	CHECK_EQ(next, 0);
	map_close(map);
}

static void the_file_is_sealed_named_and_mapped_from_zero(void)
{
	struct map_spec spec = array_of(8, 1000, BPF_F_MMAPABLE);
	struct map *map, *other;
	char link[64], name[64] = "";
	u64 *client;
	u32 key = 999;
	u64 value = 42;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	CHECK_EQ(ftruncate(map->fd, 0), -1);
	CHECK_EQ(ftruncate(map->fd, 1 << 20), -1);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", map->fd);
	CHECK(readlink(link, name, sizeof(name) - 1) > 0);
	CHECK(strstr(name, "inlay:map:numbers") != NULL);
	CHECK(fcntl(map->fd, F_GETFD) & FD_CLOEXEC);
	client = mmap(NULL, 8000, PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, 0);
	CHECK_EQ(map->ops->update(map, &key, &value, BPF_ANY), 0);
	CHECK_EQ(client[999], 42);
	client[0] = 5;
	CHECK_EQ(map_open(dup(map->fd), -1, &other), 0);
	key = 0;
	CHECK_EQ(*(u64 *)other->ops->lookup(other, &key), 5);
	map_close(map);
	CHECK_EQ(*(u64 *)other->ops->lookup(other, &key), 5);
	map_close(other);
	munmap(client, 8000);
}

static void a_single_element_has_direct_addresses(void)
{
	struct map_spec one = array_of(100, 1, 0), two = array_of(100, 2, 0);
	struct map *map;

	CHECK_EQ(map_create(&one, 1, &map), 0);
	CHECK(map->ops->value_addr(map, 99) == map->data + 99);
	CHECK(map->ops->value_addr(map, 100) == NULL);
	map_close(map);
	CHECK_EQ(map_create(&two, 1, &map), 0);
	CHECK(map->ops->value_addr(map, 0) == NULL);
	map_close(map);
}

static int create(struct map_spec spec)
{
	struct map *map;
	int error = map_create(&spec, 1, &map);

	if (!error)
		map_close(map);
	return error;
}

static void bad_specs_are_refused(void)
{
	struct map_spec spec = array_of(8, 1, 0);

	CHECK_EQ(create(array_of(0, 1, 0)), -EINVAL);
	CHECK_EQ(create(array_of(8, 0, 0)), -EINVAL);
	CHECK_EQ(create(array_of(0x80000000u, 1, 0)), -E2BIG);
	CHECK_EQ(create(array_of(8, 1, BPF_F_NO_PREALLOC)), -EINVAL);
	CHECK_EQ(create(array_of(8, 1, BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)), -EINVAL);
	CHECK_EQ(create(array_of(8, 1, BPF_F_RDONLY_PROG | BPF_F_MMAPABLE)), 0);
	CHECK_EQ(create(array_of(8, 1, BPF_F_RDONLY | BPF_F_WRONLY_PROG)), 0);
	spec.key_size = 8;
	CHECK_EQ(create(spec), -EINVAL);
	spec.type = 9999;
	CHECK_EQ(create(spec), -EINVAL);
	/* More than there is: refused before the kernel hunts for pages. */
	CHECK_EQ(create(array_of(1u << 20, 1u << 25, 0)), -ENOMEM);
	CHECK_EQ(create(array_of(1u << 30, 500, 0)), -ENOMEM);
}

static void a_file_size_limit_is_no_signal(void)
{
	struct rlimit old, low = {4096, RLIM_INFINITY};
	int error;

	getrlimit(RLIMIT_FSIZE, &old);
	low.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &low);
	error = create(array_of(8, 1000, 0));
	setrlimit(RLIMIT_FSIZE, &old);
	CHECK_EQ(error, -ENOMEM);
}

static void what_is_no_map_is_not_opened(void)
{
	struct map_spec spec = array_of(8, 4, 0);
	struct map *map, *other;
	int fd = memfd_create("other", MFD_ALLOW_SEALING);
	int lowest = dup(0);

	close(lowest);
	CHECK_EQ(map_open(fd, -1, &other), -EINVAL);
	CHECK_EQ(ftruncate(fd, 8192), 0);
	CHECK_EQ(map_open(fd, -1, &other), -EINVAL);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	CHECK_EQ(map_open(fd, -1, &other), -EINVAL);
	CHECK_EQ(map_open(open("/dev/null", O_RDWR), -1, &other), -EINVAL);
	CHECK_EQ(map_create(&spec, 1, &map), 0);
	map->shared->spec.max_entries = 100000;
	CHECK_EQ(map_open(map->fd, -1, &other), -EINVAL);
	map->shared->spec.max_entries = 4;
	map->shared->magic++;
	CHECK_EQ(map_open(map->fd, -1, &other), -EINVAL);
	map_close(map);
	close(fd);
}

static void no_descriptor_is_left_behind(void)
{
	int before = dup(0), after;

	close(before);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(create(array_of(8, 10, 0)), 0);
		CHECK_EQ(create(array_of(8, 0, 0)), -EINVAL);
	}
	after = dup(0);
	close(after);
	CHECK_EQ(after, before);
}

int main(void)
{
	RUN(elements_are_found_by_index);
	RUN(the_file_is_sealed_named_and_mapped_from_zero);
	RUN(a_single_element_has_direct_addresses);
	RUN(bad_specs_are_refused);
	RUN(a_file_size_limit_is_no_signal);
	RUN(what_is_no_map_is_not_opened);
	RUN(no_descriptor_is_left_behind);
	return test_done();
}
