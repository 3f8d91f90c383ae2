/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interpreter: what each instruction means (RFC 9669), written to be read. The JIT is tested against it.
 *
 * It trusts the program as the JIT does, but for the depth of calls, since its own frames are an array.
 */
#include "exec/exec.h"

#include <linux/filter.h>

#include "base/mem.h"
#include "exec/fault.h"
#include "exec/interp_alu.h"
#include "exec/interp_callback.h"
#include "format/bpf_abi.h"
#include "format/insn.h"
#include "format/tail.h"

struct frame {
	const struct bpf_insn *return_to;
	const struct exec_env *return_env; /* that of return_to's program */
	u64 saved[4];			   /* the caller's r6 to r9 */
	u32 may_gotos;			   /* that have not jumped */
	u8 stack[INSN_MAX_STACK] __attribute__((aligned(8)));
};

struct machine {
	u64 reg[BPF_REG_10 + 1];
	const struct bpf_insn *insns;
	const struct exec_env *env;
	u32 depth;
	u32 tail_calls;
	const struct bpf_insn *callbacks[INTERP_CALLBACKS];
	struct frame frames[INSN_MAX_FRAMES];
};

/* The innermost run of this thread. */
static __thread struct machine *running;

/*
 * The program's addresses are not C's pointers: NULL is as good as any other bad one, and the fault handler's to refuse.
 * UBSan is told so; it would stop at NULL before the handler sees it.
 */
#define PROGRAM_ACCESS __attribute__((no_sanitize("null")))

static PROGRAM_ACCESS u64 load(u64 address, u32 size)
{
	switch (size) {
	case 1:
		return *(const volatile u8 *)ptr_from_u64(address);
	case 2: {
		u16 value;

		__builtin_memcpy(&value, ptr_from_u64(address), 2);
		return value;
	}
	case 4: {
		u32 value;

		__builtin_memcpy(&value, ptr_from_u64(address), 4);
		return value;
	}
	default: {
		u64 value;

		__builtin_memcpy(&value, ptr_from_u64(address), 8);
		return value;
	}
	}
}

static PROGRAM_ACCESS void store(u64 address, u32 size, u64 value)
{
	void *to = ptr_from_u64(address);

	switch (size) {
	case 1:
		__builtin_memcpy(to, &(u8){(u8)value}, 1);
		break;
	case 2:
		__builtin_memcpy(to, &(u16){(u16)value}, 2);
		break;
	case 4:
		__builtin_memcpy(to, &(u32){(u32)value}, 4);
		break;
	default:
		__builtin_memcpy(to, &value, 8);
		break;
	}
}

static u64 load_any(const struct machine *m, const struct bpf_insn *insn)
{
	u64 address = m->reg[insn->src_reg] + (u64)(s64)insn->off;
	u32 size = insn_access_size(insn);

	switch (insn_mode(insn)) {
	case INSN_MODE_MEMSX:
		return interp_sign_extend(load(address, size), size * 8);
	case INSN_MODE_PROBE_MEM:
		return fault_load(address, size);
	case INSN_MODE_PROBE_MEMSX:
		return interp_sign_extend(fault_load(address, size), size * 8);
	default:
		return load(address, size);
	}
}

static void store_any(struct machine *m, const struct bpf_insn *insn)
{
	u64 address = m->reg[insn->dst_reg] + (u64)(s64)insn->off;
	u32 size = insn_access_size(insn);

	if (insn_class(insn) == BPF_ST)
		store(address, size, (u64)(s64)insn->imm);
	else if (insn_mode(insn) != BPF_ATOMIC)
		store(address, size, m->reg[insn->src_reg]);
	else if (insn->imm == INSN_LOAD_ACQUIRE)
		m->reg[insn->dst_reg] =
			interp_load_acquire(m->reg[insn->src_reg] + (u64)(s64)insn->off, size);
	else if (insn->imm == INSN_STORE_RELEASE)
		interp_store_release(address, size, m->reg[insn->src_reg]);
	else if (size == 8)
		interp_atomic64(insn->imm, ptr_from_u64(address), &m->reg[insn->src_reg],
				&m->reg[0]);
	else
		interp_atomic32(insn->imm, ptr_from_u64(address), &m->reg[insn->src_reg],
				&m->reg[0]);
}

