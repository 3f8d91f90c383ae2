/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects as descriptors: recognised however they came, seen by other processes, gone with their holders. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "maps/hash.h"
#include "object/object.h"
#ifdef __SANITIZE_THREAD__
/* It does not see the descriptors that are closed by system call, and takes their numbers' next owners for the same. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:^fstat$\nrace:^dup$\nrace:^opendir$\nrace:^closedir$\nrace:^close$\n";
}
#endif

static int make_map(u32 type, u32 flags, const char *name)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = 4,
			       .value_size = 8,
			       .max_entries = 4,
			       .map_flags = flags};

	if (type == BPF_MAP_TYPE_RINGBUF)
		attr.key_size = attr.value_size = 0, attr.max_entries = 4096;
	snprintf(attr.map_name, sizeof(attr.map_name), "%s", name);
	return (int)object_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int put(int map, u32 key, u64 value)
{
	union bpf_attr attr = {
		.map_fd = (u32)map, .key = ptr_to_u64(&key), .value = ptr_to_u64(&value)};

	return (int)object_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
}

static long get(int map, u32 key)
{
	u64 value = 0;
	union bpf_attr attr = {
		.map_fd = (u32)map, .key = ptr_to_u64(&key), .value = ptr_to_u64(&value)};
	long error = object_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));

	return error ? error : (long)value;
}

static u32 id_of(int map)
{
	struct bpf_map_info info = {0};
	union bpf_attr attr = {
		.info = {.bpf_fd = (u32)map, .info_len = sizeof(info), .info = ptr_to_u64(&info)}};

	return object_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ? 0 : info.id;
}

static bool is_listed(u32 id)
{
	union bpf_attr attr = {.start_id = id - 1};

	return !object_bpf(BPF_MAP_GET_NEXT_ID, &attr, sizeof(attr)) && attr.next_id == id;
}

static int by_id(u32 id)
{
	union bpf_attr attr = {.map_id = id};

	return (int)object_bpf(BPF_MAP_GET_FD_BY_ID, &attr, sizeof(attr));
}

static void dup_is_the_same_object(void)
{
	int map = make_map(BPF_MAP_TYPE_HASH, 0, "dup"), copy;
	u32 id = id_of(map);

	CHECK(map >= 0 && id);
	CHECK_EQ(put(map, 1, 11), 0);
	copy = fcntl(map, F_DUPFD_CLOEXEC, 0);
	CHECK_EQ(get(copy, 1), 11);
	CHECK_EQ(id_of(copy), id);
	close(map);
	CHECK_EQ(get(copy, 1), 11);
	CHECK(is_listed(id));
	close(copy);
	CHECK(!is_listed(id));
	CHECK_EQ(by_id(id), -ENOENT);
}

static void unseen_dup_keeps_the_object(void)
{
	int map = make_map(BPF_MAP_TYPE_ARRAY, 0, "unseen"), copy = dup(map);
	u32 id = id_of(map);

	put(map, 1, 5);
	close(map);
	CHECK(is_listed(id));
	CHECK_EQ(get(copy, 1), 5);
	close(copy);
	CHECK(!is_listed(id));
}

static void descriptors_passed_over_a_socket_are_recognised(void)
{
	int pair[2], map = make_map(BPF_MAP_TYPE_HASH, 0, "passed"), status = -1;
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header;
	pid_t child;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	put(map, 3, 33);
	child = fork();
	if (!child) {
		int got;

		/* As a process of its own: nothing inherited but the socket. */
		sys_call3(__NR_close_range, 3, pair[1] - 1, 0);
		sys_call3(__NR_close_range, pair[1] + 1, ~0u, 0);
		if (recvmsg(pair[1], &message, 0) != 1)
			_exit(1);
		header = CMSG_FIRSTHDR(&message);
		if (!header)
			_exit(3);
		memcpy(&got, CMSG_DATA(header), sizeof(got));
		if (get(got, 3) != 33 || put(got, 4, 44))
			_exit(2);
		_exit(0);
	}
	header = CMSG_FIRSTHDR(&message);
	if (!header)
		return;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &map, sizeof(map));
	CHECK_EQ(sendmsg(pair[0], &message, 0), 1);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(WEXITSTATUS(status), 0);
	CHECK_EQ(get(map, 4), 44);
	close(map);
	close(pair[0]);
	close(pair[1]);
}

