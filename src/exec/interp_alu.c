/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/interp_alu.h"

#include "format/insn.h"

/* Division: x / 0 = 0, x % 0 = x, MIN / -1 = MIN, MIN % -1 = 0. off == 1 is signed. */
static u64 divide64(const struct bpf_insn *insn, u64 left, u64 right)
{
	if (right == 0)
		return 0;
	if (insn->off != 1)
		return left / right;
	return right == ~0ull ? 0 - left : (u64)((s64)left / (s64)right);
}

static u64 modulo64(const struct bpf_insn *insn, u64 left, u64 right)
{
	if (right == 0)
		return left;
	if (insn->off != 1)
		return left % right;
	return right == ~0ull ? 0 : (u64)((s64)left % (s64)right);
}

static u32 divide32(const struct bpf_insn *insn, u32 left, u32 right)
{
	if (right == 0)
		return 0;
	if (insn->off != 1)
		return left / right;
	return right == ~0u ? 0 - left : (u32)((s32)left / (s32)right);
}

static u32 modulo32(const struct bpf_insn *insn, u32 left, u32 right)
{
	if (right == 0)
		return left;
	if (insn->off != 1)
		return left % right;
	return right == ~0u ? 0 : (u32)((s32)left % (s32)right);
}

u64 interp_alu64(const struct bpf_insn *insn, u64 left, u64 right)
{
	switch (insn_op(insn)) {
	case BPF_ADD:
		return left + right;
	case BPF_SUB:
		return left - right;
	case BPF_MUL:
		return left * right;
	case BPF_DIV:
		return divide64(insn, left, right);
	case BPF_MOD:
		return modulo64(insn, left, right);
	case BPF_OR:
		return left | right;
	case BPF_AND:
		return left & right;
	case BPF_XOR:
		return left ^ right;
	case BPF_LSH:
		return left << (right & 63);
	case BPF_RSH:
		return left >> (right & 63);
	case BPF_ARSH:
		return (u64)((s64)left >> (right & 63));
	case BPF_NEG:
		return 0 - left;
	case BPF_MOV:
		return insn->off ? interp_sign_extend(right, (u32)insn->off) : right;
	default:
		return left;
	}
}

u32 interp_alu32(const struct bpf_insn *insn, u32 left, u32 right)
{
	switch (insn_op(insn)) {
	case BPF_ADD:
		return left + right;
	case BPF_SUB:
		return left - right;
	case BPF_MUL:
		return left * right;
	case BPF_DIV:
		return divide32(insn, left, right);
	case BPF_MOD:
		return modulo32(insn, left, right);
	case BPF_OR:
		return left | right;
	case BPF_AND:
		return left & right;
	case BPF_XOR:
		return left ^ right;
	case BPF_LSH:
		return left << (right & 31);
	case BPF_RSH:
		return left >> (right & 31);
	case BPF_ARSH:
		return (u32)((s32)left >> (right & 31));
	case BPF_NEG:
		return 0 - left;
	case BPF_MOV:
		return insn->off ? (u32)interp_sign_extend(right, (u32)insn->off) : right;
	default:
		return left;
	}
}

u64 interp_endian(const struct bpf_insn *insn, u64 value)
{
	bool to_big = insn_uses_reg(insn), unconditional = insn_class(insn) == BPF_ALU64;
	bool swap = unconditional || to_big == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

	switch (insn->imm) {
	case 16:
		return swap ? __builtin_bswap16((u16)value) : (u16)value;
	case 32:
		return swap ? __builtin_bswap32((u32)value) : (u32)value;
	default:
		return swap ? __builtin_bswap64(value) : value;
	}
}

bool interp_compare(u8 op, u64 left, u64 right)
{
	switch (op) {
	case BPF_JEQ:
		return left == right;
	case BPF_JNE:
		return left != right;
	case BPF_JSET:
		return (left & right) != 0;
	case BPF_JGT:
		return left > right;
	case BPF_JGE:
		return left >= right;
	case BPF_JLT:
		return left < right;
	case BPF_JLE:
		return left <= right;
	case BPF_JSGT:
		return (s64)left > (s64)right;
	case BPF_JSGE:
		return (s64)left >= (s64)right;
	case BPF_JSLT:
		return (s64)left < (s64)right;
	case BPF_JSLE:
		return (s64)left <= (s64)right;
	default:
		return false;
	}
}

#define ATOMIC(bits)                                                                               \
	void interp_atomic##bits(s32 operation, u##bits *at, u64 *operand, u64 *r0)                \
	{                                                                                          \
		u##bits with = (u##bits) * operand, old = 0, expected = (u##bits) * r0;            \
                                                                                                   \
		switch (operation & ~BPF_FETCH) {                                                  \
		case BPF_ADD:                                                                      \
			old = __atomic_fetch_add(at, with, __ATOMIC_SEQ_CST);                      \
			break;                                                                     \
		case BPF_AND:                                                                      \
			old = __atomic_fetch_and(at, with, __ATOMIC_SEQ_CST);                      \
			break;                                                                     \
		case BPF_OR:                                                                       \
			old = __atomic_fetch_or(at, with, __ATOMIC_SEQ_CST);                       \
			break;                                                                     \
		case BPF_XOR:                                                                      \
			old = __atomic_fetch_xor(at, with, __ATOMIC_SEQ_CST);                      \
			break;                                                                     \
		case BPF_XCHG & ~BPF_FETCH:                                                        \
			old = __atomic_exchange_n(at, with, __ATOMIC_SEQ_CST);                     \
			break;                                                                     \
		case BPF_CMPXCHG & ~BPF_FETCH:                                                     \
			__atomic_compare_exchange_n(at, &expected, with, false, __ATOMIC_SEQ_CST,  \
						    __ATOMIC_SEQ_CST);                             \
			*r0 = expected;                                                            \
			return;                                                                    \
		}                                                                                  \
		if (operation & BPF_FETCH)                                                         \
			*operand = old;                                                            \
	}

ATOMIC(64)
ATOMIC(32)

u64 interp_load_acquire(u64 address, u32 size)
{
	void *at = ptr_from_u64(address);

	switch (size) {
	case 1:
		return __atomic_load_n((u8 *)at, __ATOMIC_ACQUIRE);
	case 2:
		return __atomic_load_n((u16 *)at, __ATOMIC_ACQUIRE);
	case 4:
		return __atomic_load_n((u32 *)at, __ATOMIC_ACQUIRE);
	default:
		return __atomic_load_n((u64 *)at, __ATOMIC_ACQUIRE);
	}
}

void interp_store_release(u64 address, u32 size, u64 value)
{
	void *at = ptr_from_u64(address);

	switch (size) {
	case 1:
		__atomic_store_n((u8 *)at, (u8)value, __ATOMIC_RELEASE);
		break;
	case 2:
		__atomic_store_n((u16 *)at, (u16)value, __ATOMIC_RELEASE);
		break;
	case 4:
		__atomic_store_n((u32 *)at, (u32)value, __ATOMIC_RELEASE);
		break;
	default:
		__atomic_store_n((u64 *)at, value, __ATOMIC_RELEASE);
		break;
	}
}
