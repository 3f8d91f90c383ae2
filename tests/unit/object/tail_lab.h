/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of tail calls share: programs, prog arrays and updates through bpf(2), ours or the kernel's; answers are kept. */
#ifndef INLAY_TESTS_UNIT_OBJECT_TAIL_LAB_H
#define INLAY_TESTS_UNIT_OBJECT_TAIL_LAB_H

#include "test.h"

#include <errno.h>
#include <linux/btf.h>
#include <linux/filter.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "exec/both_engines.h"
#include "object/object.h"

#define MAX_ANSWERS 400

struct side {
	long (*bpf)(int cmd, union bpf_attr *attr, unsigned int size);
	struct {
		const char *label;
		long value;
	} answers[MAX_ANSWERS];
	int count;
};

static long kernel_bpf(int cmd, union bpf_attr *attr, unsigned int size)
{
	return sys_call3(__NR_bpf, cmd, attr, size);
}

/* Descriptors differ between the sides: only that there is one is compared. */
static long answer(struct side *side, const char *label, long value, bool is_fd)
{
	if (side->count < MAX_ANSWERS) {
		side->answers[side->count].label = label;
		side->answers[side->count++].value = is_fd && value >= 0 ? 0 : value;
	}
	return value;
}

static int make_map(struct side *side, const char *label, u32 type, u32 entries)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = 4, .value_size = 4, .max_entries = entries};

	return (int)answer(side, label, side->bpf(BPF_MAP_CREATE, &attr, sizeof(attr)), true);
}

static int load_type(struct side *side, const char *label, u32 type, const struct bpf_insn *insns,
		     u32 count)
{
	union bpf_attr attr = {.prog_type = type,
			       .insns = ptr_to_u64(insns),
			       .insn_cnt = count,
			       .license = ptr_to_u64("GPL")};

	return (int)answer(side, label, side->bpf(BPF_PROG_LOAD, &attr, sizeof(attr)), true);
}

#define LOAD(side, label, insns)                                                                   \
	load_type(side, label, BPF_PROG_TYPE_SCHED_CLS, insns, ARRAY_SIZE(insns))

static long element(struct side *side, const char *label, int cmd, int map, u32 key, int *value,
		    u64 flags)
{
	union bpf_attr attr = {.map_fd = (u32)map,
			       .key = ptr_to_u64(&key),
			       .value = ptr_to_u64(value),
			       .flags = flags};

	return answer(side, label, side->bpf(cmd, &attr, sizeof(attr)), false);
}

static long install(struct side *side, const char *label, int map, u32 key, int prog)
{
	return element(side, label, BPF_MAP_UPDATE_ELEM, map, key, &prog, BPF_ANY);
}

static long take_out(struct side *side, const char *label, int map, u32 key)
{
	return element(side, label, BPF_MAP_DELETE_ELEM, map, key, NULL, 0);
}

static u32 run_quietly(const struct side *side, int prog, long *ret_result)
{
	u8 packet[64] = {0};
	union bpf_attr attr = {.test = {.prog_fd = (u32)prog,
					.data_in = ptr_to_u64(packet),
					.data_size_in = sizeof(packet)}};

	*ret_result = side->bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	return attr.test.retval;
}

static void run(struct side *side, const char *label, int prog)
{
	long result;
	u32 value = run_quietly(side, prog, &result);

	answer(side, label, result, false);
	answer(side, label, (long)value, false);
}

/* Types of a program with subprograms: "int f(void)" for each, or with a void result. */
static int load_types(struct side *side, bool returns_int)
{
	static const char strings[] = "\0int\0f";
	struct {
		struct btf_header header;
		struct btf_type number;
		u32 encoding;
		struct btf_type proto, function;
		char strings[sizeof(strings)];
	} blob = {
		.header = {.magic = BTF_MAGIC,
			   .version = BTF_VERSION,
			   .hdr_len = sizeof(struct btf_header),
			   .type_len = 3 * sizeof(struct btf_type) + 4,
			   .str_off = 3 * sizeof(struct btf_type) + 4,
			   .str_len = sizeof(strings)},
		.number = {.name_off = 1, .info = BTF_KIND_INT << 24, .size = 4},
		.encoding = BTF_INT_SIGNED << 24 | 32,
		.proto = {.info = BTF_KIND_FUNC_PROTO << 24, .type = returns_int},
		.function = {.name_off = 5, .info = BTF_KIND_FUNC << 24, .type = 2},
	};
	union bpf_attr attr = {.btf = ptr_to_u64(&blob),
			       .btf_size = offsetof(__typeof__(blob), strings) + sizeof(strings)};

	memcpy(blob.strings, strings, sizeof(strings));
	return (int)answer(side, "types", side->bpf(BPF_BTF_LOAD, &attr, sizeof(attr)), true);
}

/* Subprograms start at the given instructions. */
static int load_typed(struct side *side, const char *label, bool returns_int,
		      const struct bpf_insn *insns, u32 count, u32 first, u32 second)
{
	struct bpf_func_info functions[] = {{0, 3}, {first, 3}, {second, 3}};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
			       .insns = ptr_to_u64(insns),
			       .insn_cnt = count,
			       .license = ptr_to_u64("GPL"),
			       .prog_btf_fd = (u32)load_types(side, returns_int),
			       .func_info = ptr_to_u64(functions),
			       .func_info_rec_size = sizeof(functions[0]),
			       .func_info_cnt = second ? 3 : 2};

	return (int)answer(side, label, side->bpf(BPF_PROG_LOAD, &attr, sizeof(attr)), true);
}

