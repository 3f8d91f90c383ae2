/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Structures that the verifier's files share. Included only inside verify/.
 *
 * Inclusion runs downward: values (tnum, range, scalar) know no environment; state knows values; the steps (alu,
 * pointer, memory, branch, call, helper) know state; the search (walk, prune, precise) knows the steps.
 */
#ifndef INLAY_VERIFY_VERIFY_PRIV_H
#define INLAY_VERIFY_VERIFY_PRIV_H

#include <errno.h>

#include "format/insn.h"
#include "verify/explain.h"
#include "verify/scalar.h"
#include "verify/verify.h"

#define REG_CNT	       11
#define REG_FP	       10
#define SLOT_SIZE      8
#define SLOT_CNT       (INSN_MAX_STACK / SLOT_SIZE)
#define MAX_VAR_OFF    (1 << 29)
#define MAX_PENDING    8192
#define MAX_REFS       64
#define MAX_PACKET_OFF 0xffff
#define RINGBUF_ALIGN  8
#define TURN_CNT       8
#define MAX_LINKED     6

/* What a register or a spilled slot holds. */
enum reg_type {
	REG_NONE, /* never written, or given away */
	REG_SCALAR,
	PTR_CTX,
	PTR_MAP,
	PTR_MAP_KEY,
	PTR_MAP_VALUE,
	PTR_STACK,
	PTR_PACKET,
	PTR_PACKET_META,
	PTR_PACKET_END,
	PTR_SOCK,
	PTR_SOCK_COMMON,
	PTR_TCP_SOCK,
	PTR_XDP_SOCK,
	PTR_MEM,
	PTR_RINGBUF, /* memory that was reserved in a ring buffer */
	PTR_TP_BUFFER,
	PTR_BTF_ID,
	PTR_FUNC,
	REG_TYPE_MAX,
};

struct reg {
	u8 type; /* enum reg_type */
	bool maybe_null;
	bool readonly;
	bool refcounted; /* BTF pointers */
	u32 frame;	 /* PTR_STACK: whose stack */
	s32 off;	 /* pointers: the constant part; the variable part is in scalar */
	/* Registers with the same nonzero id are known to be equal (scalars), null together (or_null pointers) or at
	 * the same place in the packet. */
	u32 id;
	u32 ref_id; /* the reference that this pointer holds, 0: none */
	union {
		s32 range; /* packet pointers: bytes known to be inside, from off 0 on; < 0: see branch.c */
		u32 mem_size;		      /* PTR_MEM, PTR_RINGBUF */
		u32 subprog;		      /* PTR_FUNC */
		const struct verify_map *map; /* PTR_MAP, PTR_MAP_KEY, PTR_MAP_VALUE */
	};
	u32 map_uid; /* values found by one lookup (spin locks) */
	struct scalar s;
};

enum byte_kind {
	BYTE_INVALID, /* never written */
	BYTE_SPILL,   /* belongs to the spilled register */
	BYTE_MISC,    /* some scalar */
	BYTE_ZERO,
};

struct slot {
	struct reg spill;
	u8 kind[SLOT_SIZE]; /* enum byte_kind; kind[i] is the byte at address slot + i */
};

/* What happens when a callback's frame returns. */
enum callback_kind {
	CALLBACK_NONE,
	CALLBACK_LOOP, /* bpf_loop: 0 goes on, 1 stops */
	CALLBACK_FOR_EACH,
	CALLBACK_ASYNC, /* timers: returns to nobody */
};

struct frame {
	struct reg regs[REG_CNT];
	u32 callsite; /* instruction of the call; of frame 0: none */
	u32 subprog;
	u32 number;
	u32 slot_cnt; /* allocated: slots[i] is at fp - 8 * (i + 1) */
	enum callback_kind callback;
	u32 callback_depth; /* rounds of its bpf_loop that this path has walked */
	struct slot *slots;
};

struct reference {
	u32 id;
	u32 insn; /* where it was acquired */
};

/* The path went from here to there where it could have gone elsewhere (trail.h). */
struct turn {
	u32 from, to;
};

struct state {
	struct frame *frames[INSN_MAX_FRAMES];
	u32 depth; /* frames in use: frames[depth - 1] runs */
	struct reference refs[MAX_REFS];
	u32 ref_cnt;
	u32 lock_uid; /* map_uid of the value whose spin lock is held */
	const struct verify_map *lock_map;
	u32 lock_id;
	u32 unroll_depth;     /* rounds of callbacks that this path has walked */
	struct state *parent; /* the checkpoint this path came from */
	u32 branches;	      /* paths from here that have not ended yet */
	u32 insn;	      /* where it was taken */
	u32 first_insn, last_insn;
	struct turn turns[TURN_CNT]; /* the last ones, a ring: turn i is at i % TURN_CNT */
	u32 turn_cnt;
};

