/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same programs by bpf(2) of inlay, compiled, and by the running kernel's: loaded, run on a packet (BPF_PROG_TEST_RUN) and
 * looked at afterwards. The result, the packet and the map's value must be the same.
 *
 * usage: engines_kernel PROGRAMS [FIRST-SEED]     PROGRAMS that both accept are run
 *
 * Left out are programs whose result depends on an address (found by running them in the checking interpreter in three places) or
 * that read stack that was never written, those that go round a loop more than ROUNDS_MAX times, and reservations (a ring
 * buffer that nobody reads fills). Exit status 1: a difference, shown with its seed; 77: bpf(2) is not allowed here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "checked.h"
#include "format/disasm.h"
#include "object/object.h"

#define INPUTS 3
#define ETH_LENGTH                                                                                 \
	14u /* what a test run's packet has at least, and what a socket filter does not see of it */

struct outcome {
	u32 result, packet_size;
	u64 value[VALUE_SIZE / 8];
	char packet[PACKET_MAX];
};

struct side {
	const char *name;
	long (*bpf)(int command, union bpf_attr *attr, unsigned int size);
	int map, types;
};

static long kernel_bpf(int command, union bpf_attr *attr, unsigned int size)
{
	long result = syscall(__NR_bpf, command, attr, size);

	return result < 0 ? -errno : result;
}

static struct side sides[] = {{.name = "inlay", .bpf = object_bpf},
			      {.name = "kernel", .bpf = kernel_bpf}};

static bool open_side(struct side *side)
{
	union bpf_attr hash = {.map_type = BPF_MAP_TYPE_HASH,
			       .key_size = 8,
			       .value_size = VALUE_SIZE,
			       .max_entries = 1},
		       btf = {.btf = (u64)(uintptr_t)&function_types,
			      .btf_size = sizeof(function_types)};

	side->map = (int)side->bpf(BPF_MAP_CREATE, &hash, sizeof(hash));
	side->types = (int)side->bpf(BPF_BTF_LOAD, &btf, sizeof(btf));
	return side->map >= 0 && side->types >= 0;
}

