/* SPDX-License-Identifier: BSD-2-Clause */
/* Life, lookup and sizes of BTF; btf_check.c decides what is well formed. */
#include "format/btf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/btf_check.h"

#define MAX_BYTES (16u << 20)
#define MAX_DEPTH 32

static int index_types(struct btf *btf, const char *types, u32 types_len, struct btf_log *log)
{
	u32 capacity = types_len / sizeof(struct btf_type) + 1;

	btf->types = calloc(capacity, sizeof(*btf->types));
	if (!btf->types)
		return -ENOMEM;
	for (u32 offset = 0; offset < types_len;) {
		const struct btf_type *type = (const void *)(types + offset);
		u32 bytes;
		int error = btf_check_meta(btf, type, types_len - offset, btf->type_cnt + 1, log,
					   &bytes);

		if (error)
			return error;
		btf->types[++btf->type_cnt] = type;
		offset += bytes;
	}
	return 0;
}

int btf_parse_raw(const void *data, u32 size, struct btf_log *log, struct btf **ret_btf)
{
	struct btf_sections sections;
	struct btf *btf;
	char *raw;
	int error;

	if (size > MAX_BYTES)
		return -E2BIG;
	error = btf_check_header(data, size, log, &sections);
	if (error)
		return error;
	btf = calloc(1, sizeof(*btf));
	raw = malloc(size);
	if (!btf || !raw) {
		free(btf);
		free(raw);
		return -ENOMEM;
	}
	memcpy(raw, data, size);
	btf->raw = raw;
	btf->raw_size = size;
	btf->strings = raw + sections.strings;
	btf->strings_len = sections.strings_len;
	error = index_types(btf, raw + sections.types, sections.types_len, log);
	if (!error)
		error = btf_check_graph(btf, log);
	if (error) {
		btf_release(btf);
		return error;
	}
	*ret_btf = btf;
	return 0;
}

void btf_release(struct btf *btf)
{
	if (!btf)
		return;
	free((void *)(uintptr_t)btf->raw);
	free(btf->types);
	free(btf);
}

const struct btf_type *btf_type_at(const struct btf *btf, u32 id)
{
	return id <= btf->type_cnt ? btf->types[id] : NULL;
}

const char *btf_string_at(const struct btf *btf, u32 offset)
{
	return offset < btf->strings_len ? btf->strings + offset : "";
}

u32 btf_skip_modifiers(const struct btf *btf, u32 id)
{
	for (;;) {
		const struct btf_type *type = btf_type_at(btf, id);

		switch (type ? BTF_INFO_KIND(type->info) : BTF_KIND_UNKN) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_CONST:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			id = type->type;
			break;
		default:
			return id;
		}
	}
}

static s64 size_at_depth(const struct btf *btf, u32 id, int depth)
{
	const struct btf_type *type = btf_type_at(btf, btf_skip_modifiers(btf, id));

	if (!type || depth > MAX_DEPTH)
		return -EINVAL;
	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_FLOAT:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_DATASEC:
		return type->size;
	case BTF_KIND_PTR:
		return sizeof(void *);
	case BTF_KIND_VAR:
		return size_at_depth(btf, type->type, depth + 1);
	case BTF_KIND_ARRAY: {
		const struct btf_array *array = (const void *)(type + 1);
		s64 size = size_at_depth(btf, array->type, depth + 1);

		if (size < 0 || (u64)size * array->nelems > UINT32_MAX)
			return -EINVAL;
		return size * array->nelems;
	}
	default:
		return -EINVAL;
	}
}

s64 btf_size_of(const struct btf *btf, u32 id)
{
	return size_at_depth(btf, id, 0);
}

u32 btf_find_kind(const struct btf *btf, u32 kind, const char *name)
{
	for (u32 id = 1; id <= btf->type_cnt; id++) {
		const struct btf_type *type = btf->types[id];

		if (BTF_INFO_KIND(type->info) == kind && !strcmp(btf_type_name(btf, type), name))
			return id;
	}
	return 0;
}

static u32 find_field_at_depth(const struct btf *btf, u32 id, const char *struct_name, int depth)
{
	const struct btf_type *type = btf_type_at(btf, btf_skip_modifiers(btf, id));
	const struct btf_member *members;

	if (!type || depth > MAX_DEPTH || BTF_INFO_KIND(type->info) != BTF_KIND_STRUCT)
		return ~0u;
	members = (const void *)(type + 1);
	for (u32 i = 0; i < BTF_INFO_VLEN(type->info); i++) {
		u32 below = btf_skip_modifiers(btf, members[i].type);
		const struct btf_type *member = btf_type_at(btf, below);
		u32 bits = BTF_INFO_KFLAG(type->info) ? BTF_MEMBER_BIT_OFFSET(members[i].offset)
						      : members[i].offset;
		u32 inner;

		if (!member || BTF_INFO_KIND(member->info) != BTF_KIND_STRUCT)
			continue;
		if (!strcmp(btf_type_name(btf, member), struct_name))
			return bits / 8;
		inner = find_field_at_depth(btf, below, struct_name, depth + 1);
		if (inner != ~0u)
			return bits / 8 + inner;
	}
	return ~0u;
}

u32 btf_find_field(const struct btf *btf, u32 id, const char *struct_name)
{
	return find_field_at_depth(btf, id, struct_name, 0);
}