/* 0 when the run has too many of them: its helper says -EOPNOTSUPP. */
static u64 callback_address(struct machine *m, const struct bpf_insn *target)
{
	for (u32 i = 0; i < INTERP_CALLBACKS; i++) {
		if (!m->callbacks[i])
			m->callbacks[i] = target;
		if (m->callbacks[i] == target)
			return (u64)(uintptr_t)interp_callback_function(i);
	}
	return 0;
}

static u64 constant(struct machine *m, const struct bpf_insn *insn)
{
	const struct exec_env *env = m->env;

	switch (insn->src_reg) {
	case INSN_PSEUDO_MAP_FD:
		return ptr_to_u64(env->map_handle(env->opaque, (u32)insn->imm));
	case INSN_PSEUDO_MAP_VALUE:
		return ptr_to_u64(env->map_value(env->opaque, (u32)insn->imm, (u32)insn[1].imm));
	case INSN_PSEUDO_FUNC:
		return callback_address(m, insn + 1 + insn->imm);
	default:
		return insn_imm64(insn);
	}
}

static void call_helper(struct machine *m, u32 id)
{
	exec_helper_fn helper = m->env->helper ? m->env->helper(id) : NULL;

	m->reg[0] = helper ? helper(m->reg[1], m->reg[2], m->reg[3], m->reg[4], m->reg[5]) : 0;
}

static u64 frame_top(struct frame *frame)
{
	return ptr_to_u64(frame->stack + sizeof(frame->stack));
}

/* Returns where to go on, or NULL when the frames are used up. */
static const struct bpf_insn *enter(struct machine *m, const struct bpf_insn *insn)
{
	struct frame *frame;

	if (m->depth + 1 == INSN_MAX_FRAMES)
		return NULL;
	frame = &m->frames[++m->depth];
	frame->return_to = insn + 1;
	frame->return_env = m->env;
	frame->may_gotos = 0;
	for (u32 i = 0; i < 4; i++)
		frame->saved[i] = m->reg[BPF_REG_6 + i];
	m->reg[BPF_REG_10] = frame_top(frame);
	return insn + 1 + insn->imm;
}

static const struct bpf_insn *leave(struct machine *m)
{
	struct frame *frame = &m->frames[m->depth];

	if (m->depth == 0)
		return NULL;
	for (u32 i = 0; i < 4; i++)
		m->reg[BPF_REG_6 + i] = frame->saved[i];
	m->reg[BPF_REG_10] = frame_top(&m->frames[--m->depth]);
	m->env = frame->return_env;
	return frame->return_to;
}

/* The other program's first instruction, in the frame of this one; or the next instruction, where there is none. */
static const struct bpf_insn *tail_call(struct machine *m, const struct bpf_insn *insn)
{
	struct tail_slots *const *slots;
	struct tail_target *target;
	u32 key = (u32)m->reg[BPF_REG_3];

	if (!m->env->tail_slots || m->tail_calls >= TAIL_CALL_LIMIT)
		return insn + 1;
	slots = ptr_from_u64(m->reg[BPF_REG_2] + m->env->tail_slots);
	target = key < (*slots)->count ? __atomic_load_n(&(*slots)->slots[key], __ATOMIC_ACQUIRE)
				       : NULL;
	if (!target)
		return insn + 1;
	m->tail_calls++;
	m->frames[m->depth].may_gotos = 0;
	m->env = target->env;
	return image_insns(target->image);
}

static const struct bpf_insn *may_goto(struct machine *m, const struct bpf_insn *insn)
{
	u32 *count = &m->frames[m->depth].may_gotos;

	if (*count == INSN_MAY_GOTO_LIMIT)
		return insn + 1 + insn->off;
	++*count;
	return insn + 1;
}

/* Jumps, calls and exit. Returns the next instruction or NULL at the end of the program. */
static const struct bpf_insn *branch(struct machine *m, const struct bpf_insn *insn)
{
	bool wide = insn_class(insn) == BPF_JMP;
	u64 left = m->reg[insn->dst_reg];
	u64 right = insn_uses_reg(insn) ? m->reg[insn->src_reg] : (u64)(s64)insn->imm;

	switch (insn_op(insn)) {
	case BPF_EXIT:
		return leave(m);
	case BPF_CALL:
		if (insn_is_call_subprog(insn))
			return enter(m, insn);
		if (insn_is_tail_call(insn))
			return tail_call(m, insn);
		call_helper(m, (u32)(insn_uses_reg(insn) ? left : (u64)(s64)insn->imm));
		return insn + 1;
	case BPF_JA:
		return insn + 1 + (wide ? insn->off : insn->imm);
	case INSN_JCOND:
		return may_goto(m, insn);
	}
	if (!wide) {
		/* Sign-extended, 32-bit operands compare as 64-bit ones, in both orders. */
		left = (u64)(s64)(s32)left;
		right = (u64)(s64)(s32)right;
	}
	return insn + 1 + (interp_compare(insn_op(insn), left, right) ? insn->off : 0);
}

