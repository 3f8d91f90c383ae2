/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An interpreter that checks everything a program of generate.h does against the truth.
 *
 * Ground truth is the address: memory is the live frames of the stack, one value, the context, the packet and what is reserved in
 * the ring buffer, far apart, and every access must lie in one of them whole. A reservation ends when it is released, once,
 * from its start, and none is left when the program ends. Registers are marked when written; callbacks give 0 or 1; a program
 * must stop within the verifier's own limit.
 */
#ifndef INLAY_FUZZ_CHECKED_H
#define INLAY_FUZZ_CHECKED_H

#include <string.h>
#include <sys/mman.h>

#include "../tests/unit/verify/judge.h"
#include "exec/interp_alu.h"
#include "format/insn.h"

#define STEPS_MAX   2000000u
#define STACK_GAP   (1ull << 24)
#define ARENA_SIZE  ((INSN_MAX_FRAMES + 5 + RESERVE_CNT) * STACK_GAP)
#define CTX_SIZE    192u
#define MAP_TOKEN   0x7000000000000000ull
#define RING_TOKEN  0x7100000000000000ull
#define FUNC_TOKEN  0x7200000000000000ull /* plus the instruction */
#define PACKET_MAX  64u
#define RESERVE_CNT 8u
#define ROUNDS_MAX  24u /* of a bpf_loop: more of the same shows nothing new */

/* Memory of the run, STACK_GAP apart: frames from the arena's start, the value, the context, the packet, reservations. */
static char *arena;

