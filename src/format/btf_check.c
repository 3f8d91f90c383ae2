/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BTF from a client is not trusted: the passes here are the kernel's (documentation: Documentation/bpf/btf.rst), with its
 * error numbers, since libbpf decides by them what the "kernel" can do.
 */
#include "format/btf_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/bpf_abi.h"

#define MAX_DEPTH   32
#define MAX_STRINGS 0xffffff

__attribute__((format(printf, 2, 3))) static void say(struct btf_log *log, const char *format, ...)
{
	va_list args;
	size_t room;
	int length;

	if (!log)
		return;
	room = log->length < log->size ? log->size - log->length : 0;
	va_start(args, format);
	length = vsnprintf(room ? log->text + log->length : NULL, room, format, args);
	va_end(args);
	log->length += length > 0 ? (size_t)length : 0;
}

static int reject(struct btf_log *log, const char *text)
{
	say(log, "%s\n", text);
	return -EINVAL;
}

static int reject_type(struct btf_log *log, u32 id, const struct btf_type *type, const char *text)
{
	say(log, "[%u] kind %u: %s\n", id, BTF_INFO_KIND(type->info), text);
	return -EINVAL;
}

static int check_sections(const struct btf_header *header, u32 header_size, u32 size,
			  struct btf_log *log)
{
	u32 body = size - header_size;
	u64 first_off = header->type_off, first_len = header->type_len;
	u64 second_off = header->str_off, second_len = header->str_len;

	if (second_off < first_off) {
		first_off = header->str_off, first_len = header->str_len;
		second_off = header->type_off, second_len = header->type_len;
	}
	if (first_off > body || second_off > body)
		return reject(log, "Invalid section offset");
	if (first_off > 0 || first_off + first_len < second_off)
		return reject(log, "Unsupported section found");
	if (first_off + first_len > second_off)
		return reject(log, "Section overlap found");
	if (second_off + second_len > body)
		return reject(log, "Total section length too long");
	if (second_off + second_len < body)
		return reject(log, "Unsupported section found");
	return 0;
}

static int check_strings(const struct btf_header *header, const char *strings, struct btf_log *log)
{
	if (header->type_off & 3)
		return reject(log, "Unaligned type_off");
	if (!header->type_len)
		return reject(log, "No type found");
	if (header->str_off < header->type_off)
		return reject(log, "String section is not at the end");
	if (!header->str_len || header->str_len - 1 > MAX_STRINGS || strings[0] ||
	    strings[header->str_len - 1])
		return reject(log, "Invalid string section");
	return 0;
}

int btf_check_header(const void *data, u32 size, struct btf_log *log,
		     struct btf_sections *ret_sections)
{
	const struct btf_header *header = data;
	const u8 *bytes = data;
	u32 length;
	int error;

	if (size < offsetof(struct btf_header, hdr_len) + sizeof(header->hdr_len))
		return reject(log, "hdr_len not found");
	length = header->hdr_len;
	if (size < length || length < sizeof(*header))
		return reject(log, "btf_header not found");
	for (u32 i = sizeof(*header); i < length; i++) {
		if (bytes[i]) {
			say(log, "Unsupported btf_header\n");
			return -E2BIG;
		}
	}
	if (header->magic != BTF_MAGIC)
		return reject(log, "Invalid magic");
	if (header->version != BTF_VERSION || header->flags) {
		say(log, header->flags ? "Unsupported flags\n" : "Unsupported version\n");
		return -ABI_ENOTSUPP;
	}
	if (size == length)
		return reject(log, "No data");
	error = check_sections(header, length, size, log);
	if (error)
		return error;
	error = check_strings(header, (const char *)data + length + header->str_off, log);
	if (error)
		return error;
	ret_sections->types = length + header->type_off;
	ret_sections->types_len = header->type_len;
	ret_sections->strings = length + header->str_off;
	ret_sections->strings_len = header->str_len;
	return 0;
}

enum name_rule {
	NAME_NONE,     /* must be absent */
	NAME_OPTIONAL, /* an identifier where present */
	NAME_NEEDED,   /* an identifier */
	NAME_SECTION,  /* anything printable */
};

