/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A BPF object on its way through libbpf, with libbpf's many lines of complaint turned into one cause.
 *
 * libbpf speaks to stderr through one callback a process; here it writes into memory, and what a user needs is cut out
 * of that: the verifier's log and its last line, or the first warning.
 */
#ifndef INLAY_CLI_ATTACH_OBJECT_H
#define INLAY_CLI_ATTACH_OBJECT_H

#include <bpf/libbpf.h>
#include <stdio.h>

#include "base/types.h"

/* Opens the file, to be relocated against the BTF in the file `types` (NULL: the kernel's), and sets this process's rules for loads: no reading of stack never written. 0, or CLI_FAILED after the cause was told. */
int attach_object_open(const char *path, const char *types, struct bpf_object **ret_object);
/*
 * Verifies and loads all of it: maps, then programs. 0, or CLI_FAILED after the end of the verifier's log (when a
 * program was rejected) and the cause were told on stderr.
 */
int attach_object_load(const char *path, struct bpf_object *object);

#endif
