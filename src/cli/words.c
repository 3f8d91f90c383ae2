/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/words.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

/* Copies one word that starts at from. Returns where it ends, or NULL when a quote stays open. */
static const char *copy_word(const char *from, char **to)
{
	char quote = 0;

	for (; *from && (quote || !is_blank(*from)); from++) {
		if (*from == quote) {
			quote = 0;
		} else if (!quote && (*from == '\'' || *from == '"')) {
			quote = *from;
		} else {
			if (*from == '\\' && quote != '\'' && from[1])
				from++;
			*(*to)++ = *from;
		}
	}
	*(*to)++ = 0;
	return quote ? NULL : from;
}

char **words_split(const char *text)
{
	/* A word takes at least a character and a blank: a pointer for every second character, and one at the end. */
	size_t slots = strlen(text) / 2 + 2;
	char **words = calloc(1, slots * sizeof(*words) + 2 * strlen(text) + 2);
	char *to = (char *)(words + slots);
	size_t count = 0;

	if (!words)
		return NULL;
	while (text) {
		while (is_blank(*text))
			text++;
		if (!*text)
			break;
		words[count++] = to;
		text = copy_word(text, &to);
	}
	if (text && count)
		return words;
	free(words);
	errno = EINVAL;
	return NULL;
}