/* What a kind looks like on paper. each: bytes for each of vlen; after: bytes that follow once. */
static const struct kind_rule {
	enum name_rule name;
	bool has_vlen, has_kflag;
	u8 after, each;
} kind_rules[] = {
	[BTF_KIND_INT] = {NAME_NEEDED, false, false, 4, 0},
	[BTF_KIND_PTR] = {NAME_NONE, false, false, 0, 0},
	[BTF_KIND_ARRAY] = {NAME_NONE, false, false, sizeof(struct btf_array), 0},
	[BTF_KIND_STRUCT] = {NAME_OPTIONAL, true, true, 0, sizeof(struct btf_member)},
	[BTF_KIND_UNION] = {NAME_OPTIONAL, true, true, 0, sizeof(struct btf_member)},
	[BTF_KIND_ENUM] = {NAME_OPTIONAL, true, true, 0, sizeof(struct btf_enum)},
	[BTF_KIND_FWD] = {NAME_NEEDED, false, true, 0, 0},
	[BTF_KIND_TYPEDEF] = {NAME_NEEDED, false, false, 0, 0},
	[BTF_KIND_VOLATILE] = {NAME_NONE, false, false, 0, 0},
	[BTF_KIND_CONST] = {NAME_NONE, false, false, 0, 0},
	[BTF_KIND_RESTRICT] = {NAME_NONE, false, false, 0, 0},
	[BTF_KIND_FUNC] = {NAME_NEEDED, true, false, 0, 0},
	[BTF_KIND_FUNC_PROTO] = {NAME_NONE, true, false, 0, sizeof(struct btf_param)},
	[BTF_KIND_VAR] = {NAME_SECTION, false, false, sizeof(struct btf_var), 0},
	[BTF_KIND_DATASEC] = {NAME_SECTION, true, false, 0, sizeof(struct btf_var_secinfo)},
	[BTF_KIND_FLOAT] = {NAME_NEEDED, false, false, 0, 0},
	[BTF_KIND_DECL_TAG] = {NAME_SECTION, false, true, sizeof(struct btf_decl_tag), 0},
	[BTF_KIND_TYPE_TAG] = {NAME_SECTION, false, true, 0, 0},
	[BTF_KIND_ENUM64] = {NAME_OPTIONAL, true, true, 0, sizeof(struct btf_enum64)},
};

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

static bool is_identifier(const struct btf *btf, u32 offset)
{
	const char *name = btf_string_at(btf, offset);

	if (!letter(*name))
		return false;
	while (letter(*name) || (*name >= '0' && *name <= '9'))
		name++;
	return !*name;
}

/* Whatever prints: compilers name integers "long int" and Rust names types "Vec<u8>". */
static bool is_printable(const struct btf *btf, u32 offset)
{
	const char *name = btf_string_at(btf, offset);

	while (*name >= 0x20 && *name < 0x7f)
		name++;
	return !*name;
}

static bool name_fits(const struct btf *btf, const struct btf_type *type,
		      const struct kind_rule *rule)
{
	u32 kind = BTF_INFO_KIND(type->info);

	if (type->name_off >= btf->strings_len)
		return false;
	switch (rule->name) {
	case NAME_NONE:
		return !type->name_off;
	case NAME_OPTIONAL:
		return !type->name_off || is_identifier(btf, type->name_off);
	case NAME_NEEDED:
		if (kind == BTF_KIND_INT || kind == BTF_KIND_FLOAT)
			return is_printable(btf, type->name_off);
		return is_identifier(btf, type->name_off);
	default:
		return *btf_string_at(btf, type->name_off) && is_printable(btf, type->name_off);
	}
}

static const char *int_problem(const struct btf_type *type)
{
	u32 data = *(const u32 *)(type + 1);
	u32 bits = BTF_INT_BITS(data) + BTF_INT_OFFSET(data), encoding = BTF_INT_ENCODING(data);

	if (data & ~0x0fffffffu)
		return "Invalid int_data";
	if (bits > 128)
		return "nr_bits exceeds 128";
	if ((bits + 7) / 8 > type->size)
		return "nr_bits exceeds type_size";
	if ((encoding & (encoding - 1)) || encoding > BTF_INT_BOOL)
		return "Unsupported encoding";
	return NULL;
}

