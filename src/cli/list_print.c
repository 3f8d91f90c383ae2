/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/list_print.h"

#include "arch/site.h"

#include <stdio.h>
#include <string.h>

static const char *const protocols[] = {
	[POKE_AUTO] = "auto",
	[POKE_WORD] = "word",
	[POKE_SPIN] = "spin",
	[POKE_STOP] = "stop",
};

static const char *protocol_name(u8 protocol)
{
	return protocol < ARRAY_SIZE(protocols) && protocols[protocol] ? protocols[protocol] : "?";
}

/* "function" as people write it in a probe: its name, or its offset in the file. */
static const char *spell(const struct list_row *row, char *buffer, size_t size)
{
	if (row->name)
		return row->name;
	snprintf(buffer, size, "0x%llx", (unsigned long long)row->offset);
	return buffer;
}

static void print_verbose(const struct list_row *row)
{
	char number[24];
	int width = printf("%s:%s", row->module, spell(row, number, sizeof(number)));

	printf("%*s 0x%012llx %7llu  ", width < 40 ? 40 - width : 0, "",
	       (unsigned long long)row->address, (unsigned long long)row->size);
	if (!row->how)
		printf("no: %s", row->reason);
	else if (row->kind == SITE_PROLOGUE)
		printf("%s, %u bytes, %s", row->how, row->window, protocol_name(row->protocol));
	else
		printf("%s, %s", row->how, protocol_name(row->protocol));
	if (row->implementation)
		printf(" (as %s)", row->implementation);
	putchar('\n');
}

static void print_string(const char *text)
{
	putchar('"');
	for (const char *at = text; *at; at++) {
		unsigned char byte = (unsigned char)*at;

		if (byte == '"' || byte == '\\')
			printf("\\%c", byte);
		else if (byte < 0x20 || byte >= 0x7f)
			printf("\\u%04x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

static void print_json(const struct list_printer *printer, const struct list_row *row)
{
	char number[24];

	fputs(printer->rows ? ",\n{\"module\":" : "\n{\"module\":", stdout);
	print_string(row->module);
	fputs(",\"function\":", stdout);
	print_string(spell(row, number, sizeof(number)));
	printf(",\"address\":%llu,\"offset\":%llu,\"size\":%llu", (unsigned long long)row->address,
	       (unsigned long long)row->offset, (unsigned long long)row->size);
	if (row->implementation) {
		fputs(",\"implementation\":", stdout);
		print_string(row->implementation);
	}
	fputs(",\"entry\":", stdout);
	if (row->how) {
		print_string(row->how);
		printf(",\"window\":%u,\"protocol\":", row->window);
		print_string(protocol_name(row->protocol));
	} else {
		fputs("null,\"reason\":", stdout);
		print_string(row->reason);
	}
	putchar('}');
}

static struct list_tally *tally_of(struct list_printer *printer, const char *module)
{
	struct list_tally *tally =
		&printer->tallies[printer->tally_count ? printer->tally_count - 1 : 0];

	if (printer->tally_count && !strncmp(tally->module, module, sizeof(tally->module) - 1))
		return tally;
	if (printer->tally_count < LIST_MAX_MODULES)
		tally = &printer->tallies[printer->tally_count++];
	snprintf(tally->module, sizeof(tally->module), "%s", module);
	return tally;
}

/* Counts a refusal under its reason, wherever in the window it was. */
static void count_reason(struct list_printer *printer, const char *reason)
{
	const char *place = strstr(reason, " at +");
	size_t length = place ? (size_t)(place - reason) : strlen(reason);
	u32 i = 0;

	length = MIN(length, sizeof(printer->reasons[0].text) - 1);
	while (i < printer->reason_count && (strncmp(printer->reasons[i].text, reason, length) ||
					     printer->reasons[i].text[length]))
		i++;
	if (i == LIST_MAX_REASONS)
		i--;
	if (i == printer->reason_count) {
		printer->reason_count++;
		memcpy(printer->reasons[i].text, reason, length);
	}
	printer->reasons[i].count++;
}

static void count_row(struct list_printer *printer, const struct list_row *row)
{
	struct list_tally *tally = tally_of(printer, row->module);

	tally->total++;
	if (row->how)
		tally->kinds[row->kind]++;
	else
		count_reason(printer, row->reason);
}

static void print_summary(const struct list_printer *printer)
{
	printf("%-40s %9s %6s %6s %9s %8s\n", "file", "functions", "nop", "whole", "relocated",
	       "in all");
	for (u32 i = 0; i < printer->tally_count; i++) {
		const struct list_tally *tally = &printer->tallies[i];
		u32 entered = tally->kinds[SITE_NOP] + tally->kinds[SITE_WHOLE] +
			      tally->kinds[SITE_PROLOGUE];

		printf("%-40s %9u %6u %6u %9u %6.2f %%\n", tally->module, tally->total,
		       tally->kinds[SITE_NOP], tally->kinds[SITE_WHOLE],
		       tally->kinds[SITE_PROLOGUE],
		       100.0 * entered / (tally->total ? tally->total : 1));
	}
	if (printer->reason_count)
		puts("\nnot entered:");
	for (u32 i = 0; i < printer->reason_count; i++)
		printf("%9u  %s\n", printer->reasons[i].count, printer->reasons[i].text);
}

void list_print_begin(struct list_printer *printer)
{
	if (printer->style == LIST_JSON)
		fputs("{\"functions\":[", stdout);
}

void list_print_row(struct list_printer *printer, const struct list_row *row)
{
	char number[24];

	switch (printer->style) {
	case LIST_PLAIN:
		printf("%s:%s\n", row->module, spell(row, number, sizeof(number)));
		break;
	case LIST_VERBOSE:
		print_verbose(row);
		break;
	case LIST_JSON:
		print_json(printer, row);
		break;
	case LIST_SUMMARY:
		count_row(printer, row);
		break;
	}
	printer->rows++;
}

void list_print_end(struct list_printer *printer)
{
	if (printer->style == LIST_JSON)
		puts("\n]}");
	else if (printer->style == LIST_SUMMARY && printer->rows)
		print_summary(printer);
}
