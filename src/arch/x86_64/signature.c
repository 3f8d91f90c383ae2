// SPDX-License-Identifier: BSD-2-Clause
/*
 * Arguments and results by the System V convention for x86-64 (psABI 1.0, section 3.2.3), from BTF.
 *
 * A type of at most 16 bytes is one or two eightbytes, each of a class; one of them in memory puts the whole there. What
 * this file does not know for sure it refuses: a call whose stack arguments were counted wrongly would break the program.
 */
#include "arch/signature.h"

#include <errno.h>

#include "format/btf.h"

#define GENERAL_REGISTERS 6
#define VECTOR_REGISTERS  8
#define MAX_DEPTH	  16

enum eightbyte {
	EIGHTBYTE_NONE,
	EIGHTBYTE_GENERAL,
	EIGHTBYTE_VECTOR,
	EIGHTBYTE_X87,
	EIGHTBYTE_MEMORY,
};

struct classes {
	enum eightbyte of[2];
	u32 size, align;
};

/* Floating types as gcc and clang name them; without pahole's option for them they come as integers, so the name decides. */
static const struct float_type {
	const char *name;
	u8 size, align;
	enum eightbyte first, second;
} float_types[] = {
	{"float", 4, 4, EIGHTBYTE_VECTOR, EIGHTBYTE_NONE},
	{"_Float32", 4, 4, EIGHTBYTE_VECTOR, EIGHTBYTE_NONE},
	{"double", 8, 8, EIGHTBYTE_VECTOR, EIGHTBYTE_NONE},
	{"_Float64", 8, 8, EIGHTBYTE_VECTOR, EIGHTBYTE_NONE},
	{"_Float32x", 8, 8, EIGHTBYTE_VECTOR, EIGHTBYTE_NONE},
	{"long double", 16, 16, EIGHTBYTE_X87, EIGHTBYTE_X87},
	{"_Float64x", 16, 16, EIGHTBYTE_X87, EIGHTBYTE_X87},
	{"complex float", 8, 4, EIGHTBYTE_VECTOR, EIGHTBYTE_NONE},
	{"complex double", 16, 8, EIGHTBYTE_VECTOR, EIGHTBYTE_VECTOR},
};