static const char *members_problem(const struct btf *btf, const struct btf_type *type)
{
	const struct btf_member *members = (const void *)(type + 1);
	bool is_union = BTF_INFO_KIND(type->info) == BTF_KIND_UNION;
	u32 last = 0;

	for (u32 i = 0; i < BTF_INFO_VLEN(type->info); i++) {
		u32 offset = BTF_INFO_KFLAG(type->info) ? BTF_MEMBER_BIT_OFFSET(members[i].offset)
							: members[i].offset;

		if (members[i].name_off >= btf->strings_len ||
		    (members[i].name_off && !is_identifier(btf, members[i].name_off)))
			return "Invalid member name";
		if (!members[i].type)
			return "Invalid type_id";
		if (is_union ? offset : offset < last)
			return "Invalid member bits_offset";
		if (((u64)offset + 7) / 8 > type->size)
			return "Member bits_offset exceeds its struct size";
		last = offset;
	}
	return NULL;
}

static const char *enum_problem(const struct btf *btf, const struct btf_type *type)
{
	u32 each = kind_rules[BTF_INFO_KIND(type->info)].each;
	const char *row = (const char *)(type + 1);

	if (!type->size || type->size > 8 || (type->size & (type->size - 1)))
		return "Unexpected size";
	for (u32 i = 0; i < BTF_INFO_VLEN(type->info); i++) {
		if (!is_identifier(btf, *(const u32 *)(row + i * each)))
			return "Invalid name";
	}
	return NULL;
}

static const char *datasec_problem(const struct btf_type *type)
{
	const struct btf_var_secinfo *vars = (const void *)(type + 1);
	u64 end = 0;

	if (!type->size)
		return "size == 0";
	for (u32 i = 0; i < BTF_INFO_VLEN(type->info); i++) {
		if (!vars[i].type)
			return "Invalid type_id";
		if (vars[i].offset < end || vars[i].offset >= type->size)
			return "Invalid offset";
		if (!vars[i].size || vars[i].size > type->size)
			return "Invalid size";
		end = (u64)vars[i].offset + vars[i].size;
		if (end > type->size)
			return "Invalid offset+size";
	}
	return NULL;
}

static const char *float_problem(const struct btf_type *type)
{
	switch (type->size) {
	case 2:
	case 4:
	case 8:
	case 12:
	case 16:
		return NULL;
	default:
		return "Invalid type_size";
	}
}

static const char *kind_problem(const struct btf *btf, const struct btf_type *type)
{
	const struct btf_array *array = (const void *)(type + 1);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
		return int_problem(type);
	case BTF_KIND_FLOAT:
		return float_problem(type);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return members_problem(btf, type);
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		return enum_problem(btf, type);
	case BTF_KIND_DATASEC:
		return datasec_problem(type);
	case BTF_KIND_ARRAY:
		return type->size	    ? "size != 0"
		       : !array->type	    ? "Invalid elem"
		       : !array->index_type ? "Invalid index"
					    : NULL;
	case BTF_KIND_FWD:
		return type->type ? "type != 0" : NULL;
	case BTF_KIND_FUNC:
		return BTF_INFO_VLEN(type->info) > BTF_FUNC_GLOBAL ? "Invalid func linkage" : NULL;
	case BTF_KIND_VAR:
		if (!type->type)
			return "Invalid type_id";
		return *(const u32 *)(type + 1) > BTF_VAR_GLOBAL_ALLOCATED ? "Linkage not supported"
									   : NULL;
	case BTF_KIND_DECL_TAG:
		return *(const s32 *)(type + 1) < -1 ? "Invalid component_idx" : NULL;
	default:
		return NULL;
	}
}

int btf_check_meta(const struct btf *btf, const struct btf_type *type, u32 left, u32 id,
		   struct btf_log *log, u32 *ret_bytes)
{
	const struct kind_rule *rule;
	const char *problem;
	u32 kind, vlen;
	u64 bytes;

