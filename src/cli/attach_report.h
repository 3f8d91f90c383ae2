/* SPDX-License-Identifier: BSD-2-Clause */
/* What an attachment leaves for its user: the maps of an object on stdout, what got lost on stderr. */
#ifndef INLAY_CLI_ATTACH_REPORT_H
#define INLAY_CLI_ATTACH_REPORT_H

#include <bpf/libbpf.h>
#include <stdio.h>

#include "base/types.h"

struct process;

/*
 * Every map that can be listed, as text with empty lines between, or as one JSON document. Addresses in stacks are named as those of the
 * process. CLI_OK or CLI_FAILED (told).
 */
int attach_report_maps(FILE *out, struct bpf_object *object, struct process *process, bool json);
/* Updates that maps refused for lack of room, a line a map, on stderr. */
void attach_report_drops(struct bpf_object *object);

#endif
