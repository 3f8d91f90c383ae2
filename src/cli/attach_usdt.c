/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_usdt.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binary/foreign.h"
#include "binary/process.h"
#include "binary/usdt.h"

/*
 * The values of __bpf_usdt_specs, as libbpf's usdt.bpf.h declares them: an array of how arguments are found, a cookie of the
 * user's, how many arguments. The first of libbpf 1.0, the second of 1.7, which knows index registers.
 */
struct argument_v1 {
	u64 offset;
	u32 type;
	s16 reg;
	u8 is_signed;
	u8 shift; /* bits above the value */
};

struct argument_v2 {
	u64 offset;
	u8 type;
	u8 pad;
	u16 index; /* bits 0-11: offset in pt_regs; 12-15: shift */
	u8 reserved;
	s16 reg;
	u8 is_signed;
	u8 shift;
};

struct spec_v1 {
	struct argument_v1 arguments[USDT_MAX_ARGUMENTS];
	u64 cookie;
	s16 count;
};

struct spec_v2 {
	struct argument_v2 arguments[USDT_MAX_ARGUMENTS];
	u64 cookie;
	s16 count;
};

union spec {
	struct spec_v1 v1;
	struct spec_v2 v2;
};

enum spec_type {
	SPEC_CONSTANT,
	SPEC_REGISTER,
	SPEC_MEMORY,
	SPEC_MEMORY_INDEXED, /* v2 */
	SPEC_UNKNOWN = 0xff, /* reads as -EINVAL */
};

struct search {
	struct process *process;
	const struct attach_section *section;
	const struct process_module *module;
	struct binary *binary;
	struct attach_places *places;
	char *problem;
	size_t problem_size;
};

static int __attribute__((format(printf, 4, 5)))
fail(char *problem, size_t size, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem, size, format, args);
	va_end(args);
	return error;
}

static bool matches(const struct search *search, const struct usdt_note *note)
{
	return !strcmp(note->provider, search->section->provider) &&
	       !strcmp(note->name, search->section->function);
}

/* How many places of the probe a module has. */
static u32 count_in(const struct search *search, const struct process_module *module)
{
	const struct usdt_note *notes;
	struct binary *binary;
	size_t count;
	u32 found = 0;

	if (process_binary(search->process, module, &binary))
		return 0;
	notes = binary_usdt_notes(binary, &count);
	for (size_t i = 0; i < count; i++)
		found += matches(search, &notes[i]);
	return found;
}

/* The one module that has it. */
static int find_anywhere(struct search *search)
{
	const struct attach_section *section = search->section;
	const struct process_module *modules;
	size_t count;

	modules = process_modules(search->process, &count);
	for (size_t i = 0; i < count; i++) {
		if (!count_in(search, &modules[i]))
			continue;
		if (search->module)
			return fail(search->problem, search->problem_size, -EINVAL,
				    "both %s and %s have a probe %s:%s; name one of them in the "
				    "section",
				    search->module->path, modules[i].path, section->provider,
				    section->function);
		search->module = &modules[i];
	}
	return search->module ? 0
			      : fail(search->problem, search->problem_size, -ENOENT,
				     "no module of process %d has a probe %s:%s",
				     process_facts(search->process)->pid, section->provider,
				     section->function);
}

static int find_module(struct search *search)
{
	const char *name = search->section->binary;

	if (!*name)
		return find_anywhere(search);
	search->module = process_find_module(search->process, name);
	return search->module ? 0
			      : fail(search->problem, search->problem_size, -ENOENT, "%s",
				     process_problem());
}

/* Can the place be entered? If not, why. */
static bool is_obstructed(struct search *search, const struct usdt_note *note)
{
	char *why = search->places->left_why;
	size_t size = sizeof(search->places->left_why);
	const char *reason = "";
	struct site_spec spec;

	if (binary_plan_point(search->binary, note->address, &spec, &reason)) {
		snprintf(why, size, "%s", reason);
		return true;
	}
	binary_rebase(&spec, search->module->bias);
	return foreign_check(search->process, &spec, why, size) != 0;
}

static bool is_known(const struct attach_places *places, u64 offset)
{
	for (u32 i = 0; i < places->count; i++) {
		if (places->offsets[i] == offset)
			return true;
	}
	return false;
}

/* The arrays of places have room for it. */
static int add_place(struct search *search, const struct usdt_note *note)
{
	struct attach_places *places = search->places;
	u64 offset, semaphore = 0;
	char *arguments;

	if (binary_address_to_offset(search->binary, note->address, &offset) ||
	    (note->semaphore &&
	     binary_address_to_offset(search->binary, note->semaphore, &semaphore)))
		return fail(search->problem, search->problem_size, -ENOENT,
			    "the note of %s:%s in %s leads outside of the file", note->provider,
			    note->name, search->module->path);
	if (is_known(places, offset))
		return 0;
	if (is_obstructed(search, note)) {
		places->left_out++;
		return 0;
	}
	arguments = strdup(note->arguments);
	if (!arguments)
		return fail(search->problem, search->problem_size, -ENOMEM, "out of memory");
	places->offsets[places->count] = offset;
	places->semaphores[places->count] = semaphore;
	places->arguments[places->count++] = arguments;
	return 0;
}

