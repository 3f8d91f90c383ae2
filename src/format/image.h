/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program image: what a verified program is outside the process that verified it.
 *
 * PROG_LOAD writes it into a memfd and seals it (F_SEAL_WRITE and the rest); everybody who runs the
 * program (the loader's test runs, every agent) maps it read-only and compiles from it. It refers to
 * other objects by index only: nothing in it depends on one process's addresses or descriptors.
 *
 * Instructions are the verifier's rewritten ones, with these conventions:
 *  - LD_IMM64 with src INSN_PSEUDO_MAP_FD: imm of the first half is an index into the image's maps;
 *    with INSN_PSEUDO_MAP_VALUE the second half's imm is the offset into the value of key 0;
 *  - LD_IMM64 with src INSN_PSEUDO_FUNC: imm is the relative offset of a subprogram (as in a call);
 *  - calls: INSN_CALL_HELPER with imm = helper number, INSN_CALL_SUBPROG with imm = relative offset;
 *  - loads with INSN_MODE_PROBE_MEM[SX] may fault: a fault yields 0;
 *  - tail calls whose map and key are the same on every path are listed in the image's table of tail calls.
 */
#ifndef INLAY_FORMAT_IMAGE_H
#define INLAY_FORMAT_IMAGE_H

#include <linux/bpf.h>

#include "base/types.h"

#define IMAGE_MAGIC	   0x79616c6e69470001ull
#define IMAGE_MAX_MAPS	   64
#define IMAGE_MAX_SUBPROGS 256
#define IMAGE_MAX_TAILS	   1024

struct image_subprog {
	u32 start;	 /* index of its first instruction */
	u32 stack_depth; /* bytes of BPF stack it uses, multiple of 8 */
};

struct image_map_ref {
	u32 map_id; /* registry id */
	u32 map_type;
};

/* A tail call whose target only the map's contents decide. In order of instructions. */
struct image_tail {
	u32 insn;
	u32 map_index;
	u32 key; /* inside the map */
};

struct image_header {
	u64 magic;
	u32 total_size; /* bytes of the whole image */
	u32 prog_id;
	u32 prog_type;
	u32 attach_type; /* expected_attach_type */
	u32 prog_flags;	 /* as at PROG_LOAD */
	u32 insn_cnt;
	u32 subprog_cnt; /* at least 1; subprogs[0] is the program itself */
	u32 map_cnt;
	u32 ctx_words; /* bit i: word i (8 bytes) of the context is read; ~0 when it escapes into a helper */
	u32 facts;	  /* IMAGE_FACT_* */
	u64 load_time_ns; /* CLOCK_BOOTTIME */
	u32 verified_insns;
	u32 created_by_uid;
	u32 btf_id;
	u32 func_info_cnt, line_info_cnt;
	u32 func_info_rec, line_info_rec;
	u32 xlated_orig_cnt; /* instructions as the client sent them */
	u32 license_gpl;
	u8 tag[8];
	char name[BPF_OBJ_NAME_LEN];
	/* Offsets from the header, in bytes; 0 when absent. */
	u32 insns_off, subprogs_off, maps_off, func_info_off, line_info_off;
	u32 tails_off, tail_cnt;
};

#define IMAGE_FACT_FUNC_IP   (1u << 0) /* calls bpf_get_func_ip */
#define IMAGE_FACT_COOKIE    (1u << 1) /* calls bpf_get_attach_cookie */
#define IMAGE_FACT_PERCPU    (1u << 2) /* has a per-CPU map: needs a slot (design decision 9) */
#define IMAGE_FACT_STACK     (1u << 3) /* walks the stack */
#define IMAGE_FACT_TAIL_CALL (1u << 4)
#define IMAGE_FACT_RETPOLINE (1u << 5) /* is to be compiled with retpolines */
#define IMAGE_FACT_BLIND     (1u << 6) /* with its constants blinded */

static inline const struct bpf_insn *image_insns(const struct image_header *image)
{
	return (const struct bpf_insn *)((const char *)image + image->insns_off);
}

static inline const struct image_subprog *image_subprogs(const struct image_header *image)
{
	return (const struct image_subprog *)((const char *)image + image->subprogs_off);
}

static inline const struct image_map_ref *image_maps(const struct image_header *image)
{
	return (const struct image_map_ref *)((const char *)image + image->maps_off);
}

static inline const struct image_tail *image_tails(const struct image_header *image)
{
	return (const struct image_tail *)((const char *)image + image->tails_off);
}

/*
 * Checks that size bytes at image are a well-formed image: offsets, counts and jump targets in range.
 * (Safety was proved by the verifier before sealing; this guards against a truncated or foreign file.)
 * Returns 0 or -EINVAL. Any thread.
 */
int image_check(const struct image_header *image, size_t size);

#endif
