/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is this program safe? One call; pure but for memory: it opens nothing, executes nothing, prints nothing.
 *
 * What surrounds a program (helper prototypes, facts about maps, the layout of contexts) is given by the caller as a
 * struct verify_host, so that tests give their own.
 */
#ifndef INLAY_VERIFY_VERIFY_H
#define INLAY_VERIFY_VERIFY_H

#include <linux/bpf.h>

#include "base/types.h"
#include "verify/proto.h"

struct btf;

/* One word range of a program type's context and what reading it gives. Tables in verify/ctx.c, as data. */
enum ctx_field_kind {
	CTX_SCALAR,
	CTX_PACKET, /* 32-bit field read as a packet pointer */
	CTX_PACKET_END,
	CTX_PACKET_META,
	CTX_DENIED,
};

struct verify_map {
	u32 id;
	u32 type, key_size, value_size, max_entries, flags;
	char name[BPF_OBJ_NAME_LEN];
	bool readonly_prog; /* BPF_F_RDONLY_PROG */
	bool writeonly_prog;
	bool frozen;	   /* with readonly_prog: values are constants, read through value */
	const void *value; /* direct value access: the value of key 0, or NULL */
	u32 spin_lock_off; /* ~0u: none */
	u32 timer_off;	   /* ~0u: none */
	const struct verify_map *inner; /* maps of maps: what a lookup gives; NULL otherwise */
	bool has_btf;
};

struct verify_host {
	const struct helper_proto *(*helper)(u32 id);
	bool (*helper_allowed)(u32 id, u32 prog_type, u32 attach_type);
	/* Facts about the map that fd (or fd_array index) means; NULL: not a map (errno EBADF: not a descriptor at all). Stable until verify returns. */
	const struct verify_map *(*map_by_fd)(void *opaque, int fd);
	void *opaque;
};

struct verify_request {
	struct bpf_insn *insns; /* rewritten in place on success (format/image.h) */
	u32 insn_cnt;
	u32 prog_type, attach_type, flags;
	bool gpl;
	bool privileged; /* pointer leaks and such are allowed, as with CAP_PERFMON */
	const int *fd_array;
	u32 fd_array_cnt;      /* 0 with fd_array: unknown, checked by the caller's copy */
	const struct btf *btf; /* may be NULL */
	const void *func_info, *line_info;
	u32 func_info_cnt, func_info_rec, line_info_cnt, line_info_rec;
	const char *strings; /* string section of btf, for line info in the log */
	bool typed_ctx;	     /* TRACING: the function it will be attached to is known, */
	u32 ctx_size;	     /* and these are the bytes of its arguments and result */
	u32 log_level;	     /* bits 1, 2, 4 as bpf(2) */
	u32 max_insns;	     /* 0: 1,000,000 */
	bool refuse_uninit_stack; /* reading stack that was never written is an error even when privileged */
};

/* The log grows in memory; the caller copies it into the client's buffer by bpf(2)'s rules (object/log.c). */
struct verify_log {
	char *text;
	size_t length, capacity, limit;
};

#define VERIFY_MAX_MAPS	    64
#define VERIFY_MAX_SUBPROGS 256
#define VERIFY_MAX_TAILS    1024

struct verify_result {
	u32 map_cnt;
	u32 map_ids
		[VERIFY_MAX_MAPS]; /* in order of index: what LD_IMM64's imm means after rewriting */
	int map_fds[VERIFY_MAX_MAPS];
	u32 subprog_cnt;
	struct {
		u32 start, stack_depth;
	} subprogs[VERIFY_MAX_SUBPROGS];
	/* Tail calls with one map and one key on every path, in order of instructions (format/image.h). */
	u32 tail_cnt;
	struct {
		u32 insn, map_index, key;
	} tails[VERIFY_MAX_TAILS];
	u32 ctx_words; /* see image_header */
	u32 facts;     /* IMAGE_FACT_* */
	u32 insn_processed, total_states, peak_states;
	u64 time_ns;
	/* Rejected: the last paragraph in words, one line: what, where, with which values, how it came there, what to change. */
	char reason[1024];
	u32 reason_line, reason_column; /* of the source, from 1; 0: not known */
	char reason_source[160];	/* that line, "" when not known */
};

/*
 * Returns 0 (safe; insns rewritten), -EACCES, -EINVAL, -EPERM, -E2BIG, -ENOMEM as the kernel would for the same
 * program. Any thread; reentrant.
 */
int verify_program(struct verify_request *request, const struct verify_host *host,
		   struct verify_log *log, struct verify_result *result);
void verify_log_free(struct verify_log *log);

#endif