static int make_room(struct search *search, u32 count)
{
	struct attach_places *places = search->places;

	places->path = attach_visible_path(search->process, search->module);
	places->offsets = calloc(count, sizeof(*places->offsets));
	places->semaphores = calloc(count, sizeof(*places->semaphores));
	places->cookies = calloc(count, sizeof(*places->cookies));
	places->arguments = calloc(count, sizeof(*places->arguments));
	return places->path && places->offsets && places->semaphores && places->cookies &&
			       places->arguments
		       ? 0
		       : fail(search->problem, search->problem_size, -ENOMEM, "out of memory");
}

static int add_places(struct search *search)
{
	const struct attach_section *section = search->section;
	u32 expected = count_in(search, search->module);
	const struct usdt_note *notes;
	size_t count;
	int err;

	if (!expected)
		return fail(search->problem, search->problem_size, -ENOENT, "%s has no probe %s:%s",
			    search->module->path, section->provider, section->function);
	err = make_room(search, expected);
	if (!err)
		err = process_binary(search->process, search->module, &search->binary);
	if (err)
		return err;
	notes = binary_usdt_notes(search->binary, &count);
	for (size_t i = 0; i < count && !err; i++) {
		if (matches(search, &notes[i]))
			err = add_place(search, &notes[i]);
	}
	if (!err && !search->places->count)
		err = fail(search->problem, search->problem_size, -EOPNOTSUPP,
			   "%s:%s of %s cannot be probed: %s", section->provider, section->function,
			   search->module->path, search->places->left_why);
	return err;
}

int attach_usdt_resolve(struct process *process, const struct attach_section *section,
			struct attach_places *places, char *problem, size_t problem_size)
{
	struct search search = {.process = process,
				.section = section,
				.places = places,
				.problem = problem,
				.problem_size = problem_size};
	int err = find_module(&search);

	if (!err)
		err = add_places(&search);
	if (err)
		attach_places_free(places);
	return err;
}

/* ---- arguments ---- */

static u8 type_of(const struct usdt_argument *argument)
{
	switch (argument->where) {
	case USDT_CONSTANT:
		return SPEC_CONSTANT;
	case USDT_REGISTER:
		return SPEC_REGISTER;
	case USDT_MEMORY:
		return SPEC_MEMORY;
	case USDT_MEMORY_INDEXED:
		return SPEC_MEMORY_INDEXED;
	case USDT_UNKNOWN:
		break;
	}
	return SPEC_UNKNOWN;
}

/* Answers whether the program will find it. */
static bool describe_v1(const struct usdt_argument *from, struct argument_v1 *to)
{
	u8 type = type_of(from);

	*to = (struct argument_v1){
		.offset = (u64)from->offset,
		.type = type == SPEC_MEMORY_INDEXED ? SPEC_UNKNOWN : type,
		.reg = (s16)from->reg,
		.is_signed = from->is_signed,
		.shift = (u8)(64 - 8 * from->size),
	};
	return to->type != SPEC_UNKNOWN;
}

static bool describe_v2(const struct usdt_argument *from, struct argument_v2 *to)
{
	*to = (struct argument_v2){
		.offset = (u64)from->offset,
		.type = type_of(from),
		.index = (u16)(from->index | from->scale << 12),
		.reg = (s16)from->reg,
		.is_signed = from->is_signed,
		.shift = (u8)(64 - 8 * from->size),
	};
	return to->type != SPEC_UNKNOWN;
}

/* How many arguments the program will not find. */
static u32 make_spec(const char *text, bool is_v2, union spec *spec)
{
	struct usdt_argument arguments[USDT_MAX_ARGUMENTS];
	int count = usdt_arguments(text, arguments);
	u32 unknown = 0;

	memset(spec, 0, sizeof(*spec));
	for (int i = 0; i < count; i++)
		unknown += is_v2 ? !describe_v2(&arguments[i], &spec->v2.arguments[i])
				 : !describe_v1(&arguments[i], &spec->v1.arguments[i]);
	if (is_v2)
		spec->v2.count = (s16)MAX(count, 0);
	else
		spec->v1.count = (s16)MAX(count, 0);
	return unknown;
}

/* A place before this one that finds its arguments in the same way, or i. */
static u32 find_same(const struct attach_places *places, u32 i)
{
	u32 other = 0;

	while (other < i && strcmp(places->arguments[other], places->arguments[i]))
		other++;
	return other;
}

int attach_usdt_specs(const struct bpf_object *object, struct attach_places *places, u32 *next,
		      u32 *ret_unknown, char *problem, size_t problem_size)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(object, "__bpf_usdt_specs");
	u32 size = map ? bpf_map__value_size(map) : 0, unknown = 0;

	/* Without it the program does not ask for arguments. */
	if (map && size != sizeof(struct spec_v1) && size != sizeof(struct spec_v2))
		return fail(problem, problem_size, -EINVAL,
			    "__bpf_usdt_specs is not the map of libbpf's usdt.bpf.h");
	for (u32 i = 0; map && i < places->count; i++) {
		u32 same = find_same(places, i), key = *next;
		union spec spec;

		if (same < i) {
			places->cookies[i] = places->cookies[same];
			continue;
		}
		unknown += make_spec(places->arguments[i], size == sizeof(struct spec_v2), &spec);
		if (bpf_map_update_elem(bpf_map__fd(map), &key, &spec, 0))
			return fail(problem, problem_size, -errno,
				    "there is no room for one more kind of place: define "
				    "BPF_USDT_MAX_SPEC_CNT above %u before usdt.bpf.h",
				    key);
		places->cookies[i] = key;
		(*next)++;
	}
	*ret_unknown = unknown;
	return 0;
}
