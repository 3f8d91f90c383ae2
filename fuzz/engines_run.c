/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that the verifier accepts, in the interpreter and as compiled code: r0, the map's value and the context must be the
 * same afterwards. The same programs in every run of one build (compilers may order the generator's picks differently).
 *
 * usage: engines_run PROGRAMS [FIRST-SEED]     PROGRAMS accepted ones are run; INLAY_PROGRAMS in the environment goes before
 *
 * Exit status 1: a difference, shown with its seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/unit/verify/judge.h"
#include "exec/exec.h"
#include "format/bpf_abi.h"
#include "format/disasm.h"
#include "format/image.h"
#include "format/insn.h"
#include "verify/verify.h"

#define INPUTS	 4
#define PROLOGUE 12 /* instructions that generate() begins with, left alone */

/* What a program sees and changes. */
struct memory {
	u64 value[VALUE_SIZE / 8];
	struct abi_packet_context ctx;
};

static struct memory memory;

static u64 lookup(u64 given, u64 key, u64 r3, u64 r4, u64 r5)
{
	(void)key, (void)r3, (void)r4, (void)r5;
	return given == ptr_to_u64(&judge_hash) ? ptr_to_u64(memory.value) : 0;
}

static exec_helper_fn helper(u32 id)
{
	return id == BPF_FUNC_map_lookup_elem ? lookup : NULL;
}

static void *map_handle(void *opaque, u32 index)
{
	(void)opaque, (void)index;
	return &judge_hash;
}

static const struct exec_env env = {.helper = helper, .map_handle = map_handle};

static void make_atomic(struct bpf_insn *insn)
{
	static const s32 operations[] = {
		BPF_ADD,
		BPF_ADD | BPF_FETCH,
		BPF_AND,
		BPF_AND | BPF_FETCH,
		BPF_OR,
		BPF_OR | BPF_FETCH,
		BPF_XOR,
		BPF_XOR | BPF_FETCH,
		BPF_XCHG,
		BPF_CMPXCHG,
		INSN_STORE_RELEASE,
	};

	insn->code = (u8)(BPF_STX | BPF_ATOMIC | (insn->code & 0x18));
	insn->imm = operations[pick(ARRAY_SIZE(operations))];
}

/* Makes an instruction one of those that generate() does not know, in place. */
static void vary(struct bpf_insn *insn)
{
	bool plain = insn_mode(insn) == BPF_MEM;

	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		if (insn_op(insn) == BPF_DIV || insn_op(insn) == BPF_MOD) {
			insn->off = 1;
		} else if (insn_op(insn) == BPF_NEG) {
			insn->code = (u8)(insn_class(insn) | BPF_END |
					  (insn_class(insn) == BPF_ALU ? pick(2) << 3 : 0));
			insn->imm = 16 << pick(3);
		}
		break;
	case BPF_LDX:
		if (plain && insn_access_size(insn) < 8)
			insn->code = (u8)(BPF_LDX | INSN_MODE_MEMSX | (insn->code & 0x18));
		break;
	case BPF_STX:
		if (plain)
			make_atomic(insn);
		break;
	}
}

static void make_program(u64 start)
{
	seed = start * 0x9e3779b97f4a7c15ull + 1;
	map_fd = 3;
	generate();
	for (u32 i = PROLOGUE; i < length; i++) {
		if (!pick(3))
			vary(&program[i]);
	}
}

static bool accepted(struct bpf_insn *copy, struct verify_result *ret_result)
{
	struct verify_log log = {0};
	struct verify_request request = {
		.insns = copy,
		.insn_cnt = length,
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.gpl = true,
		.privileged = true,
		.max_insns = 20000,
		.refuse_uninit_stack = true, /* what is there differs between engines */
	};
	int err;

	memcpy(copy, program, length * sizeof(*copy));
	err = verify_program(&request, &judge_host, &log, ret_result);
	verify_log_free(&log);
	return !err;
}

