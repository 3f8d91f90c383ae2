/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/load_one.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/attach_object.h"
#include "cli/cli.h"
#include "object/object.h"

#define NAME_LENGTH (BPF_OBJ_NAME_LEN - 1)

static char *first_warning;

static int __attribute__((format(printf, 2, 0)))
keep_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	static const char prefix[] = "libbpf: ";
	char *line = NULL;

	if (level != LIBBPF_WARN || first_warning || vasprintf(&line, format, args) < 0)
		return 0;
	line[strcspn(line, "\n")] = 0;
	first_warning =
		strdup(strncmp(line, prefix, strlen(prefix)) ? line : line + strlen(prefix));
	free(line);
	return 0;
}

/* libbpf's feature probes are loads too: only the program's own name counts. */
static void keep_verdict(const struct object_verdict *verdict, void *opaque)
{
	struct load_one *one = opaque;

	if (strncmp(verdict->name, bpf_program__name(one->program), NAME_LENGTH))
		return;
	one->judged = true;
	one->error = verdict->error;
	one->insns = verdict->insns;
	one->states = verdict->states;
	one->time_ns = verdict->time_ns;
	free(one->reason);
	free(one->log);
	free(one->source);
	one->source = verdict->error && *verdict->source ? strdup(verdict->source) : NULL;
	one->line = verdict->line;
	one->column = verdict->column;
	one->reason = verdict->error && verdict->reason ? strdup(verdict->reason) : NULL;
	one->log = verdict->log_length ? strndup(verdict->log, verdict->log_length) : NULL;
}

static struct bpf_program *choose(struct bpf_object *object, const char *name)
{
	struct bpf_program *program, *chosen = NULL;

	bpf_object__for_each_program(program, object)
	{
		bool wanted = !strcmp(bpf_program__name(program), name);

		bpf_program__set_autoload(program, wanted);
		if (wanted)
			chosen = program;
	}
	return chosen;
}

int load_one_program(const char *path, const char *name, u32 log_level, struct load_one *one)
{
	int error, status;

	memset(one, 0, sizeof(*one));
	status = attach_object_open(path, NULL, &one->object);
	if (status)
		return status;
	one->program = choose(one->object, name);
	if (!one->program)
		return cli_fail("%s: no program '%s'", path, name);
	bpf_program__set_log_level(one->program, log_level);
	free(first_warning);
	first_warning = NULL;
	libbpf_set_print(keep_warning);
	object_set_verdict_hook(keep_verdict, one);
	error = bpf_object__load(one->object);
	object_set_verdict_hook(NULL, NULL);
	one->warning = first_warning;
	first_warning = NULL;
	if (error)
		one->error = error;
	return 0;
}

void load_one_release(struct load_one *one)
{
	bpf_object__close(one->object);
	free(one->reason);
	free(one->log);
	free(one->source);
	free(one->warning);
}
