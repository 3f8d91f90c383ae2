/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs near the border of acceptance; those that the verifier accepts run in an interpreter that checks everything.
 *
 * usage: verify_run SECONDS [FIRST-SEED]
 *
 * Ground truth is the address: memory is the live frames of the stack, one value and the context, far apart, and every access
 * must lie in one of them whole. Registers are marked when written; a program must stop within the verifier's own limit.
 * Exit status 1: a violation, shown with its seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../tests/unit/verify/generate.h"
#include "../tests/unit/verify/kernel_protos.h"
#include "exec/interp_alu.h"
#include "format/disasm.h"
#include "format/insn.h"
#include "verify/verify.h"

#define INPUTS	  12
#define STEPS_MAX 2000000u
#define STACK_GAP (1ull << 24)
#define CTX_SIZE  192u
#define MAP_TOKEN 0x7000000000000000ull

static struct verify_map map = {
	.id = 1,
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 8,
	.value_size = VALUE_SIZE,
	.max_entries = 1,
	.spin_lock_off = ~0u,
	.timer_off = ~0u,
};

static const struct verify_map *map_by_fd(void *opaque, int fd)
{
	(void)opaque;
	return fd == map_fd ? &map : NULL;
}

static const struct verify_host host = {kernel_proto, kernel_proto_allowed, map_by_fd, NULL};

/* Memory of the run: frames from the arena's start, STACK_GAP apart; then the value; then the context. */
static char *arena;

struct run {
	u64 regs[11];
	u32 written; /* bit = register */
	struct {
		u64 saved[4];
		u32 return_to;
	} frames[INSN_MAX_FRAMES];
	u32 depth; /* calls made */
	const char *violation;
};

static char *stack_end(u32 frame)
{
	return arena + (frame + 1) * STACK_GAP;
}

static char *value_start(void)
{
	return arena + (INSN_MAX_FRAMES + 1) * STACK_GAP;
}

static char *ctx_start(void)
{
	return arena + (INSN_MAX_FRAMES + 2) * STACK_GAP;
}

static bool inside(u64 address, u32 size, const char *start, u32 length_of)
{
	u64 from = ptr_to_u64(start);

	return address >= from && address + size <= from + length_of && address + size > address;
}

static bool may_access(const struct run *run, u64 address, u32 size, bool write)
{
	for (u32 i = 0; i <= run->depth; i++) {
		if (inside(address, size, stack_end(i) - INSN_MAX_STACK, INSN_MAX_STACK))
			return true;
	}
	if (inside(address, size, value_start(), VALUE_SIZE))
		return true;
	return !write && inside(address, size, ctx_start(), CTX_SIZE);
}

static u64 get(struct run *run, u32 reg)
{
	if (!(run->written & 1u << reg))
		run->violation = "a register that was never written is read";
	return run->regs[reg];
}

static void set(struct run *run, u32 reg, u64 value)
{
	run->regs[reg] = value;
	run->written |= 1u << reg;
}

static void access(struct run *run, const struct bpf_insn *insn)
{
	bool load = insn_class(insn) == BPF_LDX;
	u32 size = insn_access_size(insn);
	u64 address = get(run, load ? insn->src_reg : insn->dst_reg) + (u64)(s64)insn->off,
	    value = 0;

	if (!load)
		value = insn_class(insn) == BPF_ST ? (u64)(s64)insn->imm : get(run, insn->src_reg);
	if (!may_access(run, address, size, !load)) {
		run->violation = "memory outside every region is accessed";
		return;
	}
	if (load) {
		memcpy(&value, ptr_from_u64(address), size);
		set(run, insn->dst_reg, value);
	} else {
		memcpy(ptr_from_u64(address), &value, size);
	}
}

static void alu(struct run *run, const struct bpf_insn *insn)
{
	bool move = insn_op(insn) == BPF_MOV;
	u64 from = insn_uses_reg(insn) ? get(run, insn->src_reg) : (u64)(s64)insn->imm;
	u64 to = move ? 0 : get(run, insn->dst_reg);

	set(run, insn->dst_reg,
	    insn_class(insn) == BPF_ALU64 ? interp_alu64(insn, to, from)
					  : interp_alu32(insn, (u32)to, (u32)from));
}

static void lookup(struct run *run)
{
	u64 key = get(run, 2), given = get(run, 1);

	if (given != MAP_TOKEN)
		run->violation = "a helper gets no map";
	else if (!may_access(run, key, 8, false))
		run->violation = "a helper's key lies outside every region";
	run->written &= ~0x3fu;
	set(run, 0, ptr_to_u64(value_start()));
}

static u32 enter(struct run *run, u32 at, const struct bpf_insn *insn)
{
	if (run->depth + 1 == INSN_MAX_FRAMES) {
		run->violation = "too many calls are nested";
		return at;
	}
	memcpy(run->frames[run->depth].saved, &run->regs[6], sizeof(run->frames[0].saved));
	run->frames[run->depth++].return_to = at + 1;
	run->written = (run->written & 0x3eu) | 1u << 10;
	run->regs[10] = ptr_to_u64(stack_end(run->depth));
	return at + 1 + (u32)insn->imm;
}