	if (left < sizeof(*type)) {
		say(log, "[%u] meta_left:%u meta_needed:%zu\n", id, left, sizeof(*type));
		return -EINVAL;
	}
	kind = BTF_INFO_KIND(type->info);
	vlen = BTF_INFO_VLEN(type->info);
	if (type->info & ~0x9f00ffffu)
		return reject_type(log, id, type, "Invalid btf_info");
	if (kind >= ARRAY_SIZE(kind_rules) || kind == BTF_KIND_UNKN)
		return reject_type(log, id, type, "Invalid kind");
	rule = &kind_rules[kind];
	bytes = sizeof(*type) + rule->after + (u64)rule->each * vlen;
	if (bytes > left) {
		say(log, "[%u] meta_left:%u meta_needed:%llu\n", id, left,
		    (unsigned long long)bytes);
		return -EINVAL;
	}
	if (!name_fits(btf, type, rule))
		return reject_type(log, id, type, "Invalid name");
	if (vlen && !rule->has_vlen)
		return reject_type(log, id, type, "vlen != 0");
	if (BTF_INFO_KFLAG(type->info) && !rule->has_kflag)
		return reject_type(log, id, type, "Invalid btf_info kind_flag");
	problem = kind_problem(btf, type);
	if (problem) {
		reject_type(log, id, type, problem);
		return kind == BTF_KIND_INT && problem[0] == 'U' ? -ABI_ENOTSUPP : -EINVAL;
	}
	*ret_bytes = (u32)bytes;
	return 0;
}

static u32 kind_of(const struct btf *btf, u32 id)
{
	const struct btf_type *type = btf_type_at(btf, id);

	return type ? BTF_INFO_KIND(type->info) : BTF_KIND_UNKN;
}

/* Does the type refer to one type through its `type` field, so that following it could loop? */
static bool is_link(u32 kind)
{
	switch (kind) {
	case BTF_KIND_PTR:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_CONST:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_TYPE_TAG:
		return true;
	default:
		return false;
	}
}

static const char *chain_problem(const struct btf *btf, u32 id)
{
	for (int depth = 0; is_link(kind_of(btf, id)); depth++) {
		id = btf->types[id]->type;
		if (id > btf->type_cnt)
			return "Invalid type_id";
		if (depth > MAX_DEPTH)
			return "Loop detected";
	}
	return NULL;
}

/* Does an object of type `id` contain one of type `self`, other than through a pointer? Bounded by depth. */
static bool contains(const struct btf *btf, u32 id, u32 self, int depth)
{
	const struct btf_type *type;

	id = btf_skip_modifiers(btf, id);
	type = btf_type_at(btf, id);
	if (id == self || depth > MAX_DEPTH)
		return true;
	if (!type)
		return false;
	if (kind_of(btf, id) == BTF_KIND_ARRAY)
		return contains(btf, ((const struct btf_array *)(type + 1))->type, self, depth + 1);
	return false;
}

/* States of the search for structs that contain themselves. */
enum mark {
	UNSEEN,
	OPEN,
	DONE,
};

static int walk_members(const struct btf *btf, u32 id, u8 *marks, int depth)
{
	const struct btf_type *type;
	const struct btf_member *members;
	int error = 0;

	id = btf_skip_modifiers(btf, id);
	while (kind_of(btf, id) == BTF_KIND_ARRAY) {
		if (marks[id] == OPEN || depth > MAX_DEPTH)
			return -EINVAL;
		id = btf_skip_modifiers(btf,
					((const struct btf_array *)(btf->types[id] + 1))->type);
		depth++;
	}
	if (kind_of(btf, id) != BTF_KIND_STRUCT && kind_of(btf, id) != BTF_KIND_UNION)
		return 0;
	if (marks[id] != UNSEEN || depth > MAX_DEPTH)
		return marks[id] == DONE ? 0 : -EINVAL;
	marks[id] = OPEN;
	type = btf->types[id];
	members = (const void *)(type + 1);
	for (u32 i = 0; i < BTF_INFO_VLEN(type->info) && !error; i++)
		error = walk_members(btf, members[i].type, marks, depth + 1);
	marks[id] = DONE;
	return error;
}

