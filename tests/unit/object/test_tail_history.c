/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has gone wrong with tail calls in the kernel before: a test a history, named after it. Where the kernel of this machine can
 * be asked (and has been mended), it is.
 *
 * Left out, since nothing here could go wrong that way: fentry and fexit of programs, freplace, cgroup storage, ppc32.
 */
#include "object/tail_lab.h"

#include "sync/reader.h"

/* x86, 2017: the index was compared as 64 bits and used as 32. */
static void index_of_64_bits(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);
	const struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, offsetof(struct __sk_buff, len), 0),
		LD_IMM64(4, 0x700000000ull - 63),
		ALU64_REG(BPF_ADD, 3, 4),
		MAP_FD(2, map),
		CALL(BPF_FUNC_tail_call),
		MOV_IMM(0, 9),
		EXIT,
	};

	install(side, "install", map, 1, load_return(side, 1));
	run(side, "0x700000001", LOAD(side, "wide index", insns));
}

/* 2022: a key that was constant but outside was compiled as a direct call without a check. */
static void constant_key_outside(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);
	const struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, offsetof(struct __sk_buff, len), 0),
		ALU64_IMM(BPF_AND, 3, 0),
		ALU64_IMM(BPF_OR, 3, 1 << 20), /* bits are known one by one */
		MAP_FD(2, map),
		CALL(BPF_FUNC_tail_call),
		MOV_IMM(0, 9),
		EXIT,
	};

	for (u32 key = 0; key < 4; key++)
		install(side, "install", map, key, load_return(side, 1));
	run(side, "key by bits", LOAD(side, "key by bits", insns));
	run(side, "last key + 1", load_direct(side, map, 4, 8));
	run(side, "largest key", load_from_subprog(side, map, -1, 8));
}

/* Before 6.12: every frame had a count of its own, and two subprograms doubled the calls at each level. */
static void count_of_each_frame(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2), count = 0;
	int counter = make_map(side, "counter", BPF_MAP_TYPE_ARRAY, 1);
	int self = load_two_subprogs(side, map, counter);

	install(side, "itself", map, 0, self);
	run(side, "hierarchy", self);
	element(side, "runs", BPF_MAP_LOOKUP_ELEM, counter, 0, &count, 0);
	answer(side, "34 runs", count, false);
}

/* s390 and the trampolines: what ran in between lost the count. Here helpers run between every two calls. */
static void count_lost_in_between(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2), count = 0;
	int counter = make_map(side, "counter", BPF_MAP_TYPE_ARRAY, 1);
	int self = load_counting(side, map, counter, 0);

	install(side, "itself", map, 0, self);
	for (int i = 1; i < 4; i++) {
		run(side, "chain", self);
		element(side, "runs", BPF_MAP_LOOKUP_ELEM, counter, 0, &count, 0);
		answer(side, "34 runs more", count, false);
		CHECK_EQ(count, 34 * i);
	}
}

/* CVE-2024-50063: programs for different hooks shared a map, and the context of one was taken for the other's. */
static void programs_for_different_hooks(struct side *side)
{
	static const u32 attach_types[] = {0, BPF_XDP_CPUMAP, BPF_XDP_DEVMAP, 0};
	const struct bpf_insn insns[] = {MOV_IMM(0, 1), EXIT};
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);

	for (u32 i = 0; i < ARRAY_SIZE(attach_types); i++) {
		union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_XDP,
				       .expected_attach_type = attach_types[i],
				       .insns = ptr_to_u64(insns),
				       .insn_cnt = ARRAY_SIZE(insns),
				       .license = ptr_to_u64("GPL")};
		int prog = (int)answer(side, "program for a hook",
				       side->bpf(BPF_PROG_LOAD, &attr, sizeof(attr)), true);

		install(side, "install", map, i, prog);
	}
	install(side, "another type", map, 0, load_return(side, 1));
}

