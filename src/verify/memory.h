/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads, stores and atomics through pointers; and what helpers do to memory that they are given. */
#ifndef INLAY_VERIFY_MEMORY_H
#define INLAY_VERIFY_MEMORY_H

#include "verify/verify_priv.h"

int memory_load(struct verifier *env, const struct bpf_insn *insn);
int memory_store(struct verifier *env, const struct bpf_insn *insn);
int memory_atomic(struct verifier *env, const struct bpf_insn *insn);
/* BPF_LD | BPF_ABS, BPF_IND. */
int memory_load_packet(struct verifier *env, const struct bpf_insn *insn);

enum memory_use { MEMORY_READ, MEMORY_WRITE };
/*
 * A helper accesses size bytes at regno. init: it reads (or may leave unwritten) what is there, so that stack bytes must have
 * been written before.
 */
int memory_helper_access(struct verifier *env, int regno, s64 size, enum memory_use use, bool init,
			 bool zero_ok);
/* A helper writes one aligned word of size bytes at regno. */
int memory_helper_word(struct verifier *env, int regno, u32 size);
/* May programs of this type read (write) the packet directly? */
bool memory_packet_ok(const struct verifier *env, enum memory_use use);

#endif
