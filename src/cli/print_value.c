/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/print_value.h"

#include <bpf/btf.h>
#include <ctype.h>
#include <string.h>

/* Nesting of types that is followed; BTF may be foreign, and a struct cannot really contain itself. */
#define DEPTH_MAX 16

/* How one walk over a value writes. */
struct style {
	FILE *out;
	bool json;
};

static void write_type(const struct style *style, const struct value_type *type, const u8 *value,
		       int depth);

u32 print_value_strip(const struct btf *btf, u32 id)
{
	for (int i = 0; i < 64; i++) {
		const struct btf_type *type = btf__type_by_id(btf, id);

		if (!type)
			return 0;
		if (!btf_is_mod(type) && !btf_is_typedef(type) && !btf_is_var(type) &&
		    !btf_is_type_tag(type))
			return id;
		id = type->type;
	}
	return 0;
}

static const struct btf_type *resolve(const struct value_type *type)
{
	return type->btf && type->id
		       ? btf__type_by_id(type->btf, print_value_strip(type->btf, type->id))
		       : NULL;
}

static struct value_type inner(const struct value_type *outer, u32 id)
{
	s64 size = btf__resolve_size(outer->btf, id);

	return (struct value_type){outer->btf, id, size > 0 ? (u32)size : 0};
}

/* Little-endian, size <= 8. */
static u64 load(const u8 *value, u32 size)
{
	u64 word = 0;

	memcpy(&word, value, size > 8 ? 8 : size);
	return word;
}

static s64 sign_extend(u64 word, u32 bits)
{
	return bits && bits < 64 ? (s64)(word << (64 - bits)) >> (64 - bits) : (s64)word;
}

static bool is_text_char(const struct value_type *element)
{
	const struct btf_type *type = resolve(element);

	if (!type || !btf_is_int(type) || type->size != 1)
		return false;
	return btf_int_encoding(type) & BTF_INT_CHAR ||
	       !strcmp(btf__name_by_offset(element->btf, type->name_off), "char");
}

static void write_hex(const struct style *style, const u8 *bytes, u32 size)
{
	fputs(style->json ? "\"0x" : "0x", style->out);
	for (u32 i = 0; i < size; i++)
		fprintf(style->out, "%02x", bytes[i]);
	if (style->json)
		fputc('"', style->out);
}

