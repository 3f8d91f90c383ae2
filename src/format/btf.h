/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BTF: the types of a program, parsed and checked once. Loader only.
 *
 * The wire structures (struct btf_header, btf_type, btf_member, btf_param, ...) and BTF_INFO_* are linux/btf.h's. Names
 * here avoid those of libbpf's bpf/btf.h, so that a file may include both; an instance of this struct btf is
 * never one of libbpf's.
 */
#ifndef INLAY_FORMAT_BTF_H
#define INLAY_FORMAT_BTF_H

#include <linux/btf.h>

#include "base/types.h"

struct btf {
	const char *raw; /* header, types, strings, as loaded; owned */
	u32 raw_size;
	u32 type_cnt;		       /* ids 1 .. type_cnt; 0 is void */
	const struct btf_type **types; /* types[0] is NULL */
	const char *strings;
	u32 strings_len;
};

/* Where parsing says what is wrong: a buffer that is always NUL terminated (size 0: nothing is written). */
struct btf_log {
	char *text;
	size_t size;
	size_t length; /* what it would be untruncated */
};

/*
 * Parses and checks BTF as BPF_BTF_LOAD does. data is copied. log may be NULL. Errors: -EINVAL, -E2BIG, -ENOTSUPP (524:
 * a header of a newer format), -ENOMEM. Any thread. Free with btf_release.
 */
int btf_parse_raw(const void *data, u32 size, struct btf_log *log, struct btf **ret_btf);
void btf_release(struct btf *btf);

/* The type with this id; NULL for void and unknown ids. */
const struct btf_type *btf_type_at(const struct btf *btf, u32 id);
/* The string at an offset; "" when out of range. */
const char *btf_string_at(const struct btf *btf, u32 offset);
static inline const char *btf_type_name(const struct btf *btf, const struct btf_type *type)
{
	return btf_string_at(btf, type->name_off);
}
/* Through typedef, const, volatile, restrict and type tags. Returns the id of what is below (0: void). */
u32 btf_skip_modifiers(const struct btf *btf, u32 id);
/* Bytes an object of this type takes, or -EINVAL (void, functions, forward declarations). */
s64 btf_size_of(const struct btf *btf, u32 id);
/* The first type of this kind and name; 0 when there is none. */
u32 btf_find_kind(const struct btf *btf, u32 kind, const char *name);
/* Byte offset of the first member (recursively) whose type is `struct name`, in struct type id; ~0u: none. */
u32 btf_find_field(const struct btf *btf, u32 id, const char *struct_name);

#endif
