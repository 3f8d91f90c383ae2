/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two threads run chains of tail calls through subprograms, up to 33 of them, while the slots they go through are filled, replaced
 * and emptied at full speed. usage: tail [SECONDS]
 *
 * Every program counts itself in the context, and the chain's last returns that count: 1 to 34 are right. Each keeps numbers
 * in its saved registers and on its stack over the call of its subprogram: a frame that was unwound wrongly shows as 999.
 */
#include "object/tail_lab.h"

#define SLOTS	 4
#define RUNNERS	 2
#define KINDS	 3
#define CB	 offsetof(struct __sk_buff, cb[0])
#define LOAD_CB	 INSN(BPF_LDX | BPF_MEM | BPF_W, 0, 6, CB, 0)
#define STORE_CB INSN(BPF_STX | BPF_MEM | BPF_W, 6, 0, CB, 0)

static struct side side = {.bpf = object_bpf};
static int map;

struct runner {
	struct side side;
	pthread_t thread;
	u32 stop;
	u64 runs, wrong;
	u64 lengths[64];
};

/* What its subprogram calls is in slot next. kind: how much its frames hold. */
static int load_link(int next, int kind)
{
	s16 depth = (s16)(-16 - 40 * kind);
	const struct bpf_insn insns[] = {
		MOV_REG(6, 1),
		LOAD_CB,
		ALU64_IMM(BPF_ADD, 0, 1),
		STORE_CB,
		kind > 0 ? MOV_IMM(7, 1000 + next) : MOV_REG(7, 6),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, depth, 77),
		MOV_REG(1, 6),
		CALL_SUB(6),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, depth, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 1, 0, 2, 77),
		kind > 0 ? INSN(BPF_JMP | BPF_JNE | BPF_K, 7, 0, 1, 1000 + next)
			 : INSN(BPF_JMP | BPF_JNE | BPF_X, 7, 6, 1, 0),
		EXIT,
		MOV_IMM(0, 999),
		EXIT,
		MOV_REG(6, 1),
		MOV_IMM(8, next),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 8, -8, 0),
		TAIL_CALL(map, next),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_X, 1, 8, 2, 0),
		LOAD_CB,
		EXIT,
		MOV_IMM(0, 999),
		EXIT,
	};

	return load_typed(&side, "link of the chain", true, insns, ARRAY_SIZE(insns), 14, 0);
}

static void *run_all_the_time(void *opaque)
{
	struct runner *runner = opaque;
	int first = load_link(0, 1);

	while (!__atomic_load_n(&runner->stop, __ATOMIC_RELAXED)) {
		long result;
		u32 value = run_quietly(&runner->side, first, &result);

		runner->runs++;
		if (result || value < 1 || value > 34)
			runner->wrong++;
		else
			runner->lengths[value]++;
	}
	return NULL;
}

static void set_slot(int slot, int kind)
{
	int prog = load_link((slot + 1) % SLOTS, kind);

	CHECK_EQ(install(&side, "install", map, (u32)slot, prog), 0);
	/* Only the slot holds it: it is freed when it is replaced. */
	object_close(prog);
	close(prog);
	side.count = 0;
}

static u64 change_slots(time_t end)
{
	u64 updates = 0;

	while (time(NULL) < end) {
		for (int slot = 0; slot < SLOTS; slot++)
			set_slot(slot, (int)(updates + (u64)slot) % KINDS);
		for (int slot = 0; slot < SLOTS; slot++)
			set_slot(slot, (int)(updates + (u64)slot + 1) % KINDS);
		take_out(&side, "remove", map, (u32)(updates / 9 % SLOTS));
		updates += 2 * SLOTS + 1;
	}
	return updates;
}

static int seconds = 60;

static void chains_of_33_while_slots_change(void)
{
	static struct runner runners[RUNNERS];
	time_t end = time(NULL) + seconds;
	u64 updates, full = 0, cut = 0;

	map = make_map(&side, "prog array", BPF_MAP_TYPE_PROG_ARRAY, SLOTS);
	for (int i = 0; i < RUNNERS; i++) {
		runners[i].side.bpf = object_bpf;
		pthread_create(&runners[i].thread, NULL, run_all_the_time, &runners[i]);
	}
	updates = change_slots(end);
	for (int i = 0; i < RUNNERS; i++) {
		__atomic_store_n(&runners[i].stop, 1, __ATOMIC_RELAXED);
		pthread_join(runners[i].thread, NULL);
		CHECK_EQ(runners[i].wrong, 0);
		for (int length = 1; length <= 34; length++)
			*(length == 34 ? &full : &cut) += runners[i].lengths[length];
	}
	CHECK(updates > 50);
	CHECK(full > 50);
	CHECK(cut > 0);
	printf("# %lu updates, %lu runs of 33 tail calls, %lu of fewer\n", updates, full, cut);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = atoi(argv[1]);
	RUN(chains_of_33_while_slots_change);
	return test_done();
}
