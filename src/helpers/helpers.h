/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The functions that programs call: number, name, prototype, flags and address in one row (helpers.def).
 *
 * The loader's verifier reads prototypes; the JIT and the interpreter read addresses; `bpftool feature` and log
 * lines read names. Prototypes are types only, so the agent links no verifier.
 */
#ifndef INLAY_HELPERS_HELPERS_H
#define INLAY_HELPERS_HELPERS_H

#include "exec/exec.h"
#include "verify/proto.h"

/* The row of a helper number, or NULL. Constant; any thread. */
const struct helper_proto *helper_proto(u32 id);
/* May a program of this type call it? (As the kernel answers a caller with CAP_BPF and CAP_PERFMON.) */
bool helper_allowed(u32 id, u32 prog_type, u32 attach_type);
/*
 * Its address; NULL when there is none. For struct exec_env. The first call prepares the process (finds the vdso, notes
 * its pid), so it comes before any program runs. Contexts of tracing programs have the words of struct hit in front.
 */
exec_helper_fn helper_address(u32 id);
/* Registers (bit = register number of the host CPU) the helper may change, among those a call may change: all of them. */
u32 helper_clobbers(u32 id);

struct map;
/* For struct exec_env's in_place: how the call may be done without calling. map: its map argument, NULL: not known. */
bool helper_in_place(u32 id, const struct map *map, struct jit_in_place *ret_how);

/* Where bpf_trace_printk and bpf_trace_vprintk write: a ring buffer map, or NULL (records are dropped and counted). */
void helpers_set_printk_ring(struct map *ring);
/* Records that found no ring or no room, in this process. */
u64 helpers_printk_dropped(void);

/* One record of that ring. */
struct printk_record {
	u64 time_ns; /* CLOCK_MONOTONIC */
	u32 tid;     /* as the target sees it */
	u32 length;  /* of text, without NUL */
	char text[];
};

#endif
