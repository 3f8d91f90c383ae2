/* SPDX-License-Identifier: BSD-2-Clause */
/* inlay(1): finds the verb and runs it. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct cli_verb *const verbs[] = {
	&cmd_attach, &cmd_list, &cmd_run, &cmd_verify, &cmd_dump, &cmd_exec,
};

static const char intro[] =
	"usage: inlay VERB [OPTIONS]\n"
	"\n"
	"BPF programs, verified and compiled, in the functions of running processes.\n"
	"\n";

static const char outro[] =
	"\n"
	"examples:\n"
	"  inlay attach -p $(pidof redis-server) probe.bpf.o   attach until interrupted, then print the maps\n"
	"  inlay list -p $(pidof redis-server) 'process*'      which functions can be probed\n"
	"  inlay run -- bpftool prog list                      an unmodified BPF client, no kernel\n"
	"\n"
	"'inlay VERB --help' tells more, and so does the manual page inlay-VERB(1).\n";

int cli_fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("inlay: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return CLI_FAILED;
}

int cli_usage(const struct cli_verb *verb, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "inlay %s: ", verb->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "; see 'inlay %s --help'\n", verb->name);
	return CLI_USAGE;
}

static void print_overview(FILE *out)
{
	fputs(intro, out);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(out, "  %-8s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs(outro, out);
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_overview(stderr);
		return CLI_USAGE;
	}
	if (is_help(argv[1])) {
		print_overview(stdout);
		return CLI_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("inlay " INLAY_VERSION);
		return CLI_OK;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(argv[1], verbs[i]->name))
			continue;
		if (argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"))) {
			fputs(verbs[i]->help, stdout);
			return CLI_OK;
		}
		return verbs[i]->run(argc - 1, argv + 1);
	}
	fprintf(stderr, "inlay: no verb '%s'; see 'inlay --help'\n", argv[1]);
	return CLI_USAGE;
}
