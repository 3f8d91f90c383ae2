/* SPDX-License-Identifier: BSD-2-Clause */
/* What debuggers and profilers call a program's code: as the kernel does, bpf_prog_<tag>_<name>. */
#ifndef INLAY_EXEC_JIT_NAME_H
#define INLAY_EXEC_JIT_NAME_H

#include "format/image.h"

/* bpf_prog_, a tag's digits, _, a name that ends with 0. */
#define JIT_NAME_SIZE (9 + 16 + 1 + BPF_OBJ_NAME_LEN)

/* Names have letters, digits, dots and underscores alone: PROG_LOAD has seen to it. Without a name it ends behind the tag. */
void jit_name(const struct image_header *image, char name[JIT_NAME_SIZE]);

#endif
