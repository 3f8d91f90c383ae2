/* SPDX-License-Identifier: BSD-2-Clause */
/* A program's tag: what bpftool and users know it by. */
#ifndef INLAY_OBJECT_TAG_H
#define INLAY_OBJECT_TAG_H

#include <linux/bpf.h>

#include "base/types.h"

/*
 * The first eight bytes of the SHA-1 of the instructions as the client sent them, with map descriptors taken as 0 (Linux
 * before 6.18; later kernels hash with SHA-256). 0 or -ENOMEM.
 */
int tag_of_insns(const struct bpf_insn *insns, u32 count, u8 ret_tag[BPF_TAG_SIZE]);

#endif