/* A state that a path went through, kept at its instruction to prune later paths. */
struct checkpoint {
	struct state state;
	struct checkpoint *next;
	struct checkpoint *next_all; /* for freeing */
	u32 hits, misses;
	u64 print; /* state_print of its state */
	bool retired;
};

/* The other side of a branch, to be explored later. */
struct pending {
	struct state *state;
	struct pending *next;
	u32 insn, prev_insn;
	size_t log_length;
};

/* Of a tail call: map and key on the paths seen so far. */
enum tail_kind {
	TAIL_NONE,
	TAIL_CONSTANT,
	TAIL_VARIES,
};

struct insn_facts {
	bool checked; /* well-formed */
	bool seen;    /* some path came here */
	bool prune_point;
	bool force_checkpoint;
	bool predicted; /* a conditional jump of which some path took one side without exploring the other */
	u8 access_kind;	 /* CTX_* + 1 of a packet field, or 0 */
	u8 pointer_type; /* enum reg_type + 1 through which it loads or stores; 0: not yet */
	u16 may_point;	 /* registers that may hold a pointer on some path to here */
	u16 live;	 /* registers whose value some path from here reads */
	u16 exact;	 /* of those: whose numeric value safety can depend on */
	u64 live_slots, exact_slots; /* the same for stack slots of the running frame */
	u32 map_index;
	u32 tail_key;
	u8 tail;  /* enum tail_kind; of the map in map */
	u32 line; /* index of line info + 1 */
	const struct verify_map *map;
	struct checkpoint *checkpoints;
};

/* An argument of a global function, by its BTF prototype. */
struct global_arg {
	enum { GLOBAL_NUMBER, GLOBAL_CTX, GLOBAL_MEM } kind;
	bool maybe_null; /* GLOBAL_MEM */
	u32 size;	 /* GLOBAL_MEM: bytes behind it, to read and to write */
};

struct subprog {
	u32 start, end; /* instructions [start, end) */
	u32 stack_depth;
	bool leaks_fp; /* a pointer to its stack may be in another register */
	bool has_tail_call, is_callback;
	bool has_back_edge; /* a jump to itself or before */
	bool exact_result;  /* the number it returns matters to some caller */
	/* global.c: proved once by its prototype; moves_packet, with what it calls, is known only where there are such */
	bool is_global, is_called, is_proved, moves_packet;
	const char *name;
	struct global_arg args[5];
	u32 arg_cnt;
};

struct verifier {
	struct verify_request *request;
	const struct verify_host *host;
	struct verify_log *log;
	struct verify_result *result;
	struct bpf_insn *insns;
	u32 insn_cnt;
	struct insn_facts *facts;
	struct subprog subprogs[VERIFY_MAX_SUBPROGS + 1];
	u32 subprog_cnt;
	const struct ctx_rules *ctx;
	bool privileged, strict_align, allow_uninit_stack;

	struct state *state; /* the path being walked */
	u32 insn, prev_insn;
	u32 next_id;
	struct pending *pending;
	u32 pending_cnt;
	struct checkpoint *all_checkpoints;
	u32 id_map_old[512], id_map_new[512], id_map_cnt;
	u32 jumps_processed, prev_jumps, prev_processed;
	u32 processed, total_states, peak_states, max_states_per_insn;
	u32 max_insns;
	bool exact_stale,
		all_exact; /* precise.c: new jumps were predicted; count all as predicted */
	u32 analyses;
	size_t log_prev_end, log_prev_width; /* of the last instruction line */
	u32 logged_changes; /* registers changed by the last instruction (for the log) */
	u64 logged_slots;
	struct explain why;
	char why_line[200]; /* the first rejection in the kernel's words */
};

static inline struct frame *running(struct verifier *env)
{
	return env->state->frames[env->state->depth - 1];
}

static inline struct reg *running_regs(struct verifier *env)
{
	return running(env)->regs;
}

static inline u32 subprog_at(const struct verifier *env, u32 start)
{
	for (u32 i = 0; i < env->subprog_cnt; i++) {
		if (env->subprogs[i].start == start)
			return i;
	}
	return UINT32_MAX;
}

static inline bool may_read(const struct verifier *env)
{
	return env->privileged;
}

#endif