static void alu(struct machine *m, const struct bpf_insn *insn)
{
	u64 *to = &m->reg[insn->dst_reg];
	u64 operand = insn_uses_reg(insn) ? m->reg[insn->src_reg] : (u64)(s64)insn->imm;

	if (insn_op(insn) == BPF_END)
		*to = interp_endian(insn, *to);
	else if (insn_class(insn) == BPF_ALU64)
		*to = interp_alu64(insn, *to, operand);
	else
		*to = interp_alu32(insn, (u32)*to, (u32)operand);
}

/* Where in the packet an offset of BPF_ABS and BPF_IND is; from SKF_* on, in a header. */
static u64 packet_address(const struct abi_packet_context *packet, s32 offset)
{
	if (offset >= 0)
		return packet->data + (u64)offset;
	if (offset >= SKF_NET_OFF)
		return packet->network_header + (u64)(s64)(offset - SKF_NET_OFF);
	return packet->link_header + (u64)(s64)(offset - SKF_LL_OFF);
}

/*
 * BPF_ABS and BPF_IND: bytes of the packet, in host order. r6 holds the context. Outside the packet the function returns 0.
 */
static const struct bpf_insn *load_packet(struct machine *m, const struct bpf_insn *insn)
{
	const struct abi_packet_context *packet = ptr_from_u64(m->reg[BPF_REG_6]);
	u64 size = insn_access_size(insn), value = 0, address;
	u32 offset = (u32)insn->imm;

	if (insn_mode(insn) == BPF_IND)
		offset += (u32)m->reg[insn->src_reg];
	address = packet_address(packet, (s32)offset);
	m->reg[BPF_REG_0] = 0;
	if (address < packet->link_header || address + size > packet->data_end)
		return leave(m);
	for (u64 i = 0; i < size; i++)
		value = value << 8 | *(const u8 *)ptr_from_u64(address + i);
	m->reg[BPF_REG_0] = value;
	return insn + 1;
}

static void run(struct machine *m)
{
	const struct bpf_insn *insn = m->insns;

	while (insn) {
		switch (insn_class(insn)) {
		case BPF_ALU:
		case BPF_ALU64:
			alu(m, insn++);
			break;
		case BPF_LD:
			if (insn_mode(insn) != BPF_IMM) {
				insn = load_packet(m, insn);
				break;
			}
			m->reg[insn->dst_reg] = constant(m, insn);
			insn += 2;
			break;
		case BPF_LDX:
			m->reg[insn->dst_reg] = load_any(m, insn);
			insn++;
			break;
		case BPF_ST:
		case BPF_STX:
			store_any(m, insn++);
			break;
		default:
			insn = branch(m, insn);
			break;
		}
	}
}

/* In a machine of its own: m has registers, code and environment. */
static u64 run_nested(struct machine *m)
{
	struct machine *outer = running;

	m->reg[BPF_REG_10] = frame_top(&m->frames[0]);
	running = m;
	run(m);
	running = outer;
	return m->reg[BPF_REG_0];
}

/* Tail calls would leave the helper: a callback makes none. */
u64 interp_callback(u32 number, const u64 *args)
{
	const struct machine *caller = running;
	struct machine m;

	mem_zero(&m, sizeof(m));
	m.insns = caller->callbacks[number];
	m.env = caller->env;
	m.tail_calls = TAIL_CALL_LIMIT;
	for (u32 i = 0; i < 5; i++)
		m.reg[BPF_REG_1 + i] = args[i];
	return run_nested(&m);
}

u64 exec_interpret(const struct image_header *image, const struct exec_env *env, u64 r1, u64 r2)
{
	struct machine m;

	mem_zero(&m, sizeof(m));
	m.insns = image_insns(image);
	m.env = env;
	m.reg[BPF_REG_1] = r1;
	m.reg[BPF_REG_2] = r2;
	return run_nested(&m);
}