/* Variables, sections and tags are named by id but are no types of anything. */
static bool is_value_type(const struct btf *btf, u32 id)
{
	u32 kind = kind_of(btf, id);

	return id <= btf->type_cnt && kind != BTF_KIND_VAR && kind != BTF_KIND_DATASEC &&
	       kind != BTF_KIND_DECL_TAG;
}

/* An integer that fills its bytes. */
static bool is_regular_int(const struct btf_type *type)
{
	u32 data = *(const u32 *)(type + 1);

	return !BTF_INT_OFFSET(data) && BTF_INT_BITS(data) == type->size * 8;
}

static const char *member_problem(const struct btf *btf, const struct btf_type *type,
				  const struct btf_member *member)
{
	bool kflag = BTF_INFO_KFLAG(type->info);
	u32 offset = kflag ? BTF_MEMBER_BIT_OFFSET(member->offset) : member->offset;
	u32 width = kflag ? BTF_MEMBER_BITFIELD_SIZE(member->offset) : 0;
	s64 size = is_value_type(btf, member->type) ? btf_size_of(btf, member->type) : -EINVAL;
	const struct btf_type *below;
	u64 bits = width;

	if (size < 0)
		return "Invalid member";
	below = btf_type_at(btf, btf_skip_modifiers(btf, member->type));
	switch (BTF_INFO_KIND(below->info)) {
	case BTF_KIND_INT:
		if (!width)
			bits = BTF_INT_BITS(*(const u32 *)(below + 1));
		if (width && (!is_regular_int(below) || width > (u64)size * 8))
			return "Invalid member bitfield_size";
		if (!width && is_regular_int(below) && offset % 8)
			return "Member is not byte aligned";
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		if (!width)
			bits = (u64)size * 8;
		if (width > (u64)size * 8)
			return "Invalid member bitfield_size";
		if (!width && offset % 8)
			return "Member is not byte aligned";
		break;
	default:
		bits = (u64)size * 8;
		if (width)
			return "Invalid member bitfield_size";
		if (offset % 8)
			return "Member is not byte aligned";
		break;
	}
	return (offset + bits + 7) / 8 > type->size ? "Member exceeds struct_size" : NULL;
}

static const char *struct_problem(const struct btf *btf, const struct btf_type *type)
{
	const struct btf_member *members = (const void *)(type + 1);
	const char *problem = NULL;

	for (u32 i = 0; i < BTF_INFO_VLEN(type->info) && !problem; i++)
		problem = member_problem(btf, type, &members[i]);
	return problem;
}

static const char *array_problem(const struct btf *btf, const struct btf_type *type, u32 id)
{
	const struct btf_array *array = (const void *)(type + 1);
	const struct btf_type *index = btf_type_at(btf, btf_skip_modifiers(btf, array->index_type));
	const struct btf_type *element = btf_type_at(btf, btf_skip_modifiers(btf, array->type));

	if (!is_value_type(btf, array->index_type) || !index ||
	    BTF_INFO_KIND(index->info) != BTF_KIND_INT || !is_regular_int(index))
		return "Invalid index";
	if (!is_value_type(btf, array->type) || !element || contains(btf, array->type, id, 0) ||
	    btf_size_of(btf, id) < 0)
		return "Invalid elem";
	if (BTF_INFO_KIND(element->info) == BTF_KIND_INT && !is_regular_int(element))
		return "Invalid array of int";
	return NULL;
}

static const char *tag_problem(const struct btf *btf, const struct btf_type *type)
{
	const struct btf_type *target = btf_type_at(btf, type->type);
	s32 component = *(const s32 *)(type + 1);
	u32 count = 0;

	switch (target ? BTF_INFO_KIND(target->info) : BTF_KIND_UNKN) {
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		count = BTF_INFO_VLEN(target->info);
		break;
	case BTF_KIND_FUNC:
		if (kind_of(btf, target->type) == BTF_KIND_FUNC_PROTO)
			count = BTF_INFO_VLEN(btf->types[target->type]->info);
		break;
	case BTF_KIND_VAR:
	case BTF_KIND_TYPEDEF:
		break;
	default:
		return "Invalid type";
	}
	return component >= 0 && (u32)component >= count ? "Invalid component_idx" : NULL;
}

