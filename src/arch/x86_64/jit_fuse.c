/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs of BPF instructions that are fewer machine instructions together than one by one. Every pattern leaves each register
 * that some later instruction reads (unit->live) with the value it would have had; none is entered in the middle.
 */
#include "arch/x86_64/jit.h"
#include "format/insn.h"

#define NO_REG 0xff

/* Of a sum, so that an offset of 16 bits may be added. */
#define MAX_DISP (1 << 30)

/* Instructions from index on that run together: the last one may not be passed, nor a place that is jumped to. */
static u32 run_length(const struct jit_unit *unit, u32 index, u32 limit)
{
	u32 end = jit_unit_sub(unit, index)->end, length = 1;

	while (length < limit && index + length < end && !unit->targets[index + length])
		length++;
	return length;
}

static bool is_dead(const struct jit_unit *unit, u32 index, u8 reg)
{
	return !(unit->live[index] & 1u << reg);
}

static bool is(const struct bpf_insn *insn, u8 code)
{
	return insn->code == code;
}

static bool is_move(const struct bpf_insn *insn)
{
	return is(insn, BPF_ALU64 | BPF_MOV | BPF_X) && !insn->off;
}

/* An address as the machine can add it up: base + (index << scale) + disp, in BPF registers. */
struct sum {
	u8 base, index, scale;
	s32 disp;
};

/* Takes one more "to += operand" into the sum that is to become `to`. base is `to` itself until a move names another. */
static bool sum_add(struct sum *sum, const struct bpf_insn *insn, u8 to)
{
	s64 disp = (s64)sum->disp + insn->imm;

	if (insn->dst_reg != to)
		return false;
	if (is(insn, BPF_ALU64 | BPF_ADD | BPF_K) && disp == (s32)disp) {
		sum->disp = (s32)disp;
		return true;
	}
	if (is(insn, BPF_ALU64 | BPF_ADD | BPF_X) && sum->index == NO_REG && insn->src_reg != to) {
		sum->index = insn->src_reg;
		return true;
	}
	return false;
}

static void emit_sum(struct codebuf *buf, u32 size, u32 opcode, u8 reg, const struct sum *sum)
{
	struct asm_index at = {.disp = sum->disp, .base = jit_reg[sum->base], .scale = sum->scale};

	if (sum->index == NO_REG) {
		asm_mem(buf, size, opcode, reg, at.base, at.disp);
		return;
	}
	at.index = jit_reg[sum->index];
	asm_mem_index(buf, size, opcode, reg, &at);
}

/* A plain load or store at the sum, instead of at the register it would have been in. */
static bool emit_access(struct codebuf *buf, const struct bpf_insn *insn, const struct sum *at)
{
	static const u16 loads[] = {[1] = 0x0fb6, [2] = 0x0fb7, [4] = 0x8b, [8] = 0x8b};
	u32 size = insn_access_size(insn);
	struct sum sum = *at;
	s64 disp = (s64)sum.disp + insn->off;

	if (insn_mode(insn) != BPF_MEM || disp != (s32)disp)
		return false;
	sum.disp = (s32)disp;
	switch (insn_class(insn)) {
	case BPF_LDX:
		emit_sum(buf, size == 8 ? 8 : 4, loads[size], jit_reg[insn->dst_reg], &sum);
		return true;
	case BPF_STX:
		emit_sum(buf, size, size == 1 ? 0x88 : 0x89, jit_reg[insn->src_reg], &sum);
		return true;
	case BPF_ST:
		emit_sum(buf, size, size == 1 ? 0xc6 : 0xc7, 0, &sum);
		codebuf_put(buf, (u32)insn->imm, MIN(size, 4u));
		return true;
	}
	return false;
}

/* Is the access through `to`, and the last that anybody sees of it? */
static bool ends_in_access(const struct jit_unit *unit, u32 index, u8 to)
{
	const struct bpf_insn *insn = &unit->insns[index];

	switch (insn_class(insn)) {
	case BPF_LDX:
		return insn->src_reg == to && (insn->dst_reg == to || is_dead(unit, index, to));
	case BPF_STX:
		return insn->dst_reg == to && insn->src_reg != to && is_dead(unit, index, to);
	case BPF_ST:
		return insn->dst_reg == to && is_dead(unit, index, to);
	}
	return false;
}

