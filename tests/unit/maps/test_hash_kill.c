// SPDX-License-Identifier: BSD-2-Clause
/*
 * A process killed inside an operation on a shared hash table: after each instruction of each kind of operation (single
 * steps), and at random moments of a storm of them. The others find every element in its place and every count right.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "hash_check.h"
#include "maps/map.h"
#include "sync/participant.h"
#include "sync/reader.h"
#include "test.h"

#define MAX_ENTRIES 8
#define WORDS	    5

/* Instructions between two points to kill at. TSan's run time executes about a hundred for each of ours. */
#ifdef __SANITIZE_THREAD__
#define STRIDE 1507
#else
#define STRIDE 5
#endif

struct value {
	u64 words[WORDS]; /* all key * 1000 + version */
};

static int registry;
static u32 *done; /* shared with the child: it came to the end of its operation */

static int registry_again(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", registry);
	return open(path, O_RDWR | O_CLOEXEC);
}

static struct map *make(u32 max_entries)
{
	struct map_spec spec = {
		.type = BPF_MAP_TYPE_HASH,
		.key_size = 8,
		.value_size = sizeof(struct value),
		.max_entries = max_entries,
	};
	struct map *map = NULL;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	return map;
}

static struct value value_of(u64 key, u64 version)
{
	struct value value;

	for (int i = 0; i < WORDS; i++)
		value.words[i] = key * 1000 + version;
	return value;
}

static int put(struct map *map, u64 key, u64 version, u64 flags)
{
	struct value value = value_of(key, version);

	return map->ops->update(map, &key, &value, flags);
}

/* The version, -ENOENT, or -EILSEQ for a value that is not whole. */
static s64 get(struct map *map, u64 key)
{
	struct value value;
	int error = map->ops->copy_out(map, &key, &value);

	if (error)
		return error;
	for (int i = 1; i < WORDS; i++) {
		if (value.words[i] != value.words[0])
			return -EILSEQ;
	}
	return value.words[0] / 1000 == key ? (s64)(value.words[0] % 1000) : -EILSEQ;
}

static void lock_each_bucket(struct map *map)
{
	struct hash_view *view = hash_view_of(map);

	for (u32 bucket = 0; bucket <= view->bucket_mask; bucket++) {
		CHECK_EQ(hash_lock(view, bucket), 0);
		hash_unlock(view, bucket);
	}
}

/* Locks all there is to lock: each bucket, and the queue, which an insert and a deletion need. */
static void repair_all(struct map *map)
{
	u64 key = 90;
	int error;

	lock_each_bucket(map);
	error = put(map, key, 1, BPF_NOEXIST);
	CHECK(error == 0 || error == -E2BIG);
	CHECK_EQ(map->ops->delete (map, &key), error ? -ENOENT : 0);
}

/* Keys 1 to 5 exist in version 1, all in one of the chains of two buckets or so. */
static void prepare(struct map *map)
{
	for (u64 key = 1; key <= 5; key++)
		CHECK_EQ(put(map, key, 1, BPF_ANY), 0);
}

struct operation {
	const char *name;
	void (*run)(struct map *map);
	u64 key;
	s64 before, after;
};

static void insert_new(struct map *map)
{
	put(map, 6, 2, BPF_NOEXIST);
}

static void replace_old(struct map *map)
{
	put(map, 3, 2, BPF_ANY);
}

static void delete_old(struct map *map)
{
	u64 key = 4;

	map->ops->delete (map, &key);
}

static void take_old(struct map *map)
{
	u64 key = 2;
	struct value value;

	map->ops->take_out(map, &key, &value);
}

static const struct operation operations[] = {
	{"insert", insert_new, 6, -ENOENT, 2},
	{"replace", replace_old, 3, 1, 2},
	{"delete", delete_old, 4, 1, -ENOENT},
	{"take", take_old, 2, 1, -ENOENT},
};

static void child_steps(struct map *map, const struct operation *operation)
{
	int fd = registry_again();

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) || participant_join(fd) < 0)
		_exit(3);
	shared_lock_owner();
	sys_tgkill(getpid(), sys_gettid(), SIGSTOP);
	operation->run(map);
	__atomic_store_n(done, 1, __ATOMIC_RELEASE);
	for (;;)
		sys_sched_yield();
}

/* Lets the child execute that many instructions of the operation. False: it cannot be traced, or ended. */
static bool step(pid_t child, u32 steps)
{
	int status;

	waitpid(child, &status, 0);
	if (!WIFSTOPPED(status))
		return false;
	for (u32 i = 0; i < steps && !__atomic_load_n(done, __ATOMIC_ACQUIRE); i++) {
		if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL))
			return false;
		waitpid(child, &status, 0);
		if (!WIFSTOPPED(status))
			return false;
	}
	return true;
}

static void check_after(struct map *map, const struct operation *operation, u32 steps)
{
	s64 got;

	/* Readers first: nothing is repaired yet, and all the same they find what they should. */
	got = get(map, operation->key);
	CHECK(got == operation->before || got == operation->after);
	repair_all(map);
	got = get(map, operation->key);
	CHECK(got == operation->before || got == operation->after);
	for (u64 key = 1; key <= 5; key++) {
		if (key != operation->key)
			CHECK_EQ(get(map, key), 1);
	}
	hash_check_invariants(map);
	/* And it goes on: full is where it was. */
	for (u64 key = 1; key <= MAX_ENTRIES; key++)
		CHECK_EQ(put(map, key, 3, BPF_ANY), 0);
	CHECK_EQ(put(map, 100, 3, BPF_ANY), -E2BIG);
	hash_check_invariants(map);
	if (test_failed_here)
		printf("# killed %u instructions into %s\n", steps, operation->name);
}