/* A process that shares nothing with this one: exec'd anew with one word of what to do. */
static pid_t spawn(const char *what, const char *argument, int *ret_pipe)
{
	int pipes[2];
	pid_t child;

	if (pipe(pipes))
		return -1;
	child = fork();
	if (!child) {
		dup2(pipes[1], STDOUT_FILENO);
		execl("/proc/self/exe", "test", what, argument, NULL);
		_exit(127);
	}
	sys_close(pipes[1]);
	*ret_pipe = pipes[0];
	return child;
}

static u32 read_id(int pipe_fd)
{
	char text[32] = "";
	size_t length = 0;

	while (length < sizeof(text) - 1 && read(pipe_fd, text + length, 1) == 1 &&
	       text[length] != '\n')
		length++;
	return (u32)strtoul(text, NULL, 10);
}

static void other_processes_objects_are_seen(void)
{
	int pipe_fd, map, status;
	pid_t child = spawn("hold", "hash", &pipe_fd);
	u32 id = read_id(pipe_fd);

	CHECK(id != 0);
	CHECK(is_listed(id));
	map = by_id(id);
	CHECK(map >= 0);
	CHECK_EQ(get(map, 9), 99);
	CHECK_EQ(id_of(map), id);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	/* The memory lives on with us, and so does the object. */
	CHECK_EQ(get(map, 9), 99);
	CHECK(is_listed(id));
	close(map);
	CHECK(!is_listed(id));
	close(pipe_fd);
}

static void objects_of_the_killed_are_forgotten(void)
{
	int pipe_fd, status;
	pid_t child = spawn("hold", "hash", &pipe_fd);
	u32 id = read_id(pipe_fd);

	CHECK(is_listed(id));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	CHECK(!is_listed(id));
	CHECK_EQ(by_id(id), -ENOENT);
	close(pipe_fd);
}

static void descriptors_survive_exec(void)
{
	int map = make_map(BPF_MAP_TYPE_HASH, 0, "exec"), inherited = dup(map), pipe_fd, status;
	char number[16];
	pid_t child;

	put(map, 9, 99);
	snprintf(number, sizeof(number), "%d", inherited);
	child = spawn("inherit", number, &pipe_fd);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(WEXITSTATUS(status), 0);
	close(pipe_fd);
	close(inherited);
	close(map);
}

static void ring_buffers_are_polled_and_mapped(void)
{
	int map = make_map(BPF_MAP_TYPE_RINGBUF, 0, "ring");
	struct pollfd ready = {.fd = map, .events = POLLIN};
	char *consumer, *producer;

	CHECK(map >= 0);
	CHECK_EQ(poll(&ready, 1, 0), 0);
	consumer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	CHECK(consumer != MAP_FAILED);
	producer = mmap(NULL, 4096 + 2 * 4096, PROT_READ, MAP_SHARED, map, 4096);
	CHECK(producer != MAP_FAILED);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 4096) == MAP_FAILED);
	CHECK_EQ(errno, EPERM);
	CHECK(id_of(map) != 0);
	close(map);
}

static void arrays_are_mapped_and_frozen(void)
{
	int map = make_map(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, "values"),
	    plain = make_map(BPF_MAP_TYPE_ARRAY, 0, "plain");
	union bpf_attr freeze = {.map_fd = (u32)map};
	u64 *values = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);

	CHECK(values != MAP_FAILED);
	values[2] = 77;
	CHECK_EQ(get(map, 2), 77);
	munmap(values, 4096);
	CHECK_EQ(object_bpf(BPF_MAP_FREEZE, &freeze, sizeof(freeze)), 0);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0) == MAP_FAILED);
	CHECK_EQ(errno, EPERM);
	CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, map, 0) == MAP_FAILED);
	CHECK_EQ(errno, EINVAL);
	values = mmap(NULL, 4096, PROT_READ, MAP_SHARED, map, 0);
	CHECK(values != MAP_FAILED && values[2] == 77);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, plain, 0) == MAP_FAILED);
	close(map);
	close(plain);
}