/* v = *at; v op= ...; *at = v; with v dead behind it: one instruction on memory. at: the load's register and offset. */
static bool is_update(const struct jit_unit *unit, u32 index, u8 *ret_digit)
{
	static const u8 digits[16] = {[BPF_ADD >> 4] = ASM_ADD,
				      [BPF_SUB >> 4] = ASM_SUB,
				      [BPF_OR >> 4] = ASM_OR,
				      [BPF_AND >> 4] = ASM_AND,
				      [BPF_XOR >> 4] = ASM_XOR};
	const struct bpf_insn *load = &unit->insns[index], *op = load + 1, *store = load + 2;
	u32 size = insn_access_size(load);
	u8 value = load->dst_reg, base = load->src_reg;

	if (insn_class(load) != BPF_LDX || insn_mode(load) != BPF_MEM || size < 4 ||
	    value == base || run_length(unit, index, 3) < 3)
		return false;
	if (insn_class(op) != (size == 8 ? BPF_ALU64 : BPF_ALU) || op->dst_reg != value ||
	    (insn_uses_reg(op) && op->src_reg == value))
		return false;
	*ret_digit = digits[insn_op(op) >> 4];
	if ((!*ret_digit && insn_op(op) != BPF_ADD) || insn_op(op) == BPF_END)
		return false;
	return insn_class(store) == BPF_STX && insn_mode(store) == BPF_MEM &&
	       insn_access_size(store) == size && store->dst_reg == base &&
	       store->src_reg == value && store->off == load->off &&
	       is_dead(unit, index + 2, value);
}

static void emit_update(struct codebuf *buf, const struct bpf_insn *load, u8 digit,
			const struct sum *at)
{
	const struct bpf_insn *op = load + 1;
	u32 size = insn_access_size(load);
	bool is_short = op->imm == (s8)op->imm;
	struct sum sum = *at;

	sum.disp += load->off;
	if (insn_uses_reg(op)) {
		emit_sum(buf, size, (u32)digit << 3 | 1, jit_reg[op->src_reg], &sum);
		return;
	}
	emit_sum(buf, size, is_short ? 0x83 : 0x81, digit, &sum);
	codebuf_put(buf, (u32)op->imm, is_short ? 1 : 4);
}

static u32 fuse_update(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *load = &unit->insns[index];
	struct sum sum = {.base = load->src_reg, .index = NO_REG};
	u8 digit;

	if (!is_update(unit, index, &digit))
		return 0;
	emit_update(buf, load, digit, &sum);
	return 3;
}

/*
 * What at index uses the address that is in `to` (and in sum) for the last time: an access, or an update. x: the index that
 * was shifted in place, or NO_REG. Returns how many instructions were emitted as one.
 */
static u32 fuse_last_use(struct codebuf *buf, const struct jit_unit *unit, u32 index, u8 to, u8 x,
			 const struct sum *sum)
{
	const struct bpf_insn *insn = &unit->insns[index];
	bool loads_x = insn_class(insn) == BPF_LDX && insn->dst_reg == x;
	u8 digit;

	if (sum->disp > MAX_DISP || sum->disp < -MAX_DISP)
		return 0;
	if (is_update(unit, index, &digit) && insn->src_reg == to && is_dead(unit, index + 2, to) &&
	    (x == NO_REG || loads_x || is_dead(unit, index + 2, x)) &&
	    !(insn_uses_reg(insn + 1) && (insn[1].src_reg == to || insn[1].src_reg == x)) &&
	    insn->dst_reg != sum->base && (insn->dst_reg != sum->index || loads_x)) {
		emit_update(buf, insn, digit, sum);
		return 3;
	}
	if (!ends_in_access(unit, index, to) || insn_mode(insn) != BPF_MEM ||
	    (x != NO_REG && !loads_x && !is_dead(unit, index, x)) ||
	    (insn_class(insn) == BPF_STX && insn->src_reg == x))
		return 0;
	return emit_access(buf, insn, sum) ? 1 : 0;
}

/* [to = base;] to += ...; to += ...; and perhaps an access through it. */
static u32 fuse_sum(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 length = run_length(unit, index, 4), used = 0;
	u8 to = insn->dst_reg;
	struct sum sum = {.base = to, .index = NO_REG};

	if (is_move(insn) && insn->src_reg != to) {
		sum.base = insn->src_reg;
		used++;
	}
	while (used < length && sum_add(&sum, &insn[used], to))
		used++;
	if (used && used < length) {
		u32 more = fuse_last_use(buf, unit, index + used, to, NO_REG, &sum);

		if (more)
			return used + more;
	}
	/* One addition by itself, and a move by itself, are as short as they get. */
	if (used < 2)
		return 0;
	emit_sum(buf, 8, 0x8d, jit_reg[to], &sum);
	return used;
}

static bool is_address(const struct bpf_insn *insn)
{
	return insn_is_ld_imm64(insn) && insn->src_reg != INSN_PSEUDO_FUNC;
}

/* Is the constant at index near the one that is in a register? Then the sum begins at that. */
static bool begin_near(const struct jit_unit *unit, u32 index, struct sum *sum)
{
	const struct jit_sub *sub = jit_unit_sub(unit, index);
	s64 distance = (s64)(unit->values[index] - sub->near);
	bool kept = sub->used & 1u << JIT_NEAR_KEPT;

	if (!kept && !(sub->used & 1u << JIT_NEAR_FREE))
		return false;
	if (distance >= JIT_NEAR_REACH || distance <= -JIT_NEAR_REACH)
		return false;
	sum->base = kept ? JIT_NEAR_KEPT : JIT_NEAR_FREE;
	sum->disp = (s32)distance;
	return true;
}

