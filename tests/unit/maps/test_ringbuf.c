// SPDX-License-Identifier: BSD-2-Clause
/* The RINGBUF type, consumed as libbpf consumes it: through the mappings that a client gets. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/sys.h"
#include "maps/ringbuf.h"
#include "sync/deputy.h"
#include "sync/participant.h"
#include "sync/reader.h"
#include "test.h"

#define SIZE 8192u

static struct map *make(u32 size)
{
	struct map_spec spec = {.type = BPF_MAP_TYPE_RINGBUF, .max_entries = size, .name = "ring"};
	struct map *map = NULL;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	return map;
}

/* What libbpf's ring_buffer__add maps. */
struct client {
	u64 *consumer_pos;
	const u64 *producer_pos;
	const char *data;
	u64 mask;
};

static struct client client_of(struct map *map, u32 size)
{
	struct client client = {.mask = size - 1};
	char *producer;

	client.consumer_pos =
		ringbuf_client_map(map, NULL, MAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	producer =
		ringbuf_client_map(map, NULL, MAP_PAGE + 2 * size, PROT_READ, MAP_SHARED, MAP_PAGE);
	CHECK(!sys_is_error(client.consumer_pos));
	CHECK(!sys_is_error(producer));
	client.producer_pos = (u64 *)producer;
	client.data = producer + MAP_PAGE;
	return client;
}

/* One record: its size, -EAGAIN (none, or busy), or -ENODATA (discarded). Data is copied at most to `to`. */
static s64 take(struct client *client, void *to)
{
	u64 position = __atomic_load_n(client->consumer_pos, __ATOMIC_ACQUIRE);
	const char *at = client->data + (position & client->mask);
	u32 length;

	if (position >= __atomic_load_n(client->producer_pos, __ATOMIC_ACQUIRE))
		return -EAGAIN;
	length = __atomic_load_n((const u32 *)at, __ATOMIC_ACQUIRE);
	if (length & BPF_RINGBUF_BUSY_BIT)
		return -EAGAIN;
	if (!(length & BPF_RINGBUF_DISCARD_BIT))
		memcpy(to, at + 8, length);
	position += ((length & 0x3fffffffu) + 8 + 7) & ~7u;
	__atomic_store_n(client->consumer_pos, position, __ATOMIC_RELEASE);
	return length & BPF_RINGBUF_DISCARD_BIT ? -ENODATA : (s64)length;
}

static bool woken(struct map *map)
{
	u64 count;

	return read(map->event_fd, &count, sizeof(count)) == sizeof(count);
}

static void records_come_in_order(void)
{
	struct map *map = make(SIZE);
	struct client client = client_of(map, SIZE);
	char buffer[SIZE];
	u32 sizes = 0;

	/* Several times around, with records that lie across the end. */
	for (u32 i = 0; i < 200; i++) {
		u32 size = 1 + i * 37 % 900;
		char *sample = ringbuf_reserve(map, size, 0);

		CHECK(sample != NULL);
		memset(sample, (int)i, size);
		CHECK_EQ(take(&client, buffer), -EAGAIN);
		if (i % 5 == 4)
			ringbuf_discard(sample, 0);
		else
			ringbuf_submit(sample, 0);
		CHECK_EQ(take(&client, buffer), i % 5 == 4 ? -ENODATA : (s64)size);
		if (i % 5 != 4)
			CHECK(buffer[0] == (char)i && buffer[size - 1] == (char)i);
		sizes += (size + 15) & ~7u;
	}
	CHECK_EQ(ringbuf_query(map, BPF_RB_PROD_POS), sizes);
	CHECK_EQ(ringbuf_query(map, BPF_RB_CONS_POS), sizes);
	CHECK_EQ(ringbuf_query(map, BPF_RB_AVAIL_DATA), 0);
	CHECK_EQ(ringbuf_query(map, BPF_RB_RING_SIZE), SIZE);
	CHECK_EQ(ringbuf_query(map, 99), 0);
	CHECK_EQ(map->shared->dropped, 0);
	map_close(map);
}

static void a_full_ring_drops_and_counts(void)
{
	struct map *map = make(4096);
	struct client client = client_of(map, 4096);
	char buffer[4096] = "";
	u32 put = 0;

	while (ringbuf_output(map, buffer, 56, 0) == 0)
		put++;
	CHECK_EQ(put, 63); /* as the kernel: never all of it */
	CHECK_EQ(map->shared->dropped, 1);
	CHECK(ringbuf_reserve(map, 0, 1) == NULL);
	CHECK(ringbuf_reserve(map, 4096 - 7, 0) == NULL);
	CHECK(ringbuf_reserve(map, 0xffffffffffull, 0) == NULL);
	CHECK_EQ(map->shared->dropped, 1);
	CHECK_EQ(ringbuf_output(map, buffer, 8, 4), -EINVAL);
	CHECK_EQ(take(&client, buffer), 56);
	CHECK_EQ(ringbuf_output(map, buffer, 56, 0), 0);
	CHECK_EQ(ringbuf_output(map, buffer, 56, 0), -EAGAIN);
	map_close(map);
}

static void the_consumer_is_woken_when_it_has_caught_up(void)
{
	struct map *map = make(SIZE);
	struct client client = client_of(map, SIZE);
	char buffer[64] = "";
	void *first, *second;

	CHECK(!woken(map));
	ringbuf_output(map, buffer, 8, 0);
	CHECK(woken(map));
	/* It may be just about to look at the next one too; once it is well behind, it is not told again. */
	for (u32 sent = 0; sent < RINGBUF_NEAR; sent += 48)
		ringbuf_output(map, buffer, 40, 0);
	CHECK(woken(map));
	ringbuf_output(map, buffer, 8, 0);
	CHECK(!woken(map));
	ringbuf_output(map, buffer, 8, BPF_RB_FORCE_WAKEUP);
	CHECK(woken(map));
	while (take(&client, buffer) > 0)
		;
	ringbuf_output(map, buffer, 8, BPF_RB_NO_WAKEUP);
	CHECK(!woken(map));
	CHECK_EQ(take(&client, buffer), 8);
	/* Submitted out of order: the one the consumer stands in front of wakes it. */
	first = ringbuf_reserve(map, 8, 0);
	second = ringbuf_reserve(map, 8, 0);
	ringbuf_submit(second, 0);
	CHECK_EQ(take(&client, buffer), -EAGAIN);
	woken(map);
	ringbuf_submit(first, 0);
	CHECK(woken(map));
	CHECK_EQ(take(&client, buffer), 8);
	CHECK_EQ(take(&client, buffer), 8);
	map_close(map);
}

static void client_mappings_are_the_kernels(void)
{
	struct map *map = make(SIZE);
	char *all;

	CHECK_EQ((long)ringbuf_client_map(map, NULL, MAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
					  MAP_PAGE),
		 -EPERM);
	CHECK_EQ((long)ringbuf_client_map(map, NULL, 2 * MAP_PAGE, PROT_READ | PROT_WRITE,
					  MAP_SHARED, 0),
		 -EPERM);
	CHECK_EQ((long)ringbuf_client_map(map, NULL, 3 * MAP_PAGE + 2 * SIZE, PROT_READ, MAP_SHARED,
					  0),
		 -EINVAL);
	CHECK_EQ((long)ringbuf_client_map(map, NULL, MAP_PAGE, PROT_READ, MAP_SHARED, 100),
		 -EINVAL);
	all = ringbuf_client_map(map, NULL, 2 * MAP_PAGE + 2 * SIZE, PROT_READ, MAP_SHARED, 0);
	CHECK(!sys_is_error(all));
	for (u32 i = 0; i < 300; i++) {
		char record[32];

		memset(record, (int)i, sizeof(record));
		ringbuf_output(map, record, sizeof(record), 0);
	}
	CHECK(!memcmp(all + 2 * MAP_PAGE, all + 2 * MAP_PAGE + SIZE, SIZE));
	CHECK(all[2 * MAP_PAGE + 8] == 0 && all[2 * MAP_PAGE + 48] == 1);
	/* Pieces of it. */
	CHECK(!memcmp(
		ringbuf_client_map(map, NULL, MAP_PAGE, PROT_READ, MAP_SHARED, 2 * MAP_PAGE + SIZE),
		all + 2 * MAP_PAGE, MAP_PAGE));
	map_close(map);
}

static int add_up(void *opaque, void *data, u32 size)
{
	u64 *sum = opaque;

	sum[0]++;
	sum[1] += size == 8 ? *(u64 *)data : 1000000;
	return sum[0] == 3 ? -ECANCELED : 0;
}

static void c_consumers_get_them_too(void)
{
	struct map *map = make(SIZE);
	u64 sum[2] = {0, 0};
	void *busy;

	for (u64 i = 1; i <= 4; i++)
		ringbuf_output(map, &i, 8, 0);
	ringbuf_discard(ringbuf_reserve(map, 8, 0), 0);
	busy = ringbuf_reserve(map, 8, 0);
	*(u64 *)busy = 100;
	CHECK_EQ(ringbuf_consume(map, add_up, sum), -ECANCELED);
	CHECK_EQ(sum[1], 1 + 2 + 3);
	CHECK_EQ(ringbuf_consume(map, add_up, sum), 1);
	CHECK_EQ(ringbuf_consume(map, add_up, sum), 0);
	ringbuf_submit(busy, 0);
	CHECK_EQ(ringbuf_consume(map, add_up, sum), 1);
	CHECK_EQ(sum[1], 110);
	map_close(map);
}

static int registry_again(int registry)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", registry);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* Two processes of two threads each produce; every record comes whole, in each producer's order, none is lost uncounted. */
#define PRODUCERS 4

struct record {
	u64 producer, number, check;
};

struct producer {
	struct map *map;
	u64 id, count, sent;
};

static void *produce(void *argument)
{
	struct producer *self = argument;

	for (u64 i = 0; i < self->count; i++) {
		struct record record = {self->id, i, self->id * 31 + i * 17};

		while (ringbuf_output(self->map, &record, sizeof(record), 0))
			sched_yield();
		self->sent++;
	}
	return NULL;
}

static void run_two(struct map *map, u64 first_id, u64 count)
{
	struct producer producers[2];
	pthread_t threads[2];

	for (u64 i = 0; i < 2; i++) {
		producers[i] = (struct producer){map, first_id + i, count, 0};
		pthread_create(&threads[i], NULL, produce, &producers[i]);
	}
	for (u64 i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* The same with threads and the consumer in C, where ThreadSanitizer can follow. */
struct consumed {
	u64 next[2], got, bad;
};

static int take_record(void *opaque, void *data, u32 size)
{
	struct consumed *consumed = opaque;
	struct record *record = data;

	consumed->bad += size != sizeof(*record) || record->producer > 1 ||
			 record->number != consumed->next[record->producer]++;
	consumed->got++;
	return 0;
}

static void *produce_both(void *map)
{
	run_two(map, 0, 50000);
	return NULL;
}

static void producers_of_two_threads(void)
{
	struct map *map = make(SIZE);
	struct consumed consumed = {{0}, 0, 0};
	pthread_t thread;

	pthread_create(&thread, NULL, produce_both, map);
	while (consumed.got < 100000 && !consumed.bad) {
		if (ringbuf_consume(map, take_record, &consumed) == 0)
			sched_yield();
	}
	CHECK_EQ(consumed.bad, 0);
	pthread_join(thread, NULL);
	map_close(map);
}

static void producers_of_two_processes(void)
{
	struct map *map = make(16 * 4096);
	struct client client = client_of(map, 16 * 4096);
	const char *seconds = getenv("INLAY_STRESS_SECONDS");
	u64 count = 50000 * (u64)(seconds ? atoi(seconds) : 1);
	u64 next[PRODUCERS] = {0}, got = 0, bad = 0, waits = 0;
	int registry = memfd_create("registry", MFD_CLOEXEC);
	pid_t children[2];

#ifdef __SANITIZE_THREAD__
	SKIP("ThreadSanitizer does not see what the consumer's process orders");
#endif
	for (u64 c = 0; c < 2; c++) {
		children[c] = fork();
		if (!children[c]) {
			if (participant_join(registry_again(registry)) < 0)
				_exit(1);
			run_two(map, c * 2, count);
			_exit(0);
		}
	}
	while (got < PRODUCERS * count && waits < 5000) {
		struct record record;
		struct pollfd poll_for = {map->event_fd, POLLIN, 0};

		if (take(&client, &record) != sizeof(record)) {
			/* 1 s: a lost wake-up fails the test by its count of waits below. */
			waits += poll(&poll_for, 1, 1000) == 0 ? 1000 : 0;
			woken(map);
			continue;
		}
		bad += record.producer >= PRODUCERS || record.number != next[record.producer]++ ||
		       record.check != record.producer * 31 + record.number * 17;
		got++;
	}
	for (int c = 0; c < 2; c++) {
		if (got < PRODUCERS * count)
			kill(children[c], SIGKILL);
		waitpid(children[c], NULL, 0);
	}
	CHECK_EQ(got, PRODUCERS * count);
	CHECK_EQ(bad, 0);
	CHECK_EQ(waits, 0);
	map_close(map);
	close(registry);
}

/* A producer is killed at a random point of its work, over and over: the others and the consumer go on. */
static void a_killed_producer_stops_nobody(void)
{
	struct map *map = make(SIZE);
	struct client client = client_of(map, SIZE);
	int registry = memfd_create("registry", MFD_CLOEXEC);
	u32 reaped = 0, rounds = getenv("INLAY_STRESS_SECONDS") ? 3000 : 300;
	struct record record = {0, 0, 0};
	unsigned int seed = 1;

	CHECK(participant_join(registry_again(registry)) > 0);
	for (u32 round = 0; round < rounds; round++) {
		pid_t child = fork();

		if (!child) {
			if (participant_join(registry_again(registry)) < 0)
				_exit(1);
			for (;;) {
				void *sample = ringbuf_reserve(map, 24, 0);

				/* Long enough that some die in it. */
				for (int i = 0; i < 100; i++)
					cpu_pause();
				if (sample)
					ringbuf_submit(sample, 0);
			}
		}
		for (int spin = rand_r(&seed) % 60; spin; spin--) {
			while (take(&client, &record) != -EAGAIN)
				;
			usleep(10);
		}
		if (round % 2) { /* a sure one */
			kill(child, SIGSTOP);
			waitpid(child, NULL, WUNTRACED);
		}
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		reaped += ringbuf_reap(map);
		while (take(&client, &record) != -EAGAIN)
			;
		CHECK_EQ(ringbuf_query(map, BPF_RB_AVAIL_DATA), 0);
		CHECK_EQ(ringbuf_output(map, &record, sizeof(record), 0), 0);
		CHECK_EQ(take(&client, &record), sizeof(record));
	}
	CHECK(reaped > 0);
	printf("# %u records of %u killed producers were left busy\n", reaped, rounds);
	map_close(map);
	participant_leave();
	close(registry);
}

static void a_busy_record_is_reaped_when_its_owner_is_dead(void)
{
	struct map *map = make(SIZE);
	struct client client = client_of(map, SIZE);
	int registry = memfd_create("registry", MFD_CLOEXEC);
	int told[2];
	char buffer[64] = "later";
	pid_t child;

	CHECK(participant_join(registry_again(registry)) > 0);
	CHECK_EQ(pipe(told), 0);
	child = fork();
	if (!child) {
		participant_join(registry_again(registry));
		ringbuf_reserve(map, 16, 0);
		(void)!write(told[1], "x", 1);
		pause();
	}
	CHECK_EQ(read(told[0], buffer, 1), 1);
	ringbuf_output(map, "later", 6, 0);
	CHECK_EQ(take(&client, buffer), -EAGAIN);
	CHECK_EQ(ringbuf_reap(map), 0); /* it lives, and may still submit */
	CHECK_EQ(take(&client, buffer), -EAGAIN);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	woken(map);
	CHECK_EQ(ringbuf_reap(map), 1);
	CHECK(woken(map));
	CHECK_EQ(take(&client, buffer), -ENODATA);
	CHECK_EQ(take(&client, buffer), 6);
	CHECK(!strcmp(buffer, "later"));
	CHECK_EQ(ringbuf_reap(map), 0);
	map_close(map);
	participant_leave();
	close(registry);
}

static void a_producer_without_room_looks_why(void)
{
	struct map *map = make(4096);
	struct client client = client_of(map, 4096);
	int registry = memfd_create("registry", MFD_CLOEXEC);
	char buffer[64] = "";
	pid_t child;

	CHECK(participant_join(registry_again(registry)) > 0);
	child = fork();
	if (!child) {
		participant_join(registry_again(registry));
		ringbuf_reserve(map, 16, 0);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	while (ringbuf_output(map, buffer, 56, 0) == 0)
		;
	woken(map);
	CHECK_EQ(take(&client, buffer), -ENODATA);
	CHECK_EQ(take(&client, buffer), 56);
	CHECK_EQ(ringbuf_output(map, buffer, 56, 0), 0);
	map_close(map);
	participant_leave();
	close(registry);
}

static int create(u32 key_size, u32 value_size, u32 max_entries, u32 flags)
{
	struct map_spec spec = {.type = BPF_MAP_TYPE_RINGBUF,
				.key_size = key_size,
				.value_size = value_size,
				.max_entries = max_entries,
				.flags = flags};
	struct map *map;
	int error = map_create(&spec, 1, &map);

	if (!error)
		map_close(map);
	return error;
}

static void bad_specs_are_refused(void)
{
	CHECK_EQ(create(0, 0, 4096, 0), 0);
	CHECK_EQ(create(4, 0, 4096, 0), -EINVAL);
	CHECK_EQ(create(0, 4, 4096, 0), -EINVAL);
	CHECK_EQ(create(0, 0, 0, 0), -EINVAL);
	CHECK_EQ(create(0, 0, 2048, 0), -EINVAL);
	CHECK_EQ(create(0, 0, 3 * 4096, 0), -EINVAL);
	CHECK_EQ(create(0, 0, 4096, BPF_F_MMAPABLE), -EINVAL);
}

/* Last: a deputy, once installed, stays. */
static void a_hit_leaves_the_wake_up_to_the_deputy(void)
{
	struct map *map = make(SIZE);
	u64 value = 1;
	int registry = memfd_create("registry", MFD_CLOEXEC);

	CHECK(participant_join(registry) > 0);
	deputy_install();
	ringbuf_output(map, &value, sizeof(value), 0);
	CHECK(!woken(map));
	CHECK_EQ(deputy_wait(1000), 0);
	deputy_owns_descriptors();
	ringbuf_wake_pending();
	CHECK(woken(map));
	ringbuf_wake_pending();
	CHECK(!woken(map));
	CHECK_EQ(deputy_wait(0), -ETIMEDOUT);
	map_close(map);
}

int main(void)
{
	reader_init();
	RUN(records_come_in_order);
	RUN(a_full_ring_drops_and_counts);
	RUN(the_consumer_is_woken_when_it_has_caught_up);
	RUN(client_mappings_are_the_kernels);
	RUN(c_consumers_get_them_too);
	RUN(producers_of_two_threads);
	RUN(producers_of_two_processes);
	RUN(a_busy_record_is_reaped_when_its_owner_is_dead);
	RUN(a_producer_without_room_looks_why);
	RUN(a_killed_producer_stops_nobody);
	RUN(bad_specs_are_refused);
	RUN(a_hit_leaves_the_wake_up_to_the_deputy);
	return test_done();
}
