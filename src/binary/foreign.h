/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Has somebody else changed a function's entry? Memory is compared with the file; a jump into our own code is ours.
 * Loader only.
 */
#ifndef INLAY_BINARY_FOREIGN_H
#define INLAY_BINARY_FOREIGN_H

#include <stddef.h>

#include "arch/site.h"

struct process;

/*
 * spec: rebased. 0: the bytes are the file's or our own jump, or cannot be read (then attaching will say so). -EBUSY: text
 * holds what is there, what the file has, and whose it looks like.
 */
int foreign_check(const struct process *process, const struct site_spec *spec, char *text,
		  size_t size);

#endif