/* Owned by the caller. */
static struct image_header *make_image(const struct bpf_insn *insns,
				       const struct verify_result *result)
{
	u32 insns_off = ALIGN_UP((u32)sizeof(struct image_header), 8u);
	u32 subprogs_off = insns_off + length * (u32)sizeof(*insns);
	u32 maps_off = subprogs_off + result->subprog_cnt * (u32)sizeof(struct image_subprog);
	u32 size = ALIGN_UP(maps_off + result->map_cnt * (u32)sizeof(struct image_map_ref), 8u);
	struct image_header *image = calloc(1, size);
	struct image_subprog *subprogs;
	struct image_map_ref *maps;

	if (!image)
		return NULL;
	image->magic = IMAGE_MAGIC;
	image->total_size = size;
	image->prog_id = 1;
	image->insn_cnt = length;
	image->insns_off = insns_off;
	image->subprog_cnt = result->subprog_cnt;
	image->subprogs_off = subprogs_off;
	image->map_cnt = result->map_cnt;
	image->maps_off = image->tails_off = maps_off;
	image->ctx_words = result->ctx_words;
	image->facts = result->facts;
	memcpy((char *)image + insns_off, insns, length * sizeof(*insns));
	subprogs = (void *)((char *)image + subprogs_off);
	for (u32 i = 0; i < result->subprog_cnt; i++)
		subprogs[i] =
			(struct image_subprog){.start = result->subprogs[i].start,
					       .stack_depth = result->subprogs[i].stack_depth};
	maps = (void *)((char *)image + maps_off);
	for (u32 i = 0; i < result->map_cnt; i++)
		maps[i].map_id = result->map_ids[i];
	return image;
}

static void fill(struct memory *input)
{
	memset(input, 0, sizeof(*input));
	for (u32 i = 0; i < ARRAY_SIZE(input->value); i++)
		input->value[i] = number_in();
	for (u32 i = 0; i < sizeof(input->ctx.bytes); i++)
		input->ctx.bytes[i] = (u8)number_in();
}

/* Returns what differs, or NULL. */
static const char *compare(const struct image_header *image, const struct exec_code *code)
{
	static struct memory input, wanted;
	u64 want, got;

	for (u32 i = 0; i < INPUTS; i++) {
		fill(&input);
		memory = input;
		want = exec_interpret(image, &env, ptr_to_u64(&memory.ctx), 0);
		wanted = memory;
		memory = input;
		got = code->entry(ptr_to_u64(&memory.ctx), 0);
		if (got != want)
			return "r0 differs";
		if (memcmp(memory.value, wanted.value, sizeof(wanted.value)))
			return "the map's value differs";
		if (memcmp(&memory.ctx, &wanted.ctx, sizeof(wanted.ctx)))
			return "the context differs";
	}
	return NULL;
}

static void show(u64 start, const char *difference)
{
	char line[256];

	printf("seed %llu: %s\n", (unsigned long long)start, difference);
	for (u32 i = 0; i < length; i++) {
		disasm_insn(&program[i], line, sizeof(line));
		printf("%4u: %s\n", i, line);
		i += insn_is_ld_imm64(&program[i]);
	}
}

/* -1: not accepted; else the number of differences. */
static int judge(u64 start)
{
	static struct verify_result result;
	struct bpf_insn copy[MAX_INSNS];
	struct image_header *image;
	struct exec_code *code;
	const char *difference;

	make_program(start);
	if (!accepted(copy, &result))
		return -1;
	image = make_image(copy, &result);
	if (!image || exec_compile(image, &env, 0, false, &code)) {
		show(start, "it does not compile");
		free(image);
		return 1;
	}
	difference = compare(image, code);
	if (difference)
		show(start, difference);
	exec_free(code);
	free(image);
	return difference != NULL;
}

int main(int argc, char **argv)
{
	const char *asked = getenv("INLAY_PROGRAMS");
	u64 wanted = strtoull(asked ? asked : argc > 1 ? argv[1] : "1000", NULL, 0);
	u64 seed_now = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	u64 made = 0, ran = 0, differences = 0;

	features_allowed = FEATURE_ATOMIC;
	for (; ran < wanted && differences < 5; made++, seed_now++) {
		int found = judge(seed_now);

		ran += found >= 0;
		differences += found > 0;
	}
	printf("engines_run: %llu programs, %llu accepted and run with %u inputs each, %llu differences\n",
	       (unsigned long long)made, (unsigned long long)ran, INPUTS,
	       (unsigned long long)differences);
	return differences != 0;
}