static void kill_after_each_step(const struct operation *operation)
{
	u32 stride = getenv("INLAY_STRESS_SECONDS") ? 1 : STRIDE;
	u32 steps;

	__atomic_store_n(done, 0, __ATOMIC_RELEASE);
	for (steps = 0; !__atomic_load_n(done, __ATOMIC_ACQUIRE) && !test_failed_here;
	     steps += stride) {
		struct map *map = make(MAX_ENTRIES);
		pid_t child;
		bool stepped;

		prepare(map);
		child = fork();
		if (!child)
			child_steps(map, operation);
		stepped = step(child, steps);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		if (!stepped) {
			map_close(map);
			test_skipped = "ptrace is not permitted";
			return;
		}
		check_after(map, operation, steps);
		map_close(map);
	}
	printf("# %s: killed at %u points\n", operation->name, steps / stride);
	CHECK(steps > 100);
}

static void insert_killed_anywhere(void)
{
	kill_after_each_step(&operations[0]);
}

static void replace_killed_anywhere(void)
{
	kill_after_each_step(&operations[1]);
}

static void delete_killed_anywhere(void)
{
	kill_after_each_step(&operations[2]);
}

static void take_killed_anywhere(void)
{
	kill_after_each_step(&operations[3]);
}

/* Repairs are killed too: the child that takes the lock over dies in the middle of putting things right. */
static void repair_killed_anywhere(void)
{
	struct operation repair = {"repair", lock_each_bucket, 3, 1, 2};
	u32 depths = 0;

	for (u32 depth = 60; !test_failed_here && depth < 700; depth += 59) {
		for (u32 steps = 0; steps < 2000 && !test_failed_here; steps += 227) {
			struct map *map = make(MAX_ENTRIES);
			const struct operation *chain[2] = {&operations[1], &repair};
			u32 limits[2] = {depth, steps};

			prepare(map);
			for (int i = 0; i < 2; i++) {
				pid_t child;

				__atomic_store_n(done, 0, __ATOMIC_RELEASE);
				child = fork();
				if (!child)
					child_steps(map, chain[i]);
				if (!step(child, limits[i]))
					test_skipped = "ptrace is not permitted";
				kill(child, SIGKILL);
				waitpid(child, NULL, 0);
			}
			if (!test_skipped)
				check_after(map, &repair, depth * 10000 + steps);
			depths++;
			map_close(map);
			if (test_skipped)
				return;
		}
	}
	printf("# %u pairs of points\n", depths);
}

/* The storm: two processes change a small map at random and are killed; one more reads all the time. */
static void change_for_ever(struct map *map, unsigned int seed)
{
	if (participant_join(registry_again()) < 0)
		_exit(1);
	for (;;) {
		u64 key = (u64)rand_r(&seed) % 12;

		if (rand_r(&seed) % 3)
			put(map, key, (u64)rand_r(&seed) % 1000, BPF_ANY);
		else
			map->ops->delete (map, &key);
		put(map, 50, (u64)rand_r(&seed) % 1000, BPF_EXIST);
	}
}

static void read_for_ever(struct map *map)
{
	unsigned int seed = 3;

	if (participant_join(registry_again()) < 0)
		_exit(1);
	for (;;) {
		s64 got = get(map, (u64)rand_r(&seed) % 12);

		if (got == -EILSEQ || get(map, 50) < 0)
			_exit(2);
		__atomic_fetch_add(done, 1, __ATOMIC_RELAXED);
	}
}

static void killed_at_random_over_and_over(void)
{
	const char *seconds = getenv("INLAY_STRESS_SECONDS");
	struct map *map = make(10);
	u32 rounds = seconds ? (u32)atoi(seconds) * 400 : 700;
	pid_t reader, changers[2] = {0, 0};
	unsigned int seed = 11;
	int status;

	put(map, 50, 1, BPF_ANY);
	__atomic_store_n(done, 0, __ATOMIC_RELEASE);
	reader = fork();
	if (!reader)
		read_for_ever(map);
	for (u32 round = 0; round < rounds && !test_failed_here; round++) {
		pid_t *changer = &changers[round % 2];

		if (*changer) {
			kill(*changer, SIGKILL);
			waitpid(*changer, &status, 0);
			CHECK(WIFSIGNALED(status));
		}
		*changer = fork();
		if (!*changer)
			change_for_ever(map, round);
		usleep((useconds_t)rand_r(&seed) % 4000);
	}
	for (int i = 0; i < 2; i++) {
		kill(changers[i], SIGKILL);
		waitpid(changers[i], NULL, 0);
	}
	CHECK_EQ(waitpid(reader, &status, WNOHANG), 0);
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	repair_all(map);
	hash_check_invariants(map);
	CHECK(*done > 1000);
	map_close(map);
}

int main(void)
{
	reader_init();
	registry = memfd_create("registry", MFD_CLOEXEC);
	done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (participant_join(registry_again()) < 0)
		return 1;
	RUN(insert_killed_anywhere);
	RUN(replace_killed_anywhere);
	RUN(delete_killed_anywhere);
	RUN(take_killed_anywhere);
	RUN(repair_killed_anywhere);
	RUN(killed_at_random_over_and_over);
	return test_done();
}