/* Bytes of the UTF-8 sequence that starts here, or 0. */
static size_t utf8_length(const u8 *text, size_t left)
{
	size_t length = *text < 0x80				  ? 1
			: (*text & 0xe0) == 0xc0 && *text >= 0xc2 ? 2
			: (*text & 0xf0) == 0xe0		  ? 3
			: (*text & 0xf8) == 0xf0 && *text <= 0xf4 ? 4
								  : 0;

	if (length > left)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

void print_json_string(FILE *out, const char *text, size_t length)
{
	const u8 *at = (const u8 *)text;

	fputc('"', out);
	while (length) {
		size_t step = utf8_length(at, length);

		if (!step || *at < 0x20 || *at == 0x7f) {
			fprintf(out, "\\u%04x", *at);
			step = 1;
		} else {
			if (*at == '"' || *at == '\\')
				fputc('\\', out);
			fwrite(at, 1, step, out);
		}
		at += step;
		length -= step;
	}
	fputc('"', out);
}

static void write_text(const struct style *style, const u8 *text, u32 size)
{
	size_t length = strnlen((const char *)text, size);

	if (style->json) {
		print_json_string(style->out, (const char *)text, length);
		return;
	}
	while (length) {
		size_t step = utf8_length(text, length);

		if (!step || *text < 0x20 || *text == 0x7f) {
			fprintf(style->out, "\\x%02x", *text);
			step = 1;
		} else {
			fwrite(text, 1, step, style->out);
		}
		text += step;
		length -= step;
	}
}

static void write_number(const struct style *style, u64 word, u32 bits, bool is_signed)
{
	if (is_signed)
		fprintf(style->out, "%lld", (long long)sign_extend(word, bits));
	else
		fprintf(style->out, "%llu",
			(unsigned long long)(bits < 64 ? word & ((1ull << bits) - 1) : word));
}

static void write_int(const struct style *style, const struct btf_type *type, const u8 *value)
{
	u32 encoding = btf_int_encoding(type);

	if (type->size > 8)
		write_hex(style, value, type->size);
	else if (encoding & BTF_INT_BOOL)
		fputs(load(value, type->size) ? "true" : "false", style->out);
	else
		write_number(style, load(value, type->size), type->size * 8,
			     encoding & BTF_INT_SIGNED);
}

static void write_enum(const struct style *style, const struct btf *btf,
		       const struct btf_type *type, const u8 *value)
{
	s64 number = sign_extend(load(value, type->size), type->size * 8);

	for (u32 i = 0; i < btf_vlen(type); i++) {
		const struct btf_enum *row = &btf_enum(type)[i];

		if (btf_is_enum(type) && row->val == (s32)number) {
			fprintf(style->out, style->json ? "\"%s\"" : "%s",
				btf__name_by_offset(btf, row->name_off));
			return;
		}
	}
	fprintf(style->out, "%lld", (long long)number);
}

static void write_float(const struct style *style, u32 size, const u8 *value)
{
	float single;
	double number;

	if (size == sizeof(single)) {
		memcpy(&single, value, sizeof(single));
		number = (double)single;
	} else if (size == sizeof(number)) {
		memcpy(&number, value, sizeof(number));
	} else {
		write_hex(style, value, size);
		return;
	}
	fprintf(style->out, "%g", number);
}

static void write_array(const struct style *style, const struct value_type *outer,
			const struct btf_type *type, const u8 *value, int depth)
{
	const struct btf_array *array = btf_array(type);
	struct value_type element = inner(outer, array->type);

	if (is_text_char(&element)) {
		write_text(style, value, array->nelems);
		return;
	}
	fputc('[', style->out);
	for (u32 i = 0; i < array->nelems; i++) {
		if (i)
			fputs(", ", style->out);
		write_type(style, &element, value + (size_t)i * element.size, depth + 1);
	}
	fputc(']', style->out);
}

static void write_member(const struct style *style, const struct value_type *outer,
			 const struct btf_type *type, u32 index, const u8 *value, int depth)
{
	const struct btf_member *member = &btf_members(type)[index];
	struct value_type member_type = inner(outer, member->type);
	u32 bit = btf_member_bit_offset(type, index);
	u32 bits = btf_member_bitfield_size(type, index);
	const struct btf_type *base = resolve(&member_type);

	if (bits && base && btf_is_int(base)) {
		u64 word = load(value + bit / 8, MIN(8u, outer->size - bit / 8)) >> bit % 8;

		write_number(style, word, bits, btf_int_encoding(base) & BTF_INT_SIGNED);
		return;
	}
	write_type(style, &member_type, value + bit / 8, depth + 1);
}

static void write_struct(const struct style *style, const struct value_type *outer,
			 const struct btf_type *type, const u8 *value, int depth)
{
	fputc('{', style->out);
	for (u32 i = 0; i < btf_vlen(type); i++) {
		const char *name = btf__name_by_offset(outer->btf, btf_members(type)[i].name_off);

		if (i)
			fputs(", ", style->out);
		if (style->json && *name) {
			fprintf(style->out, "\"%s\": ", name);
		} else if (style->json) {
			fprintf(style->out, "\"_%u\": ", i);
		}
		write_member(style, outer, type, i, value, depth);
	}
	fputc('}', style->out);
}

static void write_untyped(const struct style *style, u32 size, const u8 *value)
{
	if (size == 1 || size == 2 || size == 4 || size == 8)
		write_number(style, load(value, size), size * 8, false);
	else
		write_hex(style, value, size);
}

static void write_type(const struct style *style, const struct value_type *type, const u8 *value,
		       int depth)
{
	const struct btf_type *resolved = resolve(type);

	switch (resolved && depth < DEPTH_MAX ? btf_kind(resolved) : (u32)BTF_KIND_UNKN) {
	case BTF_KIND_INT:
		write_int(style, resolved, value);
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		write_enum(style, type->btf, resolved, value);
		break;
	case BTF_KIND_FLOAT:
		write_float(style, resolved->size, value);
		break;
	case BTF_KIND_PTR:
		fprintf(style->out, style->json ? "\"0x%llx\"" : "0x%llx",
			(unsigned long long)load(value, 8));
		break;
	case BTF_KIND_ARRAY:
		write_array(style, type, resolved, value, depth);
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		write_struct(style, type, resolved, value, depth);
		break;
	default:
		write_untyped(style, type->size, value);
	}
}

void print_value_text(FILE *out, const struct value_type *type, const void *value)
{
	write_type(&(struct style){out, false}, type, value, 0);
}

void print_value_json(FILE *out, const struct value_type *type, const void *value)
{
	write_type(&(struct style){out, true}, type, value, 0);
}

/* The integer type that a value is, or whose member comes first; offset 0 in either case. NULL: none. */
static const struct btf_type *leading_integer(const struct value_type *type)
{
	struct value_type at = *type;

	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		const struct btf_type *resolved = resolve(&at);

		if (!resolved)
			return NULL;
		if (btf_is_int(resolved))
			return resolved->size <= 8 ? resolved : NULL;
		if (btf_is_composite(resolved) && btf_vlen(resolved))
			at = inner(&at, btf_members(resolved)[0].type);
		else if (btf_is_array(resolved))
			at = inner(&at, btf_array(resolved)->type);
		else
			return NULL;
		if (is_text_char(&at))
			return NULL;
	}
	return NULL;
}

