/* SPDX-License-Identifier: BSD-2-Clause */
/* inlay-verify(1): what the verifier says about each program of an object. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/attach_object.h"
#include "cli/load_one.h"
#include "cli/print_value.h"

#define LOG_LEVELS 7u

static const char help[] =
	"usage: inlay verify OBJECT.bpf.o [--log LEVEL] [--json]\n"
	"\n"
	"Verifies every program of the object by itself and prints its verdict, the instructions that the\n"
	"verifier went through and the time it took. Of a rejected program the log and the reason in words\n"
	"are printed too. Nothing is attached, nothing runs, no privilege is needed. As for 'inlay attach', and\n"
	"unlike for a privileged client of the kernel, reading stack that was never written is an error.\n"
	"\n"
	"  --log LEVEL   the verifier's log as bpf(2) has it: 1 (states), 2 (every instruction), 4 (totals), added up\n"
	"  --json        one document instead of text\n"
	"\n"
	"examples:\n"
	"  inlay verify probe.bpf.o\n"
	"  inlay verify probe.bpf.o --log 2\n"
	"\n"
	"Exit status: 0 all accepted, 1 one was rejected or the object cannot be used, 2 usage.\n";

struct options {
	const char *path;
	u32 log_level;
	bool json;
};

static const char *verdict_word(const struct load_one *one)
{
	if (!one->error)
		return "accepted";
	return one->judged ? "rejected" : "not loaded";
}

/* Why, in one line. */
static const char *cause_of(const struct load_one *one)
{
	if (one->reason && *one->reason)
		return one->reason;
	if (!one->judged && one->warning)
		return one->warning;
	return strerror(-one->error);
}

/* The line of source, and a mark under the part of it that starts at the column. */
static void print_source(const struct load_one *one)
{
	size_t length = strlen(one->source);
	size_t from =
		one->column && one->column <= length ? one->column - 1 : strspn(one->source, " \t");
	size_t to = from;

	while (to < length && !strchr(";{}", one->source[to]))
		to++;
	printf("%6u | %s\n       | ", one->line, one->source);
	for (size_t i = 0; i < MAX(to, from + 1); i++)
		putchar(i >= from ? '^' : one->source[i] == '\t' ? '\t' : ' ');
	printf("\n");
}

static void print_text(const struct load_one *one, const struct options *options)
{
	const char *name = bpf_program__name(one->program);

	if (one->log && (options->log_level || one->error))
		printf("%s%s", one->log, one->log[strlen(one->log) - 1] == '\n' ? "" : "\n");
	printf("%-24s %-10s", name, verdict_word(one));
	if (one->judged)
		printf(" %8u insns %8u states %10.3f ms", one->insns, one->states,
		       (double)one->time_ns / 1e6);
	printf("\n");
	if (one->error && one->source)
		print_source(one);
	if (one->error)
		printf("  %s\n", cause_of(one));
}

static void print_json_field(const char *name, const char *text)
{
	printf(",\"%s\":", name);
	print_json_string(stdout, text, strlen(text));
}

static void print_json(const struct load_one *one, bool first)
{
	const char *name = bpf_program__name(one->program);

	printf("%s{\"name\":", first ? "" : ",");
	print_json_string(stdout, name, strlen(name));
	print_json_field("section", bpf_program__section_name(one->program));
	print_json_field("verdict", verdict_word(one));
	printf(",\"insns_processed\":%u,\"states\":%u,\"time_us\":%.3f", one->insns, one->states,
	       (double)one->time_ns / 1e3);
	if (one->error) {
		printf(",\"errno\":%d", -one->error);
		print_json_field("reason", cause_of(one));
	}
	if (one->source) {
		printf(",\"line\":%u,\"column\":%u", one->line, one->column);
		print_json_field("source", one->source);
	}
	if (one->log)
		print_json_field("log", one->log);
	printf("}");
}

/* The names first: each program then gets an object of its own. */
static int list_names(const char *path, char ***ret_names, u32 *ret_count)
{
	struct bpf_program *program;
	struct bpf_object *object;
	char **names = NULL;
	u32 count = 0;
	int status = attach_object_open(path, NULL, &object);

	if (status)
		return status;
	bpf_object__for_each_program(program, object)
	{
		char **more = realloc(names, (count + 1) * sizeof(*names));

		if (!more)
			break;
		names = more;
		names[count++] = strdup(bpf_program__name(program));
	}
	bpf_object__close(object);
	*ret_names = names;
	*ret_count = count;
	return 0;
}

static int verify_all(const struct options *options, char **names, u32 count)
{
	int status = CLI_OK;

	for (u32 i = 0; i < count; i++) {
		struct load_one one;
		int failed = load_one_program(options->path, names[i], options->log_level, &one);

		if (!failed && options->json)
			print_json(&one, i == 0);
		else if (!failed)
			print_text(&one, options);
		if (failed || one.error)
			status = CLI_FAILED;
		load_one_release(&one);
	}
	return status;
}

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
		{"log", required_argument, NULL, 'l'},
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	int option;
	char *end;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "l:j", longs, NULL)) != -1) {
		switch (option) {
		case 'l':
			options->log_level = (u32)strtoul(optarg, &end, 10);
			if (*end || end == optarg || options->log_level > LOG_LEVELS)
				return cli_usage(&cmd_verify, "--log wants 0 to %u, not '%s'",
						 LOG_LEVELS, optarg);
			break;
		case 'j':
			options->json = true;
			break;
		default:
			return cli_usage(&cmd_verify, "no option '%s', or its argument is missing",
					 argv[optind - 1]);
		}
	}
	if (optind + 1 != argc)
		return cli_usage(&cmd_verify, "it takes one object");
	options->path = argv[optind];
	return 0;
}

static int run_verify(int argc, char **argv)
{
	struct options options = {0};
	char **names;
	u32 count;
	int status = parse(argc, argv, &options);

	if (!status)
		status = list_names(options.path, &names, &count);
	if (status)
		return status;
	if (options.json)
		printf("{\"programs\":[");
	status = verify_all(&options, names, count);
	if (options.json)
		printf("]}\n");
	for (u32 i = 0; i < count; i++)
		free(names[i]);
	free(names);
	return count ? status : cli_fail("%s: it holds no program", options.path);
}

const struct cli_verb cmd_verify = {
	.name = "verify",
	.summary = "what the verifier says about each program of an object",
	.help = help,
	.run = run_verify,
};