struct run {
	u64 regs[11];
	u32 written; /* bit = register */
	struct {
		u64 saved[4];
		u32 return_to;
		u32 callback; /* its first instruction; 0: a call */
		u64 round, rounds, argument;
	} frames[INSN_MAX_FRAMES];
	u32 depth; /* calls made */
	u32 packet_size;
	u32 reserved[RESERVE_CNT]; /* bytes; 0: free */
	bool cut_short;		   /* a loop was ended at ROUNDS_MAX */
	/* Bytes of each frame's stack that were written, and whether others were read: allowed, but of no certain value. */
	u8 stored[INSN_MAX_FRAMES][INSN_MAX_STACK];
	bool guessed;
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

static char *packet_start(void)
{
	return arena + (INSN_MAX_FRAMES + 3) * STACK_GAP;
}

static char *reserve_start(u32 slot)
{
	return arena + (INSN_MAX_FRAMES + 4 + slot) * STACK_GAP;
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
	if (inside(address, size, value_start(), VALUE_SIZE) ||
	    inside(address, size, packet_start(), run->packet_size))
		return true;
	for (u32 i = 0; i < RESERVE_CNT; i++) {
		if (inside(address, size, reserve_start(i), run->reserved[i]))
			return true;
	}
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

/* A 32-bit field of XDP's context that is a pointer; NULL: it is not. */
static char *packet_field(const struct run *run, u64 address)
{
	if (!(features & FEATURE_PACKET))
		return NULL;
	if (address == ptr_to_u64(ctx_start()))
		return packet_start();
	return address == ptr_to_u64(ctx_start()) + 4 ? packet_start() + run->packet_size : NULL;
}

static void atomic(struct run *run, const struct bpf_insn *insn, u64 address, u32 size)
{
	u64 given = get(run, insn->src_reg), old = 0, new;

	if (run->violation)
		return;
	memcpy(&old, ptr_from_u64(address), size);
	if (size == 4)
		given = (u32)given;
	switch (insn->imm & ~BPF_FETCH) {
	case BPF_ADD:
		new = old + given;
		break;
	case BPF_AND:
		new = old &given;
		break;
	case BPF_OR:
		new = old | given;
		break;
	case BPF_XOR:
		new = old ^ given;
		break;
	default: /* exchanges */
		new = given;
		break;
	}
	if (insn->imm == BPF_CMPXCHG) {
		u64 expected = get(run, 0);

		if (old != (size == 4 ? (u32)expected : expected))
			new = old;
		set(run, 0, old);
	} else if (insn->imm & BPF_FETCH) {
		set(run, insn->src_reg, old);
	}
	memcpy(ptr_from_u64(address), &new, size);
}

/* Of an access that is allowed. */
static void note_stack(struct run *run, u64 address, u32 size, bool write)
{
	for (u32 i = 0; i <= run->depth; i++) {
		u64 start = ptr_to_u64(stack_end(i) - INSN_MAX_STACK);

		if (address < start || address >= start + INSN_MAX_STACK)
			continue;
		for (u32 byte = 0; byte < size; byte++) {
			u8 *stored = &run->stored[i][address - start + byte];

			run->guessed |= !write && !*stored;
			*stored |= write;
		}
	}
}

static void access_memory(struct run *run, const struct bpf_insn *insn)
{
	bool load = insn_class(insn) == BPF_LDX;
	u32 size = insn_access_size(insn);
	u64 address = get(run, load ? insn->src_reg : insn->dst_reg) + (u64)(s64)insn->off,
	    value = 0;
	char *pointer = load ? packet_field(run, address) : NULL;

	if (pointer) {
		set(run, insn->dst_reg, ptr_to_u64(pointer));
		return;
	}
	if (!load)
		value = insn_class(insn) == BPF_ST ? (u64)(s64)insn->imm : get(run, insn->src_reg);
	if (!may_access(run, address, size, !load)) {
		run->violation = "memory outside every region is accessed";
		return;
	}
	note_stack(run, address, size,
		   !load && !(insn_class(insn) == BPF_STX && insn_mode(insn) == BPF_ATOMIC));
	if (insn_class(insn) == BPF_STX && insn_mode(insn) == BPF_ATOMIC) {
		atomic(run, insn, address, size);
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

static void reserve(struct run *run)
{
	u64 size = get(run, 2);
	u32 slot = 0;

	if (get(run, 1) != RING_TOKEN)
		run->violation = "a helper gets no ring buffer";
	while (slot < RESERVE_CNT && run->reserved[slot])
		slot++;
	run->written &= ~0x3fu;
	if (slot == RESERVE_CNT || size > judge_ring.max_entries || !pick(4)) {
		set(run, 0, 0);
		return;
	}
	run->reserved[slot] = (u32)size;
	set(run, 0, ptr_to_u64(reserve_start(slot)));
}

static void release(struct run *run)
{
	u64 given = get(run, 1);
	u32 slot = 0;

	get(run, 2);
	while (slot < RESERVE_CNT &&
	       (!run->reserved[slot] || given != ptr_to_u64(reserve_start(slot))))
		slot++;
	if (slot == RESERVE_CNT)
		run->violation = "what is released is no reservation";
	else
		run->reserved[slot] = 0;
	run->written &= ~0x3fu;
}

/* A frame for a function or a callback, whose argument registers are those written. */
static bool push_frame(struct run *run, u32 return_to, u32 written)
{
	if (run->depth + 1 == INSN_MAX_FRAMES) {
		run->violation = "too many calls are nested";
		return false;
	}
	memcpy(run->frames[run->depth].saved, &run->regs[6], sizeof(run->frames[0].saved));
	run->frames[run->depth].callback = 0;
	run->frames[run->depth++].return_to = return_to;
	run->written = written | 1u << 10;
	run->regs[10] = ptr_to_u64(stack_end(run->depth));
	memset(run->stored[run->depth], 0, sizeof(run->stored[0]));
	return true;
}

static void pop_frame(struct run *run)
{
	memcpy(&run->regs[6], run->frames[--run->depth].saved, sizeof(run->frames[0].saved));
	run->written = (run->written & 1u) | 0x7c0u;
	run->regs[10] = ptr_to_u64(stack_end(run->depth));
}

static u32 enter(struct run *run, u32 at, const struct bpf_insn *insn)
{
	return push_frame(run, at + 1, run->written & 0x3eu) ? at + 1 + (u32)insn->imm : at;
}

/* The next round of the callback whose frame is on top. */
static u32 next_round(struct run *run)
{
	u32 top = run->depth - 1;

	run->written = 1u << 1 | 1u << 2 | 1u << 10;
	run->regs[1] = run->frames[top].round++;
	run->regs[2] = run->frames[top].argument;
	return run->frames[top].callback;
}

static u32 loop(struct run *run, u32 at)
{
	u64 rounds = get(run, 1), callback = get(run, 2), argument = get(run, 3);

	if (get(run, 4) || callback < FUNC_TOKEN || callback >= FUNC_TOKEN + length)
		run->violation = "bpf_loop gets flags or no callback";
	run->written &= ~0x3fu;
	set(run, 0, rounds);
	if (!rounds || run->violation)
		return at + 1;
	if (!push_frame(run, at + 1, 0))
		return at;
	run->frames[run->depth - 1].callback = (u32)(callback - FUNC_TOKEN);
	run->frames[run->depth - 1].round = 0;
	run->frames[run->depth - 1].rounds = MIN(rounds, ROUNDS_MAX);
	run->cut_short |= rounds > ROUNDS_MAX;
	run->frames[run->depth - 1].argument = argument;
	return next_round(run);
}

/* The instruction that follows; length at the end of the program. */
static u32 leave(struct run *run)
{
	u64 result = get(run, 0);
	u32 top = run->depth - 1;

	if (!run->depth) {
		for (u32 i = 0; i < RESERVE_CNT; i++) {
			if (run->reserved[i])
				run->violation = "a reservation is left at the end";
		}
		return length;
	}
	if (run->frames[top].callback) {
		if (result > 1)
			run->violation = "a callback gives neither 0 nor 1";
		if (!result && run->frames[top].round < run->frames[top].rounds)
			return next_round(run);
		set(run, 0, run->frames[top].round);
	}
	pop_frame(run);
	return run->frames[run->depth].return_to;
}

/* The instruction that follows. */
static u32 helper(struct run *run, u32 at, const struct bpf_insn *insn)
{
	switch (insn->imm) {
	case BPF_FUNC_ringbuf_reserve:
		reserve(run);
		return at + 1;
	case BPF_FUNC_ringbuf_submit:
	case BPF_FUNC_ringbuf_discard:
		release(run);
		return at + 1;
	case BPF_FUNC_loop:
		return loop(run, at);
	default:
		lookup(run);
		return at + 1;
	}
}

static bool is_address(u64 value)
{
	return inside(value, 1, arena, (u32)ARENA_SIZE);
}

/* Addresses are positive here and negative in a kernel: how they compare with a number is of no certain value. */
static void note_comparison(struct run *run, const struct bpf_insn *insn, u64 left, u64 right)
{
	if (insn_op(insn) != BPF_JEQ && insn_op(insn) != BPF_JNE)
		run->guessed |= is_address(left) != is_address(right);
}

static u32 jump(struct run *run, u32 at, const struct bpf_insn *insn)
{
	u64 left, right;

	if (insn_op(insn) == BPF_EXIT)
		return leave(run);
	if (insn_op(insn) == BPF_CALL && insn_is_call_subprog(insn))
		return enter(run, at, insn);
	if (insn_op(insn) == BPF_CALL)
		return helper(run, at, insn);
	if (insn_op(insn) == BPF_JA)
		return at + 1 + (u32)insn->off;
	left = get(run, insn->dst_reg);
	right = insn_uses_reg(insn) ? get(run, insn->src_reg) : (u64)(s64)insn->imm;
	note_comparison(run, insn, left, right);
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
		set(run, insn->dst_reg,
		    insn->src_reg == BPF_PSEUDO_FUNC ? FUNC_TOKEN + at + 1 + (u32)insn->imm
		    : insn->imm == ring_fd	     ? RING_TOKEN
						     : MAP_TOKEN);
		return at + 2;
	case BPF_JMP:
	case BPF_JMP32:
		return jump(run, at, insn);
	default:
		access_memory(run, insn);
		return at + 1;
	}
}

/* What a program is given. */
struct inputs {
	u64 value[VALUE_SIZE / 8];
	u32 ctx[CTX_SIZE / 4];
	char packet[PACKET_MAX];
	u32 packet_size;
};

static void make_inputs(struct inputs *inputs)
{
	for (u32 i = 0; i < ARRAY_SIZE(inputs->value); i++)
		inputs->value[i] = number_in();
	for (u32 i = 0; i < ARRAY_SIZE(inputs->ctx); i++)
		inputs->ctx[i] = (u32)number_in();
	for (u32 i = 0; i < PACKET_MAX; i++)
		inputs->packet[i] = (char)pick(256);
	inputs->packet_size = pick(PACKET_MAX + 1);
}

/* A place for runs, with STACK_GAP to spare; NULL: no memory. Set `arena` to it before a run. */
static char *make_arena(void)
{
	void *at = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* Runs the program; run->violation says what it did that it must not, and *ret_at where. */
static void run_checked(struct run *run, const struct inputs *inputs, u32 *ret_at)
{
	u32 at = 0, steps = 0;

	*run = (struct run){.written = 1u << 1 | 1u << 10, .packet_size = inputs->packet_size};
	memcpy(value_start(), inputs->value, sizeof(inputs->value));
	memcpy(ctx_start(), inputs->ctx, sizeof(inputs->ctx));
	memcpy(packet_start(), inputs->packet, sizeof(inputs->packet));
	run->regs[1] = ptr_to_u64(ctx_start());
	run->regs[10] = ptr_to_u64(stack_end(0));
	while (at < length && !run->violation) {
		*ret_at = at;
		at = step(run, at);
		if (++steps > STEPS_MAX)
			run->violation = "it does not end";
	}
}

#endif