int print_value_compare(const struct value_type *type, const void *a, const void *b)
{
	const struct btf_type *integer = leading_integer(type);
	u32 size = integer ? integer->size : type->size;
	u64 x, y;

	if (!integer && (type->id || size > 8))
		return memcmp(a, b, type->size);
	x = load(a, size);
	y = load(b, size);
	if (integer && btf_int_encoding(integer) & BTF_INT_SIGNED) {
		s64 p = sign_extend(x, size * 8);
		s64 q = sign_extend(y, size * 8);

		return p < q ? -1 : p > q;
	}
	return x < y ? -1 : x > y;
}

bool print_value_integer(const struct value_type *type, const void *value, s64 *ret_number)
{
	const struct btf_type *resolved = resolve(type);
	u32 size = resolved ? resolved->size : type->size;

	if ((resolved && !btf_is_int(resolved)) || (!resolved && type->id) || size > 8)
		return false;
	if (!resolved && size != 1 && size != 2 && size != 4 && size != 8)
		return false;
	*ret_number = resolved && btf_int_encoding(resolved) & BTF_INT_SIGNED
			      ? sign_extend(load(value, size), size * 8)
			      : (s64)load(value, size);
	return true;
}

static bool only_integers(const struct value_type *type, int depth)
{
	const struct btf_type *resolved = resolve(type);
	struct value_type element;

	if (!resolved || depth >= DEPTH_MAX)
		return !resolved && !type->id && (type->size == 4 || type->size == 8);
	if (btf_is_int(resolved))
		return resolved->size <= 8 && !(btf_int_encoding(resolved) & BTF_INT_BOOL);
	if (btf_is_array(resolved)) {
		element = inner(type, btf_array(resolved)->type);
		return !is_text_char(&element) && only_integers(&element, depth + 1);
	}
	if (!btf_is_struct(resolved))
		return false;
	for (u32 i = 0; i < btf_vlen(resolved); i++) {
		element = inner(type, btf_members(resolved)[i].type);
		if (btf_member_bitfield_size(resolved, i) || !only_integers(&element, depth + 1))
			return false;
	}
	return true;
}

static void add(const struct value_type *type, u8 *sum, const u8 *value)
{
	const struct btf_type *resolved = resolve(type);
	struct value_type element;
	u64 word;

	if (resolved && btf_is_array(resolved)) {
		element = inner(type, btf_array(resolved)->type);
		for (size_t i = 0; i < btf_array(resolved)->nelems; i++)
			add(&element, sum + i * element.size, value + i * element.size);
		return;
	}
	if (resolved && btf_is_struct(resolved)) {
		for (u32 i = 0; i < btf_vlen(resolved); i++) {
			u32 offset = btf_member_bit_offset(resolved, i) / 8;

			element = inner(type, btf_members(resolved)[i].type);
			add(&element, sum + offset, value + offset);
		}
		return;
	}
	word = load(sum, type->size) + load(value, type->size);
	memcpy(sum, &word, type->size);
}

bool print_value_add(const struct value_type *type, void *sum, const void *value)
{
	if (!only_integers(type, 0))
		return false;
	add(type, sum, value);
	return true;
}
