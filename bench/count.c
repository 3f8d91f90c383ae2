/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does it cost a function to be counted? A program that looks an element up and adds 1 to it (examples/count.bpf.c) at a
 * function's entry: its lookup called, done in place with a key that is known, and with one that is not; in an array and in a per-CPU
 * array. Beside it an empty program, and the addition alone.
 *
 * Thread-CPU ns a call over the same function without a probe. Rounds interleave the variants; the value is the median over
 * rounds, the spread half the distance between quartiles.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/sys.h"
#include "exec/exec.h"
#include "exec/raw_image.h"
#include "format/insn.h"
#include "helpers/helpers.h"
#include "hook/hook.h"
#include "maps/map.h"

#define ROUNDS 31
#define CALLS  1000000

__asm__(".text\n"
	".macro victim name\n"
	".balign 64\n\\name:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nret\n"
	".endm\n"
	"victim bare\nvictim probe_empty\nvictim probe_called\nvictim probe_known\nvictim probe_key\n"
	"victim probe_percpu_called\nvictim probe_percpu\n"
	".balign 64\nadds:\nlock incq floor_count(%rip)\nret\n"
	".local floor_count\n.comm floor_count, 8, 8\n");

extern const char bare[], adds[], probe_empty[], probe_called[], probe_known[], probe_key[],
	probe_percpu_called[], probe_percpu[];

enum map_kind { NO_MAP, ARRAY, PERCPU, MAPS };

struct variant {
	const char *name, *function;
	enum map_kind map;
	bool in_place, key_from_context;
	double ns[ROUNDS];
};

static struct variant variants[] = {
	{.name = "bare", .function = bare},
	{.name = "the addition alone", .function = adds},
	{.name = "empty program", .function = probe_empty},
	{.name = "array, lookup called", .function = probe_called, .map = ARRAY},
	{.name = "array, key known", .function = probe_known, .map = ARRAY, .in_place = true},
	{.name = "array, key from context",
	 .function = probe_key,
	 .map = ARRAY,
	 .in_place = true,
	 .key_from_context = true},
	{.name = "per-CPU array, lookup called", .function = probe_percpu_called, .map = PERCPU},
	{.name = "per-CPU array", .function = probe_percpu, .map = PERCPU, .in_place = true},
};

static struct map *maps[MAPS];

static double thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static __attribute__((noinline)) double time_calls(const char *function)
{
	double start = thread_ns();

	for (int i = 0; i < CALLS; i++)
		((void (*)(void))(uintptr_t)function)();
	return (thread_ns() - start) / CALLS;
}

static void *map_handle(void *opaque, u32 index)
{
	(void)index;
	return maps[((const struct variant *)opaque)->map];
}

static bool in_place(void *opaque, u32 id, u32 map_index, struct jit_in_place *ret_how)
{
	const struct variant *variant = opaque;

	return variant->in_place && !map_index && helper_in_place(id, maps[variant->map], ret_how);
}

static int make_map(enum map_kind kind, u32 type)
{
	struct map_spec spec = {
		.type = type, .key_size = 4, .value_size = 8, .max_entries = 1, .name = "count"};

	return map_create(&spec, 1, &maps[kind]);
}

/* A raw image names no maps: the constant gets its meaning when the image stands. */
static int compile(struct variant *variant, struct exec_code **ret_code)
{
	const struct exec_env env = {.helper = helper_address,
				     .map_handle = map_handle,
				     .in_place = in_place,
				     .opaque = variant,
				     .helper_clobbers = helper_clobbers};
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 6},
		{.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 10, .src_reg = 6, .off = -4},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4},
		{.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 1},
		{0},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem},
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = 2},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = 1},
		{.code = variant->map == PERCPU ? BPF_STX | BPF_MEM | BPF_DW
						: BPF_STX | BPF_ATOMIC | BPF_DW,
		 .src_reg = 1},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	u32 first = variant->map ? 0 : 10;
	struct image_header *image;
	struct bpf_insn *code;
	int err = raw_image_create(insns + first, ARRAY_SIZE(insns) - first, &image);

	if (err)
		return err;
	code = (struct bpf_insn *)(uintptr_t)image_insns(image);
	if (variant->map)
		code[4].src_reg = INSN_PSEUDO_MAP_FD;
	if (variant->key_from_context) /* the word of r12, which is 0 */
		code[0] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6};
	err = exec_compile(image, &env, ptr_to_u64(bare), false, ret_code);
	raw_image_free(image);
	return err;
}

static struct site_spec nop_site(const char *function)
{
	struct site_spec spec = {.function = ptr_to_u64(function), .kind = SITE_NOP};

	spec.address = spec.function;
	spec.displaced.site = spec.address;
	spec.displaced.length = 5;
	memcpy(spec.displaced.bytes, function, 5);
	return spec;
}

static int attach(struct variant *variant, u32 slot)
{
	struct hook_attach entry = {.site = nop_site(variant->function), .side = HOOK_ENTRY};
	struct exec_code *code;
	struct hook_link *link;
	int err = compile(variant, &code);

	if (err)
		return err;
	entry.program = (struct hook_program){
		.entry = ptr_to_u64((const void *)code->entry),
		.slot = slot,
		.clobbers = code->clobbers,
		.facts = variant->map == PERCPU ? IMAGE_FACT_PERCPU : 0,
	};
	return hook_attach_batch(&entry, 1, NULL, &link, NULL);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_row(const struct variant *variant)
{
	double over[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		over[i] = variant->ns[i] - (variant == variants ? 0 : variants[0].ns[i]);
	qsort(over, ROUNDS, sizeof(*over), compare);
	printf("{\"bench\":\"count\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"ns\",\"value\":%.3f,"
	       "\"spread\":%.3f}\n",
	       variant->name, variant == variants ? "per call" : "over bare", over[ROUNDS / 2],
	       (over[ROUNDS * 3 / 4] - over[ROUNDS / 4]) / 2);
}

int main(void)
{
	int err = make_map(ARRAY, BPF_MAP_TYPE_ARRAY);

	if (!err)
		err = make_map(PERCPU, BPF_MAP_TYPE_PERCPU_ARRAY);
	for (u32 i = 2; !err && i < ARRAY_SIZE(variants); i++)
		err = attach(&variants[i], i);
	if (err) {
		fprintf(stderr, "count: cannot attach: %s\n", strerror(-err));
		return 1;
	}
	for (int round = -1; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
			variants[i].ns[MAX(round, 0)] = time_calls(variants[i].function);
	}
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		print_row(&variants[i]);
	return 0;
}
