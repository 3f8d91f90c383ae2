/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CO-RE against the target's own types: where libbpf expects a kernel's BTF, it is given that of the binaries that the object's
 * programs go to, and of the target's executable.
 */
#ifndef INLAY_CLI_ATTACH_CORE_H
#define INLAY_CLI_ATTACH_CORE_H

#include "base/types.h"

struct attach_core;
struct process;

/* What the object's file relocates against. 0, with NULL when that is nothing (or the file cannot be read: opening will tell); -ENOMEM. */
int attach_core_open(const char *object_path, struct attach_core **ret_core);
/* For bpf_object_open_opts.btf_custom_path: read when the object is loaded. NULL for NULL. */
const char *attach_core_path(const struct attach_core *core);
/* Takes the types of one more binary (as sections name it), if some are still looked for. Without types it is passed over. */
void attach_core_add(struct attach_core *core, struct process *process, const char *binary);
/*
 * When all were added: fills what attach_core_path names. 0, or -errno with one sentence in problem: no binary has types (-ENOENT), or
 * none of them the first of those that are looked for.
 */
int attach_core_finish(struct attach_core *core, char *problem, size_t problem_size);
void attach_core_free(struct attach_core *core);

#endif
