/* SPDX-License-Identifier: BSD-2-Clause */
/* A small JSON reader for test data: values as a tree, strings unescaped no further than \" and \\. */
#ifndef INLAY_TESTS_UNIT_VERIFY_JSON_H
#define INLAY_TESTS_UNIT_VERIFY_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct json {
	enum { JSON_NULL, JSON_NUMBER, JSON_STRING, JSON_LIST, JSON_OBJECT } kind;
	char *key;    /* member of an object */
	char *string; /* strings */
	long long number;
	struct json *child, *next; /* lists and objects */
};

static inline void json_free(struct json *value)
{
	while (value) {
		struct json *next = value->next;

		json_free(value->child);
		free(value->key);
		free(value->string);
		free(value);
		value = next;
	}
}

static inline char *json_text(const char **at)
{
	const char *p = ++*at;
	char *text, *out;

	while (*p && *p != '"')
		p += *p == '\\' && p[1] ? 2 : 1;
	out = text = malloc((size_t)(p - *at) + 1);
	for (const char *q = *at; q < p; q++) {
		if (*q == '\\')
			q++;
		*out++ = *q;
	}
	*out = 0;
	*at = *p ? p + 1 : p;
	return text;
}

static inline struct json *json_parse(const char **at)
{
	struct json *value = calloc(1, sizeof(*value)), **tail = &value->child;
	char end;

	*at += strspn(*at, " \t\n");
	if (**at == '"') {
		value->kind = JSON_STRING;
		value->string = json_text(at);
	} else if (**at == '{' || **at == '[') {
		value->kind = **at == '{' ? JSON_OBJECT : JSON_LIST;
		end = **at == '{' ? '}' : ']';
		for (++*at; **at && **at != end;) {
			char *key = NULL;

			*at += strspn(*at, " ,\t\n");
			if (value->kind == JSON_OBJECT) {
				key = json_text(at);
				*at += strspn(*at, " :");
			}
			*tail = json_parse(at);
			(*tail)->key = key;
			tail = &(*tail)->next;
			*at += strspn(*at, " ,\t\n");
		}
		*at += **at != 0;
	} else if (**at == 't' || **at == 'f' || **at == 'n') {
		value->kind = **at == 'n' ? JSON_NULL : JSON_NUMBER;
		value->number = **at == 't';
		*at += strcspn(*at, ",}]");
	} else {
		char *stop;

		value->kind = JSON_NUMBER;
		value->number = strtoll(*at, &stop, 10);
		*at = stop > *at ? stop : stop + (*stop != 0);
	}
	return value;
}

static inline const struct json *json_get(const struct json *object, const char *key)
{
	for (const struct json *member = object ? object->child : NULL; member;
	     member = member->next) {
		if (member->key && !strcmp(member->key, key))
			return member;
	}
	return NULL;
}

static inline long long json_number(const struct json *object, const char *key)
{
	const struct json *member = json_get(object, key);

	return member ? member->number : 0;
}

static inline const char *json_string(const struct json *object, const char *key)
{
	const struct json *member = json_get(object, key);

	return member && member->string ? member->string : "";
}

static inline uint8_t *json_bytes(const char *hex, size_t *ret_size)
{
	size_t size = strlen(hex) / 2;
	uint8_t *bytes = calloc(1, size + 1);

	for (size_t i = 0; i < size; i++) {
		char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};

		bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	*ret_size = size;
	return bytes;
}

#endif
