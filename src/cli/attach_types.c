/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_types.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "binary/btf_dwarf.h"
#include "binary/process.h"
#include "object/object.h"

struct attach_type_source {
	char *path; /* as in attach_places */
	int fd;
};

struct failure {
	char *text;
	size_t size;
};

static int __attribute__((format(printf, 3, 4)))
fail(const struct failure *failure, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(failure->text, failure->size, format, args);
	va_end(args);
	return error;
}

static int make_source(struct process *process, const struct attach_section *section,
		       const char *path, const struct failure *failure)
{
	const struct process_module *module = process_find_module(process, section->binary);
	size_t size = 0;
	void *data = NULL;
	int fd, error;
	long result;

	if (!module)
		return fail(failure, -ENOENT, "%s", process_problem());
	fd = process_open_module(process, module);
	if (fd < 0)
		return fail(failure, fd, "%s: %s", module->path, strerror(-fd));
	error = btf_dwarf_read(fd, module->path, &data, &size, failure->text, failure->size);
	close(fd);
	if (error)
		return error;
	result = object_btf_of_target(data, (u32)size, path);
	free(data);
	if (result < 0)
		return fail(failure, (int)result, "the types of %s cannot be used: %s",
			    module->path, strerror((int)-result));
	return (int)result;
}

/* Its descriptor, or -errno. */
static int find_source(struct attach_types *types, struct process *process,
		       const struct attach_section *section, const char *path,
		       const struct failure *failure)
{
	struct attach_type_source *sources;
	int fd;

	for (u32 i = 0; i < types->count; i++) {
		if (!strcmp(types->sources[i].path, path))
			return types->sources[i].fd;
	}
	sources = reallocarray(types->sources, types->count + 1, sizeof(*sources));
	if (!sources)
		return fail(failure, -ENOMEM, "out of memory");
	types->sources = sources;
	fd = make_source(process, section, path, failure);
	if (fd < 0)
		return fd;
	sources[types->count] = (struct attach_type_source){strdup(path), fd};
	if (!sources[types->count].path) {
		close(fd);
		return fail(failure, -ENOMEM, "out of memory");
	}
	types->count++;
	return fd;
}

int attach_types_set(struct attach_types *types, struct process *process,
		     struct bpf_program *program, const struct attach_section *section,
		     const struct attach_places *places, char *problem, size_t problem_size)
{
	struct failure failure = {problem, problem_size};
	int fd = find_source(types, process, section, places->path, &failure);
	int error;

	if (fd < 0)
		return fd;
	error = bpf_program__set_attach_target(program, fd, section->function);
	if (error)
		return fail(&failure, error,
			    "the types of '%s' are not known: no debug information describes it "
			    "as a function of that name",
			    section->function);
	return 0;
}

void attach_types_free(struct attach_types *types)
{
	for (u32 i = 0; i < types->count; i++) {
		close(types->sources[i].fd);
		free(types->sources[i].path);
	}
	free(types->sources);
	*types = (struct attach_types){0};
}
