/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a function's arguments and its result are, on paper: what a trampoline needs that shows them to programs, or that
 * calls the function itself. Made by the loader from BTF; travels to the agent as it is.
 */
#ifndef INLAY_ARCH_SIGNATURE_H
#define INLAY_ARCH_SIGNATURE_H

#include "base/types.h"

struct btf;

/* Words of arguments that a program may be shown (bpf(2)'s MAX_BPF_FUNC_ARGS). */
#define SIGNATURE_MAX_SLOTS 12

/* Where a word of an argument is at the function's first instruction; the low bits are a number. */
enum signature_place {
	SIGNATURE_GENERAL = 0x00, /* the n-th general argument register */
	SIGNATURE_VECTOR = 0x20,  /* the low half of the n-th vector argument register */
	SIGNATURE_STACK = 0x40,	  /* the n-th word above the return address */
	SIGNATURE_PLACE_MASK = 0xe0,
};

enum signature_return {
	SIGNATURE_VOID,
	SIGNATURE_INTEGER,  /* one word in the general result register: what fmod_ret may replace */
	SIGNATURE_COMPOUND, /* more than one register; the first word is a general one */
	SIGNATURE_FLOAT,    /* the first word is in a vector register */
	SIGNATURE_HIDDEN,   /* something that programs are not shown (x87) */
	SIGNATURE_MEMORY, /* through a pointer that the caller passed in the first general register */
	SIGNATURE_RETURN_MAX,
};

struct signature {
	u8 known; /* 0: none; the rest means nothing */
	u8 slot_count;
	u8 stack_words; /* of arguments, in all: what a call of the function must copy */
	u8 returns;	/* enum signature_return */
	u8 variadic;	/* may have been passed more than that */
	u8 slots[SIGNATURE_MAX_SLOTS]; /* enum signature_place */
	u8 pad[3];
};

/* Does a program at the function's return see a result? */
static inline bool signature_has_result(const struct signature *signature)
{
	return signature->returns != SIGNATURE_VOID;
}

/*
 * The signature of a FUNC_PROTO by this CPU's calling convention. 0, or -EOPNOTSUPP with a constant text: what about it is
 * not served; -EINVAL: not a prototype. Loader only.
 */
int signature_of_prototype(const struct btf *btf, u32 prototype, struct signature *ret_signature,
			   const char **ret_reason);

#endif
