/* SPDX-License-Identifier: BSD-2-Clause */
/* Is this BTF well formed? The three passes of btf_parse_raw; private to format/. */
#ifndef INLAY_FORMAT_BTF_CHECK_H
#define INLAY_FORMAT_BTF_CHECK_H

#include "format/btf.h"

/* Offsets from the start of the data. */
struct btf_sections {
	u32 types, types_len, strings, strings_len;
};

/* Header and sections. 0, -EINVAL, -E2BIG or -ABI_ENOTSUPP. */
int btf_check_header(const void *data, u32 size, struct btf_log *log,
		     struct btf_sections *ret_sections);
/* One type by itself, with at most left bytes; id is its own. On success *ret_bytes is its length with what follows it. */
int btf_check_meta(const struct btf *btf, const struct btf_type *type, u32 left, u32 id,
		   struct btf_log *log, u32 *ret_bytes);
/* References between types: they exist, make sense, have sizes, form no cycle. */
int btf_check_graph(const struct btf *btf, struct btf_log *log);

#endif
