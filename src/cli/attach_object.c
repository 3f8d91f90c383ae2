/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/attach_section.h"
#include "cli/cli.h"
#include "object/object.h"

/* Lines of the verifier's log that are shown: the way to the rejected instruction. */
#define LOG_TAIL 16

/* What the verifier said about the last program that was loaded. */
struct rejection {
	int error;
	char *reason;
	char *log;
};

static FILE *captured_stream;
static char *captured;
static size_t captured_size;

static int __attribute__((format(printf, 2, 0)))
capture(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && captured_stream)
		vfprintf(captured_stream, format, args);
	return 0;
}

static void capture_begin(void)
{
	free(captured);
	captured = NULL;
	captured_stream = open_memstream(&captured, &captured_size);
	libbpf_set_print(capture);
}

/* Afterwards `captured` is the text, "" when there is none. */
static void capture_end(void)
{
	if (captured_stream)
		fclose(captured_stream);
	captured_stream = NULL;
	if (!captured)
		captured = strdup("");
}

/* The first warning as a phrase: without "libbpf: " in front, and without its newline. */
static char *first_warning(void)
{
	static const char prefix[] = "libbpf: ";
	char *line = captured ? captured : NULL;

	if (!line || !*line)
		return NULL;
	if (!strncmp(line, prefix, sizeof(prefix) - 1))
		line += sizeof(prefix) - 1;
	line[strcspn(line, "\n")] = 0;
	return line;
}

/* What the stack held before is the target's own data: no program that is to run in one gets to see it. */
static const struct object_load_policy policy = {.refuse_uninit_stack = true};

int attach_object_open(const char *path, const char *types, struct bpf_object **ret_object)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .btf_custom_path = types);
	struct bpf_object *object;
	const char *warning;
	int status;
	int err;

	err = attach_section_register();
	if (err)
		return cli_fail("libbpf: %s", strerror(-err));
	object_set_load_policy(&policy);
	capture_begin();
	object = bpf_object__open_file(path, &options);
	err = object ? 0 : errno;
	capture_end();
	if (object) {
		*ret_object = object;
		return 0;
	}
	warning = first_warning();
	if (err == ENOENT || err == EACCES || err == EISDIR)
		status = cli_fail("%s: %s", path, strerror(err));
	else
		status = cli_fail("%s: not a usable BPF object (%s)", path,
				  warning ? warning : strerror(err));
	return status;
}

/* Name of the program libbpf complained about ("prog 'NAME': BPF program load failed"), or NULL. Cuts captured. */
static char *rejected_name(void)
{
	static const char mark[] = "prog '";
	char *name = captured ? strstr(captured, mark) : NULL;

	if (!name)
		return NULL;
	name += sizeof(mark) - 1;
	name[strcspn(name, "'\n")] = 0;
	return name;
}

/* Shows the end of the verifier's log. */
static void show_log_tail(char *log)
{
	const char *lines[LOG_TAIL];
	char *rest = NULL;
	size_t count = 0;

	for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		lines[count++ % LOG_TAIL] = line;
	for (size_t i = count > LOG_TAIL ? count - LOG_TAIL : 0; i < count; i++)
		fprintf(stderr, "  %s\n", lines[i % LOG_TAIL]);
}

static void keep_verdict(const struct object_verdict *verdict, void *opaque)
{
	struct rejection *rejection = opaque;

	free(rejection->log);
	free(rejection->reason);
	*rejection = (struct rejection){.error = verdict->error};
	if (!verdict->error)
		return;
	rejection->reason = verdict->reason ? strdup(verdict->reason) : NULL;
	rejection->log = verdict->log ? strndup(verdict->log, verdict->log_length) : NULL;
}

static int tell_failure(const char *path, int err, struct rejection *rejection)
{
	const char *name;

	if (rejection->reason && *rejection->reason) {
		name = rejected_name();
		if (rejection->log)
			show_log_tail(rejection->log);
		return cli_fail("%s: program '%s' is rejected: %s", path, name ? name : "?",
				rejection->reason);
	}
	if (err == -ENOMEM || err == -ENOSPC)
		return cli_fail("%s: not enough memory for its maps and programs", path);
	name = first_warning();
	return cli_fail("%s: cannot be loaded (%s)", path, name ? name : strerror(-err));
}

int attach_object_load(const char *path, struct bpf_object *object)
{
	struct rejection rejection = {0};
	int status = 0;
	int err;

	capture_begin();
	object_set_verdict_hook(keep_verdict, &rejection);
	err = bpf_object__load(object);
	object_set_verdict_hook(NULL, NULL);
	capture_end();
	if (err)
		status = tell_failure(path, err, &rejection);
	free(rejection.log);
	free(rejection.reason);
	return status;
}
