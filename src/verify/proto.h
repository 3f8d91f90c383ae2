/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a helper wants and gives, as types. Used by the verifier and by the table in helpers/.
 * Names follow the kernel's ARG_* and RET_* so that its documentation reads on; values are ours.
 */
#ifndef INLAY_VERIFY_PROTO_H
#define INLAY_VERIFY_PROTO_H

#include "base/types.h"

enum arg_type {
	ARG_NONE,
	ARG_ANYTHING,
	ARG_CONST_MAP_PTR,
	ARG_PTR_TO_MAP_KEY,
	ARG_PTR_TO_MAP_VALUE,
	ARG_PTR_TO_UNINIT_MAP_VALUE,
	ARG_PTR_TO_MAP_VALUE_OR_NULL,
	ARG_PTR_TO_MEM,
	ARG_PTR_TO_MEM_OR_NULL,
	ARG_PTR_TO_UNINIT_MEM,
	ARG_CONST_SIZE,
	ARG_CONST_SIZE_OR_ZERO,
	ARG_CONST_ALLOC_SIZE_OR_ZERO,
	ARG_PTR_TO_CTX,
	ARG_PTR_TO_CTX_OR_NULL,
	ARG_PTR_TO_ALLOC_MEM, /* a ring buffer reservation; released when the helper is a release one */
	ARG_PTR_TO_LONG,
	ARG_PTR_TO_INT,
	ARG_PTR_TO_CONST_STR,
	ARG_PTR_TO_FUNC,
	ARG_PTR_TO_STACK_OR_NULL,
	ARG_PTR_TO_SPIN_LOCK,
	ARG_PTR_TO_TIMER,
	ARG_PTR_TO_DYNPTR,
	ARG_PTR_TO_BTF_ID,
	ARG_PTR_TO_SOCKET,	/* a full socket */
	ARG_PTR_TO_SOCK_COMMON, /* any socket */
	ARG_PTR_TO_BTF_ID_SOCK_COMMON,
	ARG_PTR_TO_XDP_SOCK,
	ARG_TYPE_MAX,
};

enum ret_type {
	RET_INTEGER,
	RET_VOID,
	RET_PTR_TO_MAP_VALUE_OR_NULL,
	RET_PTR_TO_MAP_VALUE,
	RET_PTR_TO_ALLOC_MEM_OR_NULL,
	RET_PTR_TO_BTF_ID_OR_NULL,
	RET_PTR_TO_SOCKET_OR_NULL,
	RET_PTR_TO_SOCK_COMMON_OR_NULL,
	RET_PTR_TO_TCP_SOCK_OR_NULL,
};

#define PROTO_GPL_ONLY	     (1u << 0)
#define PROTO_ACQUIRES	     (1u << 1)
#define PROTO_RELEASES	     (1u << 2)
#define PROTO_CHANGES_PACKET (1u << 3)
#define PROTO_MIGHT_SLEEP    (1u << 4)
#define PROTO_PACKET_ACCESS  (1u << 5) /* memory arguments may lie in the packet */
#define PROTO_CASTS	     (1u << 6) /* its result is the same object as its first argument */

struct helper_proto {
	u32 id;
	const char *name; /* "bpf_map_lookup_elem" */
	enum ret_type ret;
	enum arg_type args[5];
	u32 flags; /* PROTO_* */
};

#endif
