/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tail calls, with the kernel as the oracle: one script of loads, updates and test runs goes to bpf(2) and to object_bpf,
 * and every answer must be equal. What the kernel does not show (grace periods, threads) is tested on ours alone.
 */
#include "object/tail_lab.h"

#include "sync/reader.h"

static void states(struct side *side, int (*load)(struct side *, int, int, int))
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);
	int caller = load(side, map, 1, 7), one = load_return(side, 1), two = load_return(side, 2);

	run(side, "empty", caller);
	install(side, "install", map, 1, one);
	run(side, "installed", caller);
	install(side, "replace", map, 1, two);
	run(side, "replaced", caller);
	install(side, "another slot", map, 2, one);
	run(side, "another slot does not matter", caller);
	take_out(side, "remove", map, 1);
	run(side, "removed", caller);
	take_out(side, "remove again", map, 1);
	install(side, "install again", map, 1, one);
	run(side, "installed again", caller);
	close(one);
	run(side, "the map holds the program", caller);
	run(side, "loaded while the slot is full", load(side, map, 1, 8));
}

static void direct_states(struct side *side)
{
	states(side, load_direct);
}

static void indirect_states(struct side *side)
{
	states(side, load_indirect);
}

static void retpoline_states(struct side *side)
{
	object_set_load_policy(&(struct object_load_policy){.retpolines = true});
	states(side, load_indirect);
	object_set_load_policy(NULL);
}

static void subprog_states(struct side *side)
{
	states(side, load_from_subprog);
}

static void keys_outside(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4);
	int target = load_return(side, 1);
	const struct bpf_insn wide[] = {LD_IMM64(3, 0x100000001ull), MAP_FD(2, map),
					CALL(BPF_FUNC_tail_call), MOV_IMM(0, 9), EXIT};
	const struct bpf_insn varies[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 4, 1, offsetof(struct __sk_buff, len), 0),
		MOV_IMM(3, 1),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 1, 64),
		MOV_IMM(3, 2),
		MAP_FD(2, map),
		CALL(BPF_FUNC_tail_call),
		MOV_IMM(0, 9),
		EXIT,
	};

	for (u32 key = 0; key < 4; key++)
		install(side, "install", map, key, key == 2 ? load_return(side, 22) : target);
	run(side, "constant key, outside", load_direct(side, map, 4, 7));
	run(side, "constant key, negative", load_direct(side, map, -1, 7));
	run(side, "key, outside", load_indirect(side, map, 4, 7));
	run(side, "key, negative", load_indirect(side, map, -1, 7));
	run(side, "key of 33 bits counts as 32", LOAD(side, "wide key", wide));
	run(side, "a key for each path", LOAD(side, "two keys", varies));
}

static void commands(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 4), value = 0;
	int other = make_map(side, "array", BPF_MAP_TYPE_ARRAY, 4);
	int prog = load_return(side, 1);
	const struct bpf_insn insns[] = {MOV_IMM(0, 1), EXIT};
	const struct bpf_insn lookup[] = {
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0),
		MOV_REG(2, 10),
		ALU64_IMM(BPF_ADD, 2, -4),
		MAP_FD(1, map),
		CALL(BPF_FUNC_map_lookup_elem),
		MOV_IMM(0, 0),
		EXIT,
	};
	int xdp = load_type(side, "xdp", BPF_PROG_TYPE_XDP, insns, ARRAY_SIZE(insns));

	element(side, "lookup, empty", BPF_MAP_LOOKUP_ELEM, map, 0, &value, 0);
	element(side, "lookup, outside", BPF_MAP_LOOKUP_ELEM, map, 4, &value, 0);
	element(side, "update, flags", BPF_MAP_UPDATE_ELEM, map, 0, &prog, BPF_NOEXIST);
	install(side, "update, outside", map, 4, prog);
	install(side, "update, a map", map, 0, other);
	install(side, "update, no descriptor", map, 0, 9999);
	install(side, "update", map, 0, prog);
	install(side, "update, another type", map, 1, xdp);
	element(side, "lookup", BPF_MAP_LOOKUP_ELEM, map, 0, &value, 0);
	answer(side, "an id", value > 0, false);
	take_out(side, "delete, outside", map, 4);
	take_out(side, "delete, empty", map, 1);
	take_out(side, "delete", map, 0);
	LOAD(side, "lookup from a program", lookup);
	load_type(side, "user of another type", BPF_PROG_TYPE_XDP,
		  (const struct bpf_insn[]){TAIL_CALL(map, 0), MOV_IMM(0, 1), EXIT}, 6);
	make_map(side, "no entries", BPF_MAP_TYPE_PROG_ARRAY, 0);
}

static void limits(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2), count = 0;
	int counter = make_map(side, "counter", BPF_MAP_TYPE_ARRAY, 1);
	int self = load_counting(side, map, counter, 0);

	install(side, "itself", map, 0, self);
	run(side, "chain", self);
	element(side, "runs", BPF_MAP_LOOKUP_ELEM, counter, 0, &count, 0);
	answer(side, "33 tail calls, 34 runs", count, false);
	CHECK_EQ(count, 34);
	map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2);
	counter = make_map(side, "counter", BPF_MAP_TYPE_ARRAY, 1);
	self = load_two_subprogs(side, map, counter);
	install(side, "itself", map, 0, self);
	run(side, "hierarchy", self);
	element(side, "runs", BPF_MAP_LOOKUP_ELEM, counter, 0, &count, 0);
	answer(side, "one counter for all frames", count, false);
	CHECK_EQ(count, 34);
}