/* The program with this side's map; a descriptor, or -errno. */
static int load(const struct side *side)
{
	struct bpf_insn copy[MAX_INSNS];
	union bpf_attr attr = {
		.prog_type = program_type(),
		.insns = (u64)(uintptr_t)copy,
		.insn_cnt = length,
		.license = (u64)(uintptr_t) "GPL",
		.prog_btf_fd = (u32)side->types,
		.func_info = (u64)(uintptr_t)functions,
		.func_info_cnt = function_cnt,
		.func_info_rec_size = sizeof(*functions),
	};

	memcpy(copy, program, sizeof(copy));
	for (u32 i = 0; i < length; i++) {
		if (insn_is_ld_imm64(&copy[i]) && copy[i].src_reg == BPF_PSEUDO_MAP_FD)
			copy[i].imm = side->map;
	}
	return (int)side->bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

static long run(const struct side *side, int prog, const struct inputs *inputs,
		struct outcome *ret_outcome)
{
	u64 key = 0;
	union bpf_attr set = {.map_fd = (u32)side->map,
			      .key = (u64)(uintptr_t)&key,
			      .value = (u64)(uintptr_t)inputs->value},
		       test = {.test = {.prog_fd = (u32)prog,
					.data_size_in = inputs->packet_size,
					.data_in = (u64)(uintptr_t)inputs->packet,
					.data_size_out = sizeof(ret_outcome->packet),
					.data_out = (u64)(uintptr_t)ret_outcome->packet}},
		       look = {.map_fd = (u32)side->map,
			       .key = (u64)(uintptr_t)&key,
			       .value = (u64)(uintptr_t)ret_outcome->value};
	long error = side->bpf(BPF_MAP_UPDATE_ELEM, &set, sizeof(set));

	memset(ret_outcome, 0, sizeof(*ret_outcome));
	error = error ? error : side->bpf(BPF_PROG_TEST_RUN, &test, sizeof(test));
	error = error ? error : side->bpf(BPF_MAP_LOOKUP_ELEM, &look, sizeof(look));
	ret_outcome->result = test.test.retval;
	ret_outcome->packet_size = test.test.data_size_out;
	return error;
}

/* -- What can be compared -- */

#define PLACES 3

static char *arenas[PLACES];

/* All runs in the checking interpreter end alike, and read no stack that they did not write: nothing depends on an address. */
static bool is_determined(const struct inputs *inputs)
{
	struct outcome outcomes[PLACES];

	for (u32 i = 0; i < PLACES; i++) {
		struct run checked;
		u32 at;

		arena = arenas[i];
		run_checked(&checked, inputs, &at);
		if (checked.violation || checked.cut_short || checked.guessed)
			return false;
		memset(&outcomes[i], 0, sizeof(outcomes[i]));
		outcomes[i].result = (u32)checked.regs[0];
		memcpy(outcomes[i].value, value_start(), VALUE_SIZE);
		memcpy(outcomes[i].packet, packet_start(), PACKET_MAX);
		if (memcmp(&outcomes[0], &outcomes[i], sizeof(outcomes[0])))
			return false;
	}
	return true;
}

/* Inputs as a test run gives them to the program. */
static void make_test_inputs(struct inputs *inputs)
{
	make_inputs(inputs);
	if (inputs->packet_size < ETH_LENGTH)
		inputs->packet_size = ETH_LENGTH;
	memset(inputs->ctx, 0, sizeof(inputs->ctx));
	if (features & FEATURE_PACKET)
		inputs->ctx[3] = 1; /* the loopback's index */
	else
		inputs->ctx[0] = inputs->packet_size - ETH_LENGTH;
}

static void show(u64 start, const struct outcome *ours, const struct outcome *theirs)
{
	char line[256];

	printf("seed %llu: inlay gives %#x, the kernel %#x; value %s, packet %s\n",
	       (unsigned long long)start, ours->result, theirs->result,
	       memcmp(ours->value, theirs->value, VALUE_SIZE) ? "differs" : "same",
	       memcmp(ours->packet, theirs->packet, PACKET_MAX) ? "differs" : "same");
	for (u32 i = 0; i < VALUE_SIZE / 8; i++) {
		if (ours->value[i] != theirs->value[i])
			printf("  value + %u: %#llx here, %#llx there\n", 8 * i,
			       (unsigned long long)ours->value[i],
			       (unsigned long long)theirs->value[i]);
	}
	for (u32 i = 0; i < length; i++) {
		disasm_insn(&program[i], line, sizeof(line));
		printf("%4u: %s\n", i, line);
		i += insn_is_ld_imm64(&program[i]);
	}
}

enum finding { NOT_RUN, SAME, DIFFERENT };

static enum finding judge(u64 start)
{
	enum finding finding = NOT_RUN;
	int progs[2];

	judge_seed(start);
	/* Long loops, too, are left out. */
	if (judge_here_quietly())
		return NOT_RUN;
	progs[0] = load(&sides[0]);
	if (progs[0] < 0)
		return NOT_RUN;
	progs[1] = load(&sides[1]);
	for (u32 i = 0; i < INPUTS && progs[1] >= 0 && finding != DIFFERENT; i++) {
		struct outcome outcomes[2];
		struct inputs inputs;

		make_test_inputs(&inputs);
		if (!is_determined(&inputs) || run(&sides[0], progs[0], &inputs, &outcomes[0]) ||
		    run(&sides[1], progs[1], &inputs, &outcomes[1]))
			continue;
		finding =
			memcmp(&outcomes[0], &outcomes[1], sizeof(outcomes[0])) ? DIFFERENT : SAME;
		if (finding == DIFFERENT)
			show(start, &outcomes[0], &outcomes[1]);
	}
	close(progs[0]);
	if (progs[1] >= 0)
		close(progs[1]);
	return finding;
}

int main(int argc, char **argv)
{
	u64 wanted = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000;
	u64 seed_now = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	u64 made = 0, ran = 0, differences = 0;

	features_allowed = FEATURE_ALL & ~FEATURE_RESERVE;
	for (u32 i = 0; i < PLACES; i++) {
		arenas[i] = make_arena();
		if (!arenas[i])
			return 2;
		/* Each low bit of an address is another in one of them. */
		arenas[i] += i * 0x555555;
	}
	if (!open_side(&sides[1])) {
		puts("engines_kernel: bpf(2) is not allowed here");
		return 77;
	}
	if (judge_open(false) || !open_side(&sides[0]))
		return 2;
	for (; ran < wanted && differences < 5; made++, seed_now++) {
		enum finding found = judge(seed_now);

		ran += found != NOT_RUN;
		differences += found == DIFFERENT;
	}
	printf("engines_kernel: %llu programs, %llu accepted by both and run with up to %u inputs each, %llu differences\n",
	       (unsigned long long)made, (unsigned long long)ran, INPUTS,
	       (unsigned long long)differences);
	return differences != 0;
}