static bool same_text(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static const struct float_type *find_float(const char *name, u32 size)
{
	for (u32 i = 0; i < ARRAY_SIZE(float_types); i++) {
		if (float_types[i].size == size && same_text(float_types[i].name, name))
			return &float_types[i];
	}
	return NULL;
}

static void merge(struct classes *classes, u32 offset, enum eightbyte class)
{
	enum eightbyte *at = &classes->of[offset / 8];

	if (*at == class || class == EIGHTBYTE_NONE)
		return;
	if (*at == EIGHTBYTE_NONE)
		*at = class;
	else if (*at == EIGHTBYTE_MEMORY || class == EIGHTBYTE_MEMORY)
		*at = EIGHTBYTE_MEMORY;
	else if (*at == EIGHTBYTE_GENERAL || class == EIGHTBYTE_GENERAL)
		*at = EIGHTBYTE_GENERAL;
	else
		*at = EIGHTBYTE_MEMORY;
}

/* A scalar of size bytes at offset; one that is not aligned (packed) puts the whole into memory. */
static int place_scalar(struct classes *classes, u32 offset, u32 size, enum eightbyte first,
			enum eightbyte second, u32 align)
{
	if (!size || offset + size > 16)
		return -EOPNOTSUPP;
	if (offset % align)
		first = second = EIGHTBYTE_MEMORY;
	classes->align = MAX(classes->align, align);
	merge(classes, offset, first);
	if (size > 8)
		merge(classes, offset + 8, second);
	return 0;
}

static int classify_at(const struct btf *btf, u32 id, u32 offset, int depth,
		       struct classes *classes);

static int classify_members(const struct btf *btf, const struct btf_type *type, u32 offset,
			    int depth, struct classes *classes)
{
	const struct btf_member *members = (const void *)(type + 1);
	bool fields = BTF_INFO_KFLAG(type->info);
	int err = 0;

	for (u32 i = 0; i < BTF_INFO_VLEN(type->info) && !err; i++) {
		u32 bits = fields ? BTF_MEMBER_BIT_OFFSET(members[i].offset) : members[i].offset;

		if (fields && BTF_MEMBER_BITFIELD_SIZE(members[i].offset)) {
			if (offset + bits / 8 >= 16)
				return -EOPNOTSUPP;
			merge(classes, offset + bits / 8, EIGHTBYTE_GENERAL);
			continue;
		}
		err = classify_at(btf, members[i].type, offset + bits / 8, depth + 1, classes);
	}
	return err;
}

static int classify_array(const struct btf *btf, const struct btf_type *type, u32 offset, int depth,
			  struct classes *classes)
{
	const struct btf_array *array = (const void *)(type + 1);
	s64 size = btf_size_of(btf, array->type);
	int err = size > 0 && array->nelems <= 16 ? 0 : -EOPNOTSUPP;

	for (u32 i = 0; i < array->nelems && !err; i++)
		err = classify_at(btf, array->type, offset + i * (u32)size, depth + 1, classes);
	return err;
}

static int classify_number(const struct btf *btf, const struct btf_type *type, u32 offset,
			   struct classes *classes)
{
	const struct float_type *known = find_float(btf_type_name(btf, type), type->size);

	if (known)
		return place_scalar(classes, offset, type->size, known->first, known->second,
				    known->align);
	if (BTF_INFO_KIND(type->info) == BTF_KIND_FLOAT || (type->size & (type->size - 1)))
		return -EOPNOTSUPP;
	return place_scalar(classes, offset, type->size, EIGHTBYTE_GENERAL, EIGHTBYTE_GENERAL,
			    type->size);
}

/* The classes of what lies at offset. -EOPNOTSUPP: not known, or more than 16 bytes. */
static int classify_at(const struct btf *btf, u32 id, u32 offset, int depth,
		       struct classes *classes)
{
	const struct btf_type *type = btf_type_at(btf, btf_skip_modifiers(btf, id));

	if (!type || depth > MAX_DEPTH)
		return -EOPNOTSUPP;
	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_PTR:
		return place_scalar(classes, offset, 8, EIGHTBYTE_GENERAL, EIGHTBYTE_NONE, 8);
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_INT:
	case BTF_KIND_FLOAT:
		return classify_number(btf, type, offset, classes);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return classify_members(btf, type, offset, depth, classes);
	case BTF_KIND_ARRAY:
		/* By itself an array is passed nowhere; what says so is a vector type. */
		return depth ? classify_array(btf, type, offset, depth, classes) : -EOPNOTSUPP;
	default:
		return -EOPNOTSUPP;
	}
}

static int classify(const struct btf *btf, u32 id, struct classes *ret_classes)
{
	const struct btf_type *type = btf_type_at(btf, btf_skip_modifiers(btf, id));
	struct classes classes = {.align = 1};
	s64 size = btf_size_of(btf, id);
	int err;

	if (!type || size < 0)
		return -EOPNOTSUPP;
	classes.size = (u32)size;
	if (size > 16)
		return -E2BIG;
	err = size ? classify_at(btf, id, 0, 0, &classes) : 0;
	if (err)
		return err;
	if (classes.of[0] == EIGHTBYTE_MEMORY || classes.of[1] == EIGHTBYTE_MEMORY ||
	    (classes.of[1] == EIGHTBYTE_X87 && classes.of[0] != EIGHTBYTE_X87))
		classes.of[0] = classes.of[1] = EIGHTBYTE_MEMORY;
	*ret_classes = classes;
	return 0;
}

struct allocation {
	u32 general, vector; /* registers taken */
	struct signature *signature;
};

static bool add_slot(struct allocation *allocation, u32 place)
{
	struct signature *signature = allocation->signature;

	if (signature->slot_count == SIGNATURE_MAX_SLOTS)
		return false;
	signature->slots[signature->slot_count++] = (u8)place;
	return true;
}

