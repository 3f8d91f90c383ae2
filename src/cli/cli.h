/* SPDX-License-Identifier: BSD-2-Clause */
/* What every verb shares: the row in the table, exit codes, and how a failure is told. */
#ifndef INLAY_CLI_CLI_H
#define INLAY_CLI_CLI_H

#include "base/types.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
};

/* One verb, one file cmd_<verb>.c. run gets argv[0] = the verb; returns enum cli_exit. */
struct cli_verb {
	const char *name;
	const char *summary; /* one line, no full stop */
	const char *help;    /* synopsis, options and examples, printed by --help */
	int (*run)(int argc, char **argv);
};

extern const struct cli_verb cmd_attach, cmd_list, cmd_run, cmd_verify, cmd_dump, cmd_exec;

/* The cause of a failure in one line on stderr, "inlay: " in front. Returns CLI_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A wrong command line: one line, then where to read on. Returns CLI_USAGE. */
int cli_usage(const struct cli_verb *verb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