/* The arguments of a function have names; those of a prototype alone need none. */
static const char *func_problem(const struct btf *btf, const struct btf_type *type)
{
	const struct btf_type *proto = btf_type_at(btf, type->type);
	const struct btf_param *params;

	if (!proto || BTF_INFO_KIND(proto->info) != BTF_KIND_FUNC_PROTO)
		return "Invalid type_id";
	params = (const void *)(proto + 1);
	for (u32 i = 0; i < BTF_INFO_VLEN(proto->info); i++) {
		if (!params[i].name_off && params[i].type)
			return "Invalid arg";
	}
	return NULL;
}

static const char *proto_problem(const struct btf *btf, const struct btf_type *type)
{
	const struct btf_param *params = (const void *)(type + 1);
	u32 count = BTF_INFO_VLEN(type->info);

	if (type->type &&
	    (!is_value_type(btf, type->type) ||
	     (btf_skip_modifiers(btf, type->type) && btf_size_of(btf, type->type) < 0)))
		return "Invalid return type";
	for (u32 i = 0; i < count; i++) {
		if (params[i].type > btf->type_cnt || params[i].name_off >= btf->strings_len)
			return "Invalid arg";
		if (!params[i].type) {
			if (i + 1 < count || params[i].name_off)
				return "Invalid arg";
			continue;
		}
		if (params[i].name_off && !is_identifier(btf, params[i].name_off))
			return "Invalid arg";
		if (!is_value_type(btf, params[i].type) || btf_size_of(btf, params[i].type) < 0)
			return "Invalid arg";
	}
	return NULL;
}

static const char *references_problem(const struct btf *btf, u32 id)
{
	const struct btf_type *type = btf->types[id];
	const struct btf_var_secinfo *vars = (const void *)(type + 1);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return struct_problem(btf, type);
	case BTF_KIND_PTR:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_CONST:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_TYPE_TAG:
		return is_value_type(btf, type->type) ? NULL : "Invalid type_id";
	case BTF_KIND_ARRAY:
		return array_problem(btf, type, id);
	case BTF_KIND_FUNC:
		return func_problem(btf, type);
	case BTF_KIND_FUNC_PROTO:
		return proto_problem(btf, type);
	case BTF_KIND_VAR:
		return type->type > btf->type_cnt || btf_size_of(btf, type->type) < 0
			       ? "Invalid type_id"
			       : NULL;
	case BTF_KIND_DATASEC:
		for (u32 i = 0; i < BTF_INFO_VLEN(type->info); i++) {
			if (kind_of(btf, vars[i].type) != BTF_KIND_VAR)
				return "Not a VAR kind member";
			if (btf_size_of(btf, vars[i].type) > vars[i].size)
				return "Invalid size";
		}
		return NULL;
	case BTF_KIND_DECL_TAG:
		return tag_problem(btf, type);
	default:
		return NULL;
	}
}

int btf_check_graph(const struct btf *btf, struct btf_log *log)
{
	u8 *marks;
	int error = 0;

	/* Chains first: everything after them follows chains without counting. */
	for (u32 id = 1; id <= btf->type_cnt; id++) {
		const char *problem = chain_problem(btf, id);

		if (problem)
			return reject_type(log, id, btf->types[id], problem);
	}
	marks = calloc(btf->type_cnt + 1, 1);
	if (!marks)
		return -ENOMEM;
	for (u32 id = 1; id <= btf->type_cnt && !error; id++) {
		const char *problem = references_problem(btf, id);

		if (!problem && walk_members(btf, id, marks, 0))
			problem = "Loop detected";
		if (problem)
			error = reject_type(log, id, btf->types[id], problem);
	}
	free(marks);
	return error;
}
