/* SPDX-License-Identifier: BSD-2-Clause */
/* The four faces of a list of functions: names, a table, JSON, and counts. */
#ifndef INLAY_CLI_LIST_PRINT_H
#define INLAY_CLI_LIST_PRINT_H

#include "base/types.h"

#define LIST_MAX_REASONS 32
#define LIST_MAX_MODULES 256

enum list_style {
	LIST_PLAIN,
	LIST_VERBOSE,
	LIST_JSON,
	LIST_SUMMARY,
};

struct list_row {
	const char *module;
	const char *name;	    /* NULL: offset stands for it */
	const char *implementation; /* what an IFUNC resolved to; NULL: no IFUNC */
	u64 offset, address, size;  /* of the file; in the process or the file; 0: unknown */
	const char *how;	    /* NULL: it cannot be entered, */
	const char *reason;	    /* and this is why */
	u8 kind;		    /* enum site_kind */
	u8 window;		    /* bytes moved */
	u8 protocol;		    /* enum poke_protocol */
};

struct list_tally {
	char module[64];
	u32 total, kinds[3];
};

struct list_reason {
	char text[80];
	u32 count;
};

struct list_printer {
	enum list_style style;
	u64 rows;
	struct list_tally tallies[LIST_MAX_MODULES];
	struct list_reason reasons[LIST_MAX_REASONS];
	u32 tally_count, reason_count;
};

/* In this order; rows of one module follow each other. All print on stdout (which is checked by the caller). */
void list_print_begin(struct list_printer *printer);
void list_print_row(struct list_printer *printer, const struct list_row *row);
void list_print_end(struct list_printer *printer);

#endif
