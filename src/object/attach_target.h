/* SPDX-License-Identifier: BSD-2-Clause */
/* What a tracing program is loaded for: a function of a binary whose types are a BTF object. Private to object/. */
#ifndef INLAY_OBJECT_ATTACH_TARGET_H
#define INLAY_OBJECT_ATTACH_TARGET_H

#include "object/objects.h"

struct attach_target {
	struct object *btf; /* with a reference; NULL: nothing that is known here */
	u32 id;		    /* of the function */
	struct signature signature;
	u32 ctx_size; /* of the context that a program of the wanted attach type is shown */
};

/*
 * Reads attach_btf_obj_fd and attach_btf_id of a PROG_LOAD. 0, also when there are none; -EINVAL (no such function), -EOPNOTSUPP with a
 * sentence in reason, -errno of the descriptor.
 */
int attach_target_find(const union bpf_attr *attr, struct attach_target *ret_target, char *reason,
		       size_t reason_size);
/* The function's name. Lives as long as the object. */
const char *attach_target_name(const struct object *btf, u32 id);

#endif