#define MAP_FD(dst, fd)                                                                            \
	INSN(BPF_LD | BPF_IMM | BPF_DW, dst, INSN_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define TAIL_CALL(map, key) MAP_FD(2, map), MOV_IMM(3, key), CALL(BPF_FUNC_tail_call)

static int load_return(struct side *side, int value)
{
	const struct bpf_insn insns[] = {MOV_IMM(0, value), EXIT};

	return LOAD(side, "program that returns a number", insns);
}

/* Calls slot key; returns value when that falls through. */
static int load_direct(struct side *side, int map, int key, int value)
{
	const struct bpf_insn insns[] = {TAIL_CALL(map, key), MOV_IMM(0, value), EXIT};

	return LOAD(side, "direct call", insns);
}

/* The key is in the packet's length field: unknown to the verifier. Runs have 64 bytes: key + 64. */
static int load_indirect(struct side *side, int map, int key, int value)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, offsetof(struct __sk_buff, len), 0),
		ALU64_IMM(BPF_ADD, 3, key - 64),
		MAP_FD(2, map),
		CALL(BPF_FUNC_tail_call),
		MOV_IMM(0, value),
		EXIT,
	};

	return LOAD(side, "indirect call", insns);
}

/* Calls from a subprogram that keeps r6 and some stack; adds 100 to what comes back. */
static int load_from_subprog(struct side *side, int map, int key, int value)
{
	const struct bpf_insn insns[] = {
		MOV_REG(6, 1),
		MOV_IMM(7, 100),
		CALL_SUB(2),
		ALU64_REG(BPF_ADD, 0, 7),
		EXIT,
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -16, 5),
		MOV_IMM(6, value),
		TAIL_CALL(map, key),
		MOV_REG(0, 6),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -16, 0),
		ALU64_REG(BPF_ADD, 0, 1),
		EXIT,
	};

	LOAD(side, "call from a subprogram without types", insns);
	load_typed(side, "call from a function without result", false, insns, ARRAY_SIZE(insns), 5,
		   0);
	return load_typed(side, "call from a subprogram", true, insns, ARRAY_SIZE(insns), 5, 0);
}

/* Counts its runs in an array's value, and calls itself (or key 1 on to key 0). */
static int load_counting(struct side *side, int map, int counter, int key)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0),
		MOV_REG(6, 1),
		MOV_REG(2, 10),
		ALU64_IMM(BPF_ADD, 2, -4),
		MAP_FD(1, counter),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 8, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 7, 0, 0, 0),
		ALU64_IMM(BPF_ADD, 7, 1),
		INSN(BPF_STX | BPF_MEM | BPF_W, 0, 7, 0, 0),
		MOV_REG(1, 6),
		TAIL_CALL(map, key),
		MOV_IMM(0, 3),
		EXIT,
	};

	return LOAD(side, "counting program", insns);
}

/* Two subprograms, each calling slot 0: with a counter of its own each, runs would double at every level. */
static int load_two_subprogs(struct side *side, int map, int counter)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0),
		MOV_REG(6, 1),
		MOV_REG(2, 10),
		ALU64_IMM(BPF_ADD, 2, -4),
		MAP_FD(1, counter),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 7, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 7, 0, 0, 0),
		ALU64_IMM(BPF_ADD, 7, 1),
		INSN(BPF_STX | BPF_MEM | BPF_W, 0, 7, 0, 0),
		MOV_REG(1, 6),
		CALL_SUB(4),
		MOV_REG(1, 6),
		CALL_SUB(8),
		MOV_IMM(0, 3),
		EXIT,
		TAIL_CALL(map, 0),
		MOV_IMM(0, 1),
		EXIT,
		MOV_IMM(0, 0),
		TAIL_CALL(map, 0),
		MOV_IMM(0, 1),
		EXIT,
	};

	return load_typed(side, "two calling subprograms", true, insns, ARRAY_SIZE(insns), 17, 23);
}

static void compare(void (*script)(struct side *side))
{
	static struct side kernel, ours;

	memset(&kernel, 0, sizeof(kernel));
	memset(&ours, 0, sizeof(ours));
	kernel.bpf = kernel_bpf;
	ours.bpf = object_bpf;
	script(&kernel);
	script(&ours);
	CHECK_EQ(ours.count, kernel.count);
	for (int i = 0; i < kernel.count && i < ours.count; i++) {
		if (kernel.answers[i].value == ours.answers[i].value)
			continue;
		printf("# %d, %s: %ld, the kernel answers %ld\n", i, ours.answers[i].label,
		       ours.answers[i].value, kernel.answers[i].value);
		test_failed_here++;
	}
}

static bool kernel_answers(void)
{
	struct side side = {.bpf = kernel_bpf};

	return make_map(&side, "array", BPF_MAP_TYPE_ARRAY, 1) >= 0;
}

#define AS_KERNEL(script)                                                                          \
	static void script##_as_kernel(void)                                                       \
	{                                                                                          \
		if (!kernel_answers())                                                             \
			SKIP("the kernel's bpf(2) may not be used here");                          \
		compare(script);                                                                   \
	}

#endif
