/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_resolve.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binary/foreign.h"
#include "binary/process.h"
#include "cli/attach_usdt.h"

/* One resolution at work. */
struct search {
	struct process *process;
	const struct attach_section *section;
	const struct process_module *module;
	struct binary *binary;
	struct attach_places *places;
	char *problem;
	size_t problem_size;
	char foreign[512]; /* what somebody else did to the last function looked at */
};

static int __attribute__((format(printf, 3, 4)))
fail(const struct search *search, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(search->problem, search->problem_size, format, args);
	va_end(args);
	return error;
}

static int add_offset(struct search *search, u64 offset)
{
	struct attach_places *places = search->places;
	u64 *offsets = reallocarray(places->offsets, places->count + 1, sizeof(*offsets));

	if (!offsets)
		return fail(search, -ENOMEM, "out of memory");
	places->offsets = offsets;
	places->offsets[places->count++] = offset;
	return 0;
}

/* Why the function cannot be entered, or NULL. */
static const char *obstacle(struct search *search, const struct binary_function *function)
{
	struct site_spec spec;
	const char *reason = "no way in was found";

	memset(&spec, 0, sizeof(spec));
	if (binary_plan(search->binary, function, &spec, &reason))
		return reason;
	binary_rebase(&spec, search->module->bias);
	return foreign_check(search->process, &spec, search->foreign, sizeof(search->foreign))
		       ? search->foreign
		       : NULL;
}

static int resolve_name(struct search *search)
{
	const char *name = search->section->function;
	const struct binary_function *function;
	const char *reason;
	u64 address, offset;
	int err;

	err = process_find_function(search->process, search->module, name, &address);
	if (err)
		return fail(search, err, "%s", process_problem());
	err = binary_address_to_offset(search->binary, address - search->module->bias, &offset);
	if (err)
		return fail(search, err, "'%s' is not in the code of %s", name,
			    search->module->path);
	function = binary_at_offset(search->binary, offset);
	reason = function ? obstacle(search, function) : NULL;
	if (reason)
		return fail(search, -EOPNOTSUPP, "'%s' of %s cannot be probed: %s", name,
			    search->module->path, reason);
	return add_offset(search, offset);
}

/* An instruction inside a function: file offset, or name and distance. */
static int resolve_offset(struct search *search)
{
	const struct attach_section *section = search->section;
	const char *reason = "";
	struct site_spec spec;
	u64 offset = 0, address;
	int err;

	if (*section->function) {
		err = resolve_name(search);
		if (err || !section->offset)
			return err;
		offset = search->places->offsets[--search->places->count];
	}
	offset += section->offset;
	if (section->at_return)
		return fail(search, -EOPNOTSUPP, "'%s+%#llx': only whole functions return",
			    section->function, (unsigned long long)section->offset);
	err = binary_offset_to_address(search->binary, offset, &address);
	if (!err)
		err = binary_plan_point(search->binary, address, &spec, &reason);
	if (err)
		return fail(search, err, "file offset %#llx of %s cannot be probed: %s",
			    (unsigned long long)offset, search->module->path,
			    *reason ? reason : "nothing is there");
	return add_offset(search, offset);
}

static int by_offset(const void *a, const void *b)
{
	u64 x = *(const u64 *)a;
	u64 y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Aliases are one place. */
static void drop_doubles(struct attach_places *places)
{
	u32 kept = 0;

	qsort(places->offsets, places->count, sizeof(*places->offsets), by_offset);
	for (u32 i = 0; i < places->count; i++) {
		if (!kept || places->offsets[kept - 1] != places->offsets[i])
			places->offsets[kept++] = places->offsets[i];
	}
	places->count = kept;
}

static int resolve_glob(struct search *search)
{
	const char *glob = search->section->function;
	const char *reason = NULL;
	size_t count;
	const struct binary_function *functions = binary_functions(search->binary, &count);

	for (size_t i = 0; i < count; i++) {
		const struct binary_function *first;
		const char *obstacle_here;

		if (!functions[i].name || !functions[i].is_entry || functions[i].is_ifunc ||
		    fnmatch(glob, functions[i].name, 0))
			continue;
		/* A plain name of an IFUNC's resolver. */
		first = binary_at_offset(search->binary, functions[i].file_offset);
		if (!first || first->is_ifunc)
			continue;
		obstacle_here = obstacle(search, &functions[i]);
		if (obstacle_here) {
			search->places->left_out++;
			reason = obstacle_here;
		} else if (add_offset(search, functions[i].file_offset)) {
			return -ENOMEM;
		}
	}
	if (!search->places->count && reason)
		return fail(search, -EOPNOTSUPP,
			    "no function of %s that matches '%s' can be probed: %s",
			    search->module->path, glob, reason);
	if (!search->places->count)
		return fail(search, -ENOENT, "no function of %s matches '%s'", search->module->path,
			    glob);
	drop_doubles(search->places);
	return 0;
}

char *attach_visible_path(const struct process *process, const struct process_module *module)
{
	pid_t pid = process_facts(process)->pid;
	char *path = NULL;
	int length = module->is_exe ? asprintf(&path, "/proc/%d/exe", pid)
				    : asprintf(&path, "/proc/%d/root%s", pid, module->path);

	return length < 0 ? NULL : path;
}

int attach_resolve(struct process *process, const struct attach_section *section,
		   struct attach_places *places, char *problem, size_t problem_size)
{
	struct search search = {.process = process,
				.section = section,
				.places = places,
				.problem = problem,
				.problem_size = problem_size};
	int err;

	*places = (struct attach_places){0};
	if (section->kind == ATTACH_USDT)
		return attach_usdt_resolve(process, section, places, problem, problem_size);
	search.module = process_find_module(process, section->binary);
	if (!search.module)
		return fail(&search, -ENOENT, "%s", process_problem());
	err = process_binary(process, search.module, &search.binary);
	if (err)
		return fail(&search, err, "%s: %s", search.module->path, binary_problem());
	places->path = attach_visible_path(process, search.module);
	if (!places->path)
		return fail(&search, -ENOMEM, "out of memory");
	if (attach_section_is_glob(section))
		err = resolve_glob(&search);
	else if (section->has_offset)
		err = resolve_offset(&search);
	else
		err = resolve_name(&search);
	if (err)
		attach_places_free(places);
	return err;
}

void attach_places_free(struct attach_places *places)
{
	for (u32 i = 0; i < places->count && places->arguments; i++)
		free(places->arguments[i]);
	free(places->arguments);
	free(places->semaphores);
	free(places->cookies);
	free(places->path);
	free(places->offsets);
	*places = (struct attach_places){0};
}