/* to = constant; [to += ...; and perhaps an access through it]. */
static u32 fuse_constant(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 length = run_length(unit, index, 6), used = 2, more;
	struct sum sum = {.index = NO_REG};
	u64 value = unit->values[index];

	if (!is_address(insn))
		return 0;
	if (!begin_near(unit, index, &sum)) {
		for (; used < length && is(&insn[used], BPF_ALU64 | BPF_ADD | BPF_K) &&
		       insn[used].dst_reg == insn->dst_reg;
		     used++)
			value += (u64)(s64)insn[used].imm;
		asm_mov_imm(buf, jit_reg[insn->dst_reg], value);
		return used;
	}
	while (used < length && sum_add(&sum, &insn[used], insn->dst_reg))
		used++;
	more = used < length ? fuse_last_use(buf, unit, index + used, insn->dst_reg, NO_REG, &sum)
			     : 0;
	if (!more && sum.index == NO_REG && !sum.disp)
		asm_mov(buf, 8, jit_reg[insn->dst_reg], jit_reg[sum.base]);
	else if (!more)
		emit_sum(buf, 8, 0x8d, jit_reg[insn->dst_reg], &sum);
	return used + more;
}

/* x <<= 1, 2, 3; [to = constant or base;] to += ...; to += x; and an access through it: an array's element. */
static u32 fuse_element(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 length = run_length(unit, index, 7), used = 1;
	u8 x = insn->dst_reg, to;
	struct sum sum = {.index = NO_REG};
	u32 start = buf->size, more;
	bool constant;

	if (!is(insn, BPF_ALU64 | BPF_LSH | BPF_K) || insn->imm < 1 || insn->imm > 3 || length < 3)
		return 0;
	constant = is_address(&insn[1]);
	to = sum.base = insn[1].dst_reg;
	if (constant) {
		used = 3;
		constant = !begin_near(unit, index + 1, &sum);
	} else if (is_move(&insn[1])) {
		sum.base = insn[1].src_reg;
		used = 2;
	}
	while (used < length && sum_add(&sum, &insn[used], to))
		used++;
	if (to == x || sum.base == x || sum.index != x || used >= length)
		return 0;
	sum.scale = (u8)insn->imm;
	/* Taken back when it turns out that nothing can be fused: then it is emitted again in its place. */
	if (constant)
		asm_mov_imm(buf, jit_reg[to], unit->values[index + 1]);
	more = fuse_last_use(buf, unit, index + used, to, x, &sum);
	if (!more)
		buf->size = start;
	return more ? used + more : 0;
}

/* a = b; a >>= 64 - n; then b <<= n; b |= a   or   c = b; c <<= n; c |= a; with a dead: a rotation. Shifts in any order. */
static u32 fuse_rotate(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index], *shift = insn + 2;
	u32 length = run_length(unit, index, 5), used = 4;
	u8 a = insn->dst_reg, b = insn->src_reg, to = b, op = insn_op(insn + 1);

	if (length < 4 || !is_move(insn) || a == b || insn[1].dst_reg != a ||
	    (op != BPF_LSH && op != BPF_RSH) || insn[1].code != (BPF_ALU64 | BPF_K | op))
		return 0;
	if (is_move(shift) && shift->src_reg == b && shift->dst_reg != a && length == 5) {
		to = shift->dst_reg;
		shift++;
		used = 5;
	}
	if (shift->dst_reg != to ||
	    shift->code != (BPF_ALU64 | BPF_K | (op == BPF_LSH ? BPF_RSH : BPF_LSH)) ||
	    shift->imm + insn[1].imm != 64 || !is(shift + 1, BPF_ALU64 | BPF_OR | BPF_X) ||
	    shift[1].dst_reg != to || shift[1].src_reg != a || !is_dead(unit, index + used - 1, a))
		return 0;
	asm_mov(buf, 8, jit_reg[to], jit_reg[b]);
	asm_shift_imm(buf, 8, ASM_ROL, jit_reg[to], (u8)(op == BPF_LSH ? insn[1].imm : shift->imm));
	return used;
}

u32 jit_fuse(struct codebuf *buf, const struct jit_unit *unit, u32 index)
{
	const struct bpf_insn *insn = &unit->insns[index];
	u32 used = 0;

	switch (insn_class(insn)) {
	case BPF_LD:
		used = fuse_constant(buf, unit, index);
		break;
	case BPF_ALU64:
		used = fuse_rotate(buf, unit, index);
		if (!used)
			used = fuse_element(buf, unit, index);
		if (!used)
			used = fuse_sum(buf, unit, index);
		break;
	case BPF_JMP:
	case BPF_JMP32:
		used = jit_branch_over(buf, unit, index);
		if (!used)
			used = jit_branch_select(buf, unit, index);
		break;
	case BPF_LDX:
		used = fuse_update(buf, unit, index);
		break;
	}
	return used;
}
