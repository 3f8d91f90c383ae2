/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program's SEC() name asks for, taken apart. */
#ifndef INLAY_CLI_ATTACH_SECTION_H
#define INLAY_CLI_ATTACH_SECTION_H

#include "base/types.h"

/* Programs that are shown registers, or the arguments of one function by its type. */
enum attach_kind {
	ATTACH_REGS,
	ATTACH_FENTRY,
	ATTACH_FEXIT,
	ATTACH_FMOD_RET,
	ATTACH_USDT, /* registers, at the places of an SDT note */
	ATTACH_TICK, /* in no function: once a period */
};

struct attach_section {
	enum attach_kind kind;
	bool at_return;
	bool many;	/* uprobe.multi: function may be a glob */
	char *binary;	/* "", a path, or a short name; owned */
	char *provider; /* USDT, else NULL; owned */
	char *function; /* USDT: the probe's name; else name or glob; owned. "" with has_offset: the offset is in the file */
	u64 period_ns;	/* TICK; binary and function are NULL then */
	bool has_offset;
	u64 offset;
};

/*
 * Parses "uprobe/BINARY:FUNCTION[+OFFSET]", "uretprobe/...", "uprobe.multi/BINARY:GLOB", "uretprobe.multi/...",
 * "fentry/BINARY:FUNCTION", "fexit/...", "fmod_ret/..." and their sleepable ".s" forms, "usdt/[BINARY]:PROVIDER:NAME",
 * "tick/UNIT:NUMBER" or "interval/..." (UNIT hz, s, ms or us). 0, or -EINVAL with one sentence in problem (a section that attach does not serve, a bare one, ...).
 */
int attach_section_parse(const char *text, struct attach_section *section, char *problem,
			 size_t problem_size);
void attach_section_free(struct attach_section *section);
/* Does the name have wildcards? */
bool attach_section_is_glob(const struct attach_section *section);

/*
 * Teaches libbpf the sections that its version does not know. Once, before an object is opened. 0 or -errno.
 */
int attach_section_register(void);

#endif
