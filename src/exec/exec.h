/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run a verified program: the interpreter (the reference) and the JIT driver.
 *
 * exec/ knows no map type and no helper by name: a program's environment is given to it.
 */
#ifndef INLAY_EXEC_EXEC_H
#define INLAY_EXEC_EXEC_H

#include "base/types.h"
#include "format/image.h"

struct jit_in_place;
struct map;
struct tail_slots;

typedef u64 (*exec_helper_fn)(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5);

/* What program code refers to by index or number, as addresses in this process. */
struct exec_env {
	exec_helper_fn (*helper)(u32 id); /* NULL: no such helper */
	void *(*map_handle)(void *opaque,
			    u32 map_index); /* what a helper gets as its map argument */
	void *(*map_value)(void *opaque, u32 map_index, u32 offset);
	void *opaque;
	/* Caller-saved registers (as in exec_code.clobbers) that a helper may change; NULL: all of them. */
	u32 (*helper_clobbers)(u32 id);
	/*
	 * How a helper's call may be done without calling (arch/jit_unit.h). map_index: of its map argument, ~0 when not
	 * known. false: it is to be called. NULL: all are.
	 */
	bool (*in_place)(void *opaque, u32 id, u32 map_index, struct jit_in_place *ret_how);
	/* Offset in a map's handle of the pointer to its struct tail_slots (format/tail.h); 0: no tail calls here. */
	u32 tail_slots;
};

/* Runs the program in the interpreter. r1 is the context; r2 is for `inlay exec` and 0 elsewhere. */
u64 exec_interpret(const struct image_header *image, const struct exec_env *env, u64 r1, u64 r2);

/* A tail call that jumps directly: where it may go is in the code itself. */
struct exec_tail {
	u32 map_index, key;
	u32 bypass, target,
		out; /* offsets of the two branches in the code, and of what follows them */
	u64 entry;   /* where it goes now; 0: nowhere, it falls through */
};

/* A compiled program. entry has the C calling convention: u64 entry(void *ctx, u64 r2). */
struct exec_code {
	u64 (*entry)(u64 r1, u64 r2);
	const void *text; /* executable address of the code */
	u32 size;	  /* bytes of code */
	u32 clobbers; /* bit = x86 register number of each caller-saved register that the code or its
				      helpers may change (arch/regs); rax always */
	u64 tail_entry; /* where a tail call enters it */
	struct exec_tail
		*tails; /* its direct tail calls, all falling through at first (exec_tail_update) */
	u32 tail_cnt;
	u32 *insn_offsets; /* per BPF instruction: offset of its code; NULL unless asked for */
	struct text_block *block; /* where it lives */
};

/*
 * Compiles for this CPU into executable memory that is reachable with rel32 from near when near is not 0
 * (-ERANGE when no such memory could be had). Errors: -ENOMEM, -EOPNOTSUPP (an instruction that the JIT lacks).
 * Not at a hit. On success *ret_code is owned by the caller (exec_free, after a grace period).
 */
int exec_compile(const struct image_header *image, const struct exec_env *env, u64 near,
		 bool keep_offsets, struct exec_code **ret_code);
void exec_free(struct exec_code *code);

/* One direct tail call and where it is to go: 0: nowhere. */
struct exec_tail_change {
	struct exec_code *code;
	u32 tail;
	u64 entry;
};

/*
 * Makes direct tail calls go elsewhere while threads run them. No thread sees a frame unwound and no program to go to.
 * Waits for one grace period in all when something stops going anywhere, for none otherwise; timeout_ms as sync_grace's. One
 * caller at a time; not a reader. 0; -ERANGE (an entry is out of reach: nothing was changed) or -errno of the write or of
 * the wait (then calls that stop going anywhere do fall through, but threads may be on their way into their old programs
 * yet).
 */
int exec_tail_update(const struct exec_tail_change *changes, u32 count, int timeout_ms);

#endif
