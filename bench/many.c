/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One program on every function of a running redis-server: how long do attaching and detaching take, and for how long are
 * its threads stopped meanwhile?
 *
 * The first attachment begins with nothing: the file is analysed and the agent injected. What loader and target share is
 * closed in between, so each of the others analyses anew and enters the agent that is there. Throughput is redis-benchmark's,
 * without the probes and with all of them.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/backend.h"
#include "base/mem.h"
#include "binary/process.h"
#include "format/bpf_abi.h"
#include "object/object.h"

#define ROUNDS 5
#define PORT   "17379"

static const struct bpf_insn empty_program[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
	{.code = BPF_JMP | BPF_EXIT},
};

struct places {
	char path[64];
	u64 *offsets;
	u32 count;
};

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static pid_t start_redis(void)
{
	pid_t pid = fork();

	if (!pid) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execlp("redis-server", "redis-server", "--port", PORT, "--bind", "127.0.0.1",
		       "--save", "", "--appendonly", "no", (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Requests a second, or a negative number. */
static double throughput(void)
{
	char line[256], *at;
	double rate = -1;
	FILE *out =
		popen("redis-benchmark -p " PORT " -n 100000 -c 8 -P 16 -t get --csv 2>&1", "r");

	while (out && fgets(line, sizeof(line), out)) {
		at = strstr(line, "\"GET\",\"");
		if (at)
			rate = atof(at + 7);
	}
	if (out)
		pclose(out);
	return rate;
}

static int load(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_KPROBE;
	attr.expected_attach_type = ABI_TRACE_UPROBE_MULTI;
	attr.insns = ptr_to_u64(empty_program);
	attr.insn_cnt = ARRAY_SIZE(empty_program);
	attr.license = ptr_to_u64("GPL");
	return (int)syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static int by_offset(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Every named function of the executable that can be entered, each once. */
static int find_places(pid_t pid, struct process **ret_process, struct places *places)
{
	const struct process_module *module;
	const struct binary_function *functions;
	struct binary *binary;
	size_t count;
	u32 kept = 0;

	snprintf(places->path, sizeof(places->path), "/proc/%d/exe", pid);
	if (process_open(pid, ret_process))
		return -ESRCH;
	module = process_find_module(*ret_process, places->path);
	if (!module || process_binary(*ret_process, module, &binary))
		return -ENOENT;
	functions = binary_functions(binary, &count);
	places->offsets = calloc(count, sizeof(u64));
	places->count = 0;
	for (size_t i = 0; places->offsets && i < count; i++) {
		struct site_spec spec;
		const char *reason;

		memset(&spec, 0, sizeof(spec));
		if (functions[i].name && functions[i].is_entry && !functions[i].is_ifunc &&
		    !binary_plan(binary, &functions[i], &spec, &reason))
			places->offsets[places->count++] = functions[i].file_offset;
	}
	qsort(places->offsets, places->count, sizeof(u64), by_offset);
	for (u32 i = 0; i < places->count; i++) {
		if (!kept || places->offsets[kept - 1] != places->offsets[i])
			places->offsets[kept++] = places->offsets[i];
	}
	places->count = kept;
	return places->offsets ? 0 : -ENOMEM;
}

static int attach(int program, pid_t pid, const struct places *places)
{
	struct abi_link_create_uprobe_multi attr = {
		.prog_fd = (u32)program,
		.attach_type = ABI_TRACE_UPROBE_MULTI,
		.path = ptr_to_u64(places->path),
		.offsets = ptr_to_u64(places->offsets),
		.cnt = places->count,
		.pid = (u32)pid,
	};

	return (int)syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

static void print_row(const char *variant, const char *metric, const char *unit, double value)
{
	printf("{\"bench\":\"many\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\","
	       "\"value\":%.3f,\"spread\":null}\n",
	       variant, metric, unit, value);
}

static void print_stops(const char *variant, const struct agent_stats *before)
{
	struct agent_stats stats;

	agent_stats(&stats);
	print_row(variant, "stops", "", (double)(stats.stops - before->stops));
	print_row(variant, "stopped in all", "ms",
		  (double)(stats.stop_total_ns - before->stop_total_ns) / 1e6);
	print_row(variant, "longest stop so far", "ms", (double)stats.stop_max_ns / 1e6);
	print_row(variant, "longest write in a stop so far", "ms", (double)stats.hold_max_ns / 1e6);
}

static int measure(pid_t pid, int round)
{
	char variant[64];
	struct places places = {0};
	struct process *process = NULL;
	struct agent_stats before;
	double start = now_ms(), done;
	int program = load(), link = -1, err;

	agent_stats(&before);
	err = program < 0 ? -errno : find_places(pid, &process, &places);
	if (!err)
		link = attach(program, pid, &places);
	if (link < 0) {
		fprintf(stderr, "many: %s\n", err ? strerror(-err) : object_link_problem());
		return -1;
	}
	done = now_ms();
	snprintf(variant, sizeof(variant), "%u functions, %s", places.count,
		 round ? "again" : "first");
	print_row(variant, "attach", "ms", done - start);
	print_stops(variant, &before);
	if (!round)
		print_row(variant, "GET while attached", "1/s", throughput());
	start = now_ms();
	close(link);
	print_row(variant, "detach", "ms", now_ms() - start);
	close(program);
	process_close(process);
	free(places.offsets);
	return 0;
}

int main(void)
{
	pid_t pid = start_redis();
	int err = 0;

	object_set_link_backend(&agent_link_backend);
	sleep(1);
	if (waitpid(pid, NULL, WNOHANG)) {
		fprintf(stderr, "many: redis-server does not start\n");
		return 1;
	}
	print_row("no probe", "GET", "1/s", throughput());
	for (int round = 0; round < ROUNDS && !err; round++)
		err = measure(pid, round);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return err != 0;
}
