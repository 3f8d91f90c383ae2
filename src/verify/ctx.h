/* SPDX-License-Identifier: BSD-2-Clause */
/* What each program type finds in its context, as data, and what it may do. */
#ifndef INLAY_VERIFY_CTX_H
#define INLAY_VERIFY_CTX_H

#include "verify/verify_priv.h"

/* How much of a field one access may cover. */
enum ctx_width {
	CTX_WHOLE,  /* exactly the field's size */
	CTX_NARROW, /* reads of any aligned part; writes of the whole */
	CTX_ANY,    /* any aligned access inside */
};

struct ctx_field {
	u16 off, end;
	u8 size; /* of one element; [off, end) may hold several */
	enum ctx_width width;
	u8 access;	 /* CTX_READ | CTX_WRITE */
	u8 gives;	 /* enum reg_type of a read; 0: a scalar */
	u64 attach_mask; /* bit = attach type (below 64) that sees it; 0: all */
};

#define CTX_READ  1
#define CTX_WRITE 2

struct ctx_rules {
	u32 prog_type;
	u32 size;
	const struct ctx_field *fields;
	u32 field_cnt;
	bool packet_read, packet_write; /* direct access through data pointers */
	bool ld_abs;
};

/* NULL: programs of this type are not known. */
const struct ctx_rules *ctx_rules_of(u32 prog_type);
/*
 * A load into dst (or a store) of size bytes at off of the context. On success the load's result is in ret_reg. 0 or
 * -EACCES, with the log line written.
 */
int ctx_access(struct verifier *env, s64 off, u32 size, bool write, struct reg *ret_reg);
/* May a pointer of this socket type (enum reg_type) be read at off? */
bool ctx_socket_covers(u8 type, s64 off, u32 size);

#endif