static void batches_give_every_element_once(void)
{
	union bpf_attr create = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 1000};
	int map = (int)object_bpf(BPF_MAP_CREATE, &create, sizeof(create));
	u32 keys[64], cursor = 0, seen = 0;
	static u8 once[1000];
	u64 values[64];
	union bpf_attr attr = {.batch = {.out_batch = ptr_to_u64(&cursor),
					 .keys = ptr_to_u64(keys),
					 .values = ptr_to_u64(values),
					 .map_fd = (u32)map}};
	long error = 0;

	for (u32 i = 0; i < 1000; i++)
		CHECK_EQ(put(map, i, i * 2), 0);
	while (!error) {
		attr.batch.count = 64;
		error = object_bpf(BPF_MAP_LOOKUP_BATCH, &attr, sizeof(attr));
		for (u32 i = 0; (!error || error == -ENOENT) && i < attr.batch.count; i++, seen++) {
			CHECK_EQ(values[i], keys[i] * 2);
			CHECK_EQ(once[keys[i]]++, 0);
		}
		attr.batch.in_batch = ptr_to_u64(&cursor);
	}
	CHECK_EQ(error, -ENOENT);
	CHECK_EQ(seen, 1000);
	attr.batch.in_batch = 0;
	for (seen = 0, error = 0; !error; seen += attr.batch.count) {
		attr.batch.count = 64;
		error = object_bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH, &attr, sizeof(attr));
		attr.batch.in_batch = ptr_to_u64(&cursor);
	}
	CHECK_EQ(seen, 1000);
	CHECK_EQ(get(map, 5), -ENOENT);
	close(map);
}

static void children_of_fork_have_objects_of_their_own(void)
{
	int map = make_map(BPF_MAP_TYPE_HASH, 0, "parent"), status;
	u32 id = id_of(map);
	pid_t child = fork();

	if (!child) {
		int own = make_map(BPF_MAP_TYPE_HASH, 0, "child");
		u32 own_id = id_of(own);

		_exit(own < 0 || own_id == id || !is_listed(own_id) || put(map, 1, 7) ? 1 : 0);
	}
	waitpid(child, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(get(map, 1), 7);
	CHECK(is_listed(id));
	CHECK(!is_listed(id + 1));
	close(map);
}

static void *churn(void *argument)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 4},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int shared = *(int *)argument;
	u32 key = (u32)sys_gettid() & 3;

	for (int i = 0; i < 40; i++) {
		union bpf_attr load = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
				       .insns = ptr_to_u64(insns),
				       .insn_cnt = 2,
				       .license = ptr_to_u64("GPL")};
		int map = make_map(BPF_MAP_TYPE_HASH, 0, "churn"), copy = dup(map);
		int prog = (int)object_bpf(BPF_PROG_LOAD, &load, sizeof(load));
		union bpf_attr run = {.test = {.prog_fd = (u32)prog}};

		if (put(map, 1, 2) || get(copy, 1) != 2 || put(shared, key, 7) ||
		    get(shared, key) != 7 || object_bpf(BPF_PROG_TEST_RUN, &run, sizeof(run)) ||
		    run.test.retval != 4)
			return argument;
		close(map);
		close(prog);
		close(copy);
	}
	return NULL;
}

static void threads_do_not_disturb_each_other(void)
{
	int shared = make_map(BPF_MAP_TYPE_ARRAY, 0, "shared");
	union bpf_attr next = {.start_id = id_of(shared)};
	pthread_t threads[4];
	void *failed;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, churn, &shared), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &failed);
		CHECK(!failed);
	}
	/* Everything they made is gone. */
	CHECK_EQ(object_bpf(BPF_MAP_GET_NEXT_ID, &next, sizeof(next)), -ENOENT);
	close(shared);
}

static bool buckets_held;