/* bpf_loop runs a callback five times, then a subprogram calls slot 0; the callback calls that subprogram too, if it reaches. */
static int load_with_callback(struct side *side, int map, bool reaches)
{
	struct bpf_insn insns[] = {
		MOV_REG(6, 1),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -8, 0),
		MOV_REG(3, 10),
		ALU64_IMM(BPF_ADD, 3, -8),
		MOV_IMM(1, 5),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 6),
		INSN(0, 0, 0, 0, 0),
		MOV_IMM(4, 0),
		CALL(BPF_FUNC_loop),
		MOV_REG(1, 6),
		CALL_SUB(5),
		EXIT,
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 2, 0, 0),
		CALL_SUB(2),
		MOV_IMM(0, 0),
		EXIT,
		TAIL_CALL(map, 0),
		MOV_IMM(0, 9),
		EXIT,
	};

	if (!reaches)
		insns[13] = MOV_IMM(0, 0);
	return load_typed(side, "callback and calling subprogram", true, insns, ARRAY_SIZE(insns),
			  12, 16);
}

static void callbacks(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2);
	int caller = load_with_callback(side, map, false);

	run(side, "empty", caller);
	install(side, "install", map, 0, load_return(side, 1));
	run(side, "installed", caller);
}

/* The kernel lets a callback reach tail calls and forgets to give it a counter. Ours fall through, for no count can be known. */
static void tail_calls_below_a_callback_fall_through(void)
{
	static struct side side = {.bpf = object_bpf};
	int map = make_map(&side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2), count = 0;
	int counter = make_map(&side, "counter", BPF_MAP_TYPE_ARRAY, 1);
	int caller = load_with_callback(&side, map, true);
	long result;

	CHECK(caller >= 0);
	CHECK_EQ(run_quietly(&side, caller, &result), 9);
	install(&side, "install", map, 0, load_counting(&side, map, counter, 1));
	CHECK_EQ(run_quietly(&side, caller, &result), 3);
	element(&side, "runs", BPF_MAP_LOOKUP_ELEM, counter, 0, &count, 0);
	CHECK_EQ(count, 1);
}

static void inside_callback(struct side *side)
{
	int map = make_map(side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2);
	const struct bpf_insn insns[] = {
		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -8, 0),
		MOV_REG(3, 10),
		ALU64_IMM(BPF_ADD, 3, -8),
		MOV_IMM(1, 5),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 4),
		INSN(0, 0, 0, 0, 0),
		MOV_IMM(4, 0),
		CALL(BPF_FUNC_loop),
		EXIT,
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 2, 0, 0),
		TAIL_CALL(map, 0),
		MOV_IMM(0, 0),
		EXIT,
	};
	int prog = load_typed(side, "program", true, insns, ARRAY_SIZE(insns), 9, 0);

	side->answers[side->count - 1].value =
		0; /* the kernel takes it for a bug of its own: -EFAULT */
	answer(side, "a call in a callback", prog < 0, false);
}

/* An install and a replacement wait for no grace period, a removal for one, whether 1 call or 1,000 follow the slot. */
static void grace_periods(int users)
{
	static struct side side = {.bpf = object_bpf};
	int map = make_map(&side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, 2);
	int one = load_return(&side, 1), two = load_return(&side, 2), caller = -1;
	u64 before;
	long result;

	for (int i = 0; i < users; i++)
		caller = load_direct(&side, map, 0, 7);
	before = sync_grace_count();
	install(&side, "install", map, 0, one);
	install(&side, "replace", map, 0, two);
	CHECK_EQ(sync_grace_count() - before, 0);
	CHECK_EQ(run_quietly(&side, caller, &result), 2);
	take_out(&side, "remove", map, 0);
	CHECK_EQ(sync_grace_count() - before, 1);
	take_out(&side, "remove what is not there", map, 0);
	install(&side, "nobody calls this slot", map, 1, one);
	take_out(&side, "nobody called it", map, 1);
	CHECK_EQ(sync_grace_count() - before, 1);
	CHECK_EQ(run_quietly(&side, caller, &result), 7);
}

AS_KERNEL(direct_states)
AS_KERNEL(indirect_states)
AS_KERNEL(retpoline_states)
AS_KERNEL(subprog_states)
AS_KERNEL(callbacks)
AS_KERNEL(inside_callback)
AS_KERNEL(keys_outside)
AS_KERNEL(commands)
AS_KERNEL(limits)

static void grace_periods_of_one_call(void)
{
	grace_periods(1);
}

static void grace_periods_of_1000_calls(void)
{
	grace_periods(1000);
}

int main(void)
{
	RUN(direct_states_as_kernel);
	RUN(indirect_states_as_kernel);
	RUN(retpoline_states_as_kernel);
	RUN(subprog_states_as_kernel);
	RUN(callbacks_as_kernel);
	RUN(inside_callback_as_kernel);
	RUN(tail_calls_below_a_callback_fall_through);
	RUN(keys_outside_as_kernel);
	RUN(commands_as_kernel);
	RUN(limits_as_kernel);
	RUN(grace_periods_of_one_call);
	RUN(grace_periods_of_1000_calls);
	return test_done();
}