static bool place_on_stack(struct allocation *allocation, const struct classes *classes)
{
	struct signature *signature = allocation->signature;
	u32 words = (classes->size + 7) / 8;

	if (classes->align > 8)
		signature->stack_words = (u8)ALIGN_UP((u32)signature->stack_words, 2u);
	for (u32 i = 0; i < words; i++) {
		if (!add_slot(allocation, SIGNATURE_STACK + signature->stack_words))
			return false;
		signature->stack_words++;
	}
	return true;
}

/* An argument is in registers as a whole, or on the stack. */
static bool place_argument(struct allocation *allocation, const struct classes *classes)
{
	u32 general = 0, vector = 0;
	bool memory = false;

	for (u32 i = 0; i < 2; i++) {
		general += classes->of[i] == EIGHTBYTE_GENERAL;
		vector += classes->of[i] == EIGHTBYTE_VECTOR;
		memory |= classes->of[i] == EIGHTBYTE_MEMORY || classes->of[i] == EIGHTBYTE_X87;
	}
	if (memory || allocation->general + general > GENERAL_REGISTERS ||
	    allocation->vector + vector > VECTOR_REGISTERS)
		return place_on_stack(allocation, classes);
	for (u32 i = 0; i < 2; i++) {
		if (classes->of[i] == EIGHTBYTE_GENERAL &&
		    !add_slot(allocation, SIGNATURE_GENERAL + allocation->general++))
			return false;
		if (classes->of[i] == EIGHTBYTE_VECTOR &&
		    !add_slot(allocation, SIGNATURE_VECTOR + allocation->vector++))
			return false;
	}
	return true;
}

static int classify_result(const struct btf *btf, u32 id, enum signature_return *ret_returns)
{
	struct classes classes;
	int err;

	if (!btf_skip_modifiers(btf, id)) {
		*ret_returns = SIGNATURE_VOID;
		return 0;
	}
	err = classify(btf, id, &classes);
	if (err && err != -E2BIG)
		return err;
	if (err || classes.of[0] == EIGHTBYTE_MEMORY)
		*ret_returns = SIGNATURE_MEMORY;
	else if (classes.of[0] == EIGHTBYTE_GENERAL)
		*ret_returns =
			classes.of[1] == EIGHTBYTE_NONE ? SIGNATURE_INTEGER : SIGNATURE_COMPOUND;
	else if (classes.of[0] == EIGHTBYTE_VECTOR)
		*ret_returns = SIGNATURE_FLOAT;
	else
		*ret_returns = SIGNATURE_HIDDEN;
	return 0;
}

static int place_arguments(const struct btf *btf, const struct btf_type *type,
			   struct signature *signature, const char **ret_reason)
{
	const struct btf_param *params = (const void *)(type + 1);
	struct allocation allocation = {.general = signature->returns == SIGNATURE_MEMORY,
					.signature = signature};
	u32 count = BTF_INFO_VLEN(type->info);

	for (u32 i = 0; i < count; i++) {
		struct classes classes;
		int err;

		if (!params[i].type && i + 1 == count) {
			signature->variadic = 1;
			break;
		}
		err = classify(btf, params[i].type, &classes);
		if (err) {
			*ret_reason = err == -E2BIG ? "it takes more than 16 bytes by value in one "
						      "argument"
						    : "it takes an argument of a type that is not "
						      "served (a vector, or one that has no size)";
			return -EOPNOTSUPP;
		}
		if (!place_argument(&allocation, &classes)) {
			*ret_reason = "its arguments fill more than 12 words";
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

int signature_of_prototype(const struct btf *btf, u32 prototype, struct signature *ret_signature,
			   const char **ret_reason)
{
	const struct btf_type *type = btf_type_at(btf, prototype);
	struct signature signature = {.known = 1};
	enum signature_return returns;
	int err;

	*ret_reason = "its type is not known";
	if (!type || BTF_INFO_KIND(type->info) != BTF_KIND_FUNC_PROTO)
		return -EINVAL;
	if (classify_result(btf, type->type, &returns)) {
		*ret_reason = "it returns a type that is not served (a vector, or one that has no "
			      "size)";
		return -EOPNOTSUPP;
	}
	signature.returns = (u8)returns;
	err = place_arguments(btf, type, &signature, ret_reason);
	if (!err)
		*ret_signature = signature;
	return err;
}
