/* SPDX-License-Identifier: BSD-2-Clause */
/* A command line as one string, cut into words the way a shell does, without any shell. */
#ifndef INLAY_CLI_WORDS_H
#define INLAY_CLI_WORDS_H

/*
 * Words are separated by blanks; '...' and "..." keep blanks, a backslash keeps the next character (not inside '...').
 * Returns a NULL-terminated vector in one block (free it), or NULL: errno EINVAL (a quote is not closed; no word) or ENOMEM.
 */
char **words_split(const char *text);

#endif