/* Holds the locks of a hash for as long as a preempted thread would. */
static void *hold_buckets(void *argument)
{
	struct hash_view *view = hash_view_of(argument);
	const struct timespec nap = {0, 100000000};

	for (u32 i = 0; i <= view->bucket_mask; i++)
		CHECK_EQ(hash_lock(view, i), 0);
	__atomic_store_n(&buckets_held, true, __ATOMIC_SEQ_CST);
	nanosleep(&nap, NULL);
	for (u32 i = 0; i <= view->bucket_mask; i++)
		hash_unlock(view, i);
	return NULL;
}

static void busy_maps_are_waited_for(void)
{
	int map = make_map(BPF_MAP_TYPE_HASH, 0, "busy");
	u32 key = 1;
	union bpf_attr attr = {.map_fd = (u32)map, .key = ptr_to_u64(&key)};

	for (u32 i = 0; i < 2; i++) {
		pthread_t holder;

		__atomic_store_n(&buckets_held, false, __ATOMIC_SEQ_CST);
		CHECK_EQ(pthread_create(&holder, NULL, hold_buckets, object_map_view(map)), 0);
		while (!__atomic_load_n(&buckets_held, __ATOMIC_SEQ_CST))
			sched_yield();
		if (i == 0)
			CHECK_EQ(put(map, key, 5), 0);
		else
			CHECK_EQ(object_bpf(BPF_MAP_DELETE_ELEM, &attr, sizeof(attr)), 0);
		pthread_join(holder, NULL);
	}
	close(map);
}

static void what_a_daemon_inherits_stays_listed(void)
{
	int pipe_fd, status;
	pid_t child = spawn("daemon", "hash", &pipe_fd);
	u32 id = read_id(pipe_fd);
	char byte;

	/* The parent, which made the map, ends; its child goes on until we close its input. */
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(id != 0);
	CHECK(is_listed(id));
	kill((pid_t)read_id(pipe_fd), SIGKILL);
	CHECK_EQ(read(pipe_fd, &byte, 1), 0);
	/* The kernel may close the dead process's end of the pipe before its map. */
	for (int i = 0; i < 500 && is_listed(id); i++)
		usleep(10000);
	CHECK(!is_listed(id));
	close(pipe_fd);
}

static int become_daemon(void)
{
	int map = make_map(BPF_MAP_TYPE_HASH, 0, "daemon");
	pid_t child = fork();

	if (child)
		return child < 0;
	if (put(map, 1, 1))
		return 1;
	printf("%u\n%d\n", id_of(map), getpid());
	fflush(stdout);
	for (;;)
		pause();
}

static void hold(void)
{
	int map = make_map(BPF_MAP_TYPE_HASH, 0, "held");

	put(map, 9, 99);
	printf("%u\n", id_of(map));
	fflush(stdout);
	for (;;)
		pause();
}

/* A registry of its own: what other processes of this user do must not be seen. */
static char directory[] = "/tmp/inlay-registry-XXXXXX";

static void remove_registry(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/registry", directory);
	unlink(path);
	rmdir(directory);
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "hold"))
		hold();
	if (argc > 2 && !strcmp(argv[1], "daemon"))
		return become_daemon();
	if (argc > 2 && !strcmp(argv[1], "inherit"))
		return get(atoi(argv[2]), 9) == 99 ? 0 : 1;
	if (!getenv("INLAY_REGISTRY") && !mkdtemp(directory))
		return 1;
	setenv("INLAY_REGISTRY", directory, 0);
	RUN(dup_is_the_same_object);
	RUN(unseen_dup_keeps_the_object);
	RUN(descriptors_passed_over_a_socket_are_recognised);
	RUN(other_processes_objects_are_seen);
	RUN(objects_of_the_killed_are_forgotten);
	RUN(descriptors_survive_exec);
	RUN(ring_buffers_are_polled_and_mapped);
	RUN(arrays_are_mapped_and_frozen);
	RUN(batches_give_every_element_once);
	RUN(busy_maps_are_waited_for);
	RUN(what_a_daemon_inherits_stays_listed);
	RUN(threads_do_not_disturb_each_other);
	RUN(children_of_fork_have_objects_of_their_own);
	remove_registry();
	return test_done();
}