/* The instruction that follows; length at the end of the program. */
static u32 leave(struct run *run)
{
	get(run, 0);
	if (!run->depth)
		return length;
	memcpy(&run->regs[6], run->frames[--run->depth].saved, sizeof(run->frames[0].saved));
	run->written = (run->written & 1u) | 0x7c0u;
	run->regs[10] = ptr_to_u64(stack_end(run->depth));
	return run->frames[run->depth].return_to;
}

static u32 jump(struct run *run, u32 at, const struct bpf_insn *insn)
{
	u64 left, right;

	if (insn_op(insn) == BPF_EXIT)
		return leave(run);
	if (insn_op(insn) == BPF_CALL && insn_is_call_subprog(insn))
		return enter(run, at, insn);
	if (insn_op(insn) == BPF_CALL) {
		lookup(run);
		return at + 1;
	}
	if (insn_op(insn) == BPF_JA)
		return at + 1 + (u32)insn->off;
	left = get(run, insn->dst_reg);
	right = insn_uses_reg(insn) ? get(run, insn->src_reg) : (u64)(s64)insn->imm;
	if (insn_class(insn) == BPF_JMP32) {
		left = (u64)(s64)(s32)left;
		right = (u64)(s64)(s32)right;
	}
	return at + 1 + (interp_compare(insn_op(insn), left, right) ? (u32)insn->off : 0);
}

static u32 step(struct run *run, u32 at)
{
	const struct bpf_insn *insn = &program[at];

	switch (insn_class(insn)) {
	case BPF_ALU:
	case BPF_ALU64:
		alu(run, insn);
		return at + 1;
	case BPF_LD:
		set(run, insn->dst_reg, MAP_TOKEN);
		return at + 2;
	case BPF_JMP:
	case BPF_JMP32:
		return jump(run, at, insn);
	default:
		access(run, insn);
		return at + 1;
	}
}

/* Numbers that a program may be given: borders as often as anything. */
static u64 number_in(void)
{
	u64 any = (u64)pick(UINT32_MAX) << 32 | pick(UINT32_MAX);

	switch (pick(4)) {
	case 0:
		return any;
	case 1:
		return (u64)(s64)interesting();
	case 2:
		return any >> pick(64);
	default:
		return (u64)pick(64);
	}
}

static const char *run_program(u32 *ret_at)
{
	struct run run = {.written = 1u << 1 | 1u << 10};
	u32 at = 0, steps = 0;
	u64 *value = (u64 *)(void *)value_start();
	u32 *ctx = (u32 *)(void *)ctx_start();

	for (u32 i = 0; i < VALUE_SIZE / 8; i++)
		value[i] = number_in();
	for (u32 i = 0; i < CTX_SIZE / 4; i++)
		ctx[i] = (u32)number_in();
	run.regs[1] = ptr_to_u64(ctx);
	run.regs[10] = ptr_to_u64(stack_end(0));
	while (at < length && !run.violation) {
		*ret_at = at;
		at = step(&run, at);
		if (++steps > STEPS_MAX)
			run.violation = "it does not end";
	}
	return run.violation;
}

static int verdict(void)
{
	struct bpf_insn copy[MAX_INSNS];
	struct verify_result result;
	struct verify_log log = {0};
	struct verify_request request = {
		.insns = copy,
		.insn_cnt = length,
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.gpl = true,
		.privileged = true,
		.max_insns = 20000,
	};
	int error;

	memcpy(copy, program, sizeof(copy));
	error = verify_program(&request, &host, &log, &result);
	verify_log_free(&log);
	return error;
}

static void show(u64 start, const char *violation, u32 at)
{
	char line[256];

	printf("seed %llu, instruction %u: %s\n", (unsigned long long)start, at, violation);
	for (u32 i = 0; i < length; i++) {
		disasm_insn(&program[i], line, sizeof(line));
		printf("%4u: %s\n", i, line);
		i += insn_is_ld_imm64(&program[i]);
	}
}

static bool judge(u64 start, bool *ret_accepted)
{
	seed = start * 0x9e3779b97f4a7c15ull + 1;
	map_fd = 3;
	generate();
	*ret_accepted = !verdict();
	for (u32 i = 0; *ret_accepted && i < INPUTS; i++) {
		u32 at = 0;
		const char *violation = run_program(&at);

		if (violation) {
			show(start, violation, at);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 10;
	u64 start = argc > 2 ? strtoull(argv[2], NULL, 0) : (u64)time(NULL) << 20;
	time_t end = time(NULL) + (time_t)seconds;
	u64 programs = 0, accepted = 0, violations = 0;

	arena = mmap(NULL, (INSN_MAX_FRAMES + 3) * STACK_GAP, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return 2;
	for (; time(NULL) < end && violations < 5; programs++, start++) {
		bool yes;

		violations += !judge(start, &yes);
		accepted += yes;
	}
	printf("verify_run: %llu programs, %llu accepted and run with %u inputs each, %llu violations\n",
	       (unsigned long long)programs, (unsigned long long)accepted, INPUTS,
	       (unsigned long long)violations);
	return violations != 0;
}
