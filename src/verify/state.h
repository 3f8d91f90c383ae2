/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers, frames and whole states: making, copying, freeing. A state owns its frames, a frame its slots. */
#ifndef INLAY_VERIFY_STATE_H
#define INLAY_VERIFY_STATE_H

#include "verify/verify_priv.h"

/* -- Registers -- */

void reg_set_none(struct reg *reg);
void reg_set_unknown(struct reg *reg);
void reg_set_const(struct reg *reg, u64 value);
/* A pointer of this type to offset 0, with a known zero variable part. */
void reg_set_pointer(struct reg *reg, enum reg_type type);

static inline bool reg_is_pointer(const struct reg *reg)
{
	return reg->type > REG_SCALAR;
}

static inline bool reg_is_packet(const struct reg *reg)
{
	return reg->type == PTR_PACKET || reg->type == PTR_PACKET_META;
}

static inline bool reg_is_null(const struct reg *reg)
{
	return reg->type == REG_SCALAR && scalar_is_zero(&reg->s);
}

/* Pointers to sockets of any kind. */
static inline bool reg_is_socket(const struct reg *reg)
{
	return reg->type == PTR_SOCK || reg->type == PTR_SOCK_COMMON || reg->type == PTR_TCP_SOCK ||
	       reg->type == PTR_XDP_SOCK;
}

/* -- Frames -- */

/* Makes slots down to fp - 8 * (slot + 1) exist, uninitialised. 0 or -ENOMEM. */
int frame_need_slot(struct frame *frame, u32 slot);
/* A frame with no register written and r10 pointing to its own empty stack; NULL: no memory. */
struct frame *frame_new(u32 number, u32 subprog, u32 callsite);
void frame_free(struct frame *frame);

/* -- States -- */

/* to must be empty (zeroed) or hold a state, which is freed. Links (parent, branches) are copied too. 0 or -ENOMEM. */
int state_copy(struct state *to, const struct state *from);
/* Frees what the state owns, not the state. */
void state_done(struct state *state);

typedef void (*state_visit)(struct verifier *env, struct reg *reg, void *arg);
/* Calls visit for each register and each spilled register of every frame. */
void state_each_reg(struct verifier *env, struct state *state, state_visit visit, void *arg);

/* -- References (ref.c) -- */

/* Returns the new reference's id (> 0) or -E2BIG. */
int ref_acquire(struct verifier *env, u32 insn);
/* Forgets the reference and every register that holds it. -EINVAL: not held. */
int ref_release(struct verifier *env, u32 id);
bool ref_held(const struct state *state, u32 id);
/* Rejects when a reference or a lock is still held; what: "BPF_EXIT instruction in main prog", ... */
int ref_check_none(struct verifier *env, const char *what, bool check_lock);
/* Registers that point into the packet become unknown scalars: it may have moved. */
void ref_forget_packet(struct verifier *env);

#endif