/* 6.13, "tighten tail call checks": what was acquired was never released. */
static void resource_held_over_a_call(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);
	union bpf_attr ring = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096};
	int ring_fd =
		(int)answer(side, "ring", side->bpf(BPF_MAP_CREATE, &ring, sizeof(ring)), true);
	const struct bpf_insn insns[] = {
		MOV_REG(6, 1),
		MAP_FD(1, ring_fd),
		MOV_IMM(2, 8),
		MOV_IMM(3, 0),
		CALL(BPF_FUNC_ringbuf_reserve),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 8, 0),
		MOV_REG(7, 0),
		MOV_REG(1, 6),
		TAIL_CALL(map, 0),
		MOV_REG(1, 7),
		MOV_IMM(2, 0),
		MOV_IMM(0, 0),
		EXIT,
	};

	LOAD(side, "a record is held", insns);
}

/* What a slot's descriptors of a subprogram pointed to was freed with the program, and poked afterwards. */
static void subprogram_of_a_freed_program(void)
{
	static struct side side = {.bpf = object_bpf};
	int map = make_map(&side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);
	int kept = load_from_subprog(&side, map, 1, 7);
	long result;

	for (int i = 0; i < 50; i++) {
		int freed = load_from_subprog(&side, map, 1, 7);
		int target = load_return(&side, i);

		object_close(freed);
		close(freed);
		CHECK_EQ(install(&side, "install", map, 1, target), 0);
		object_close(target);
		close(target);
		CHECK_EQ(run_quietly(&side, kept, &result), 100 + (u32)i);
		side.count = 0;
	}
	CHECK_EQ(take_out(&side, "remove", map, 1), 0);
	CHECK_EQ(run_quietly(&side, kept, &result), 112);
}

struct loads {
	struct side side;
	int map;
	u32 stop;
	u64 count, wrong;
};

static void *load_all_the_time(void *opaque)
{
	struct loads *loads = opaque;

	while (!__atomic_load_n(&loads->stop, __ATOMIC_RELAXED)) {
		int prog = load_from_subprog(&loads->side, loads->map, 1, 7);
		long result;
		u32 value = run_quietly(&loads->side, prog, &result);

		loads->count++;
		loads->wrong +=
			prog < 0 || result || (value != 101 && value != 102 && value != 112);
		object_close(prog);
		close(prog);
		loads->side.count = 0;
	}
	return NULL;
}

/* tailcall_poke: a program was being loaded while the slot that it calls changed. */
static void slot_changes_during_a_load(void)
{
	static struct side side = {.bpf = object_bpf};
	static struct loads loads = {.side.bpf = object_bpf};
	int one = load_return(&side, 1), two = load_return(&side, 2);
	time_t end = time(NULL) + 2;
	u64 updates = 0;
	pthread_t thread;

	loads.map = make_map(&side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);
	pthread_create(&thread, NULL, load_all_the_time, &loads);
	for (; time(NULL) < end; updates += 3) {
		install(&side, "install", loads.map, 1, one);
		install(&side, "replace", loads.map, 1, two);
		take_out(&side, "remove", loads.map, 1);
		side.count = 0;
	}
	__atomic_store_n(&loads.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	CHECK_EQ(loads.wrong, 0);
	CHECK(loads.count > 10 && updates > 10);
	printf("# %lu loads, %lu updates\n", loads.count, updates);
}

AS_KERNEL(index_of_64_bits)
AS_KERNEL(constant_key_outside)
AS_KERNEL(count_of_each_frame)
AS_KERNEL(count_lost_in_between)
AS_KERNEL(programs_for_different_hooks)
AS_KERNEL(resource_held_over_a_call)

int main(void)
{
	RUN(index_of_64_bits_as_kernel);
	RUN(constant_key_outside_as_kernel);
	RUN(count_of_each_frame_as_kernel);
	RUN(count_lost_in_between_as_kernel);
	RUN(programs_for_different_hooks_as_kernel);
	RUN(resource_held_over_a_call_as_kernel);
	RUN(subprogram_of_a_freed_program);
	RUN(slot_changes_during_a_load);
	return test_done();
}
