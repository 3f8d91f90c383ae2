/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a function's entry can be patched: the window of whole instructions that a branch will replace, the recipe for
 * running them elsewhere, or the reason why that cannot be done safely.
 *
 * Invariants of an accepted window [site, site + length):
 *   - nothing in the file branches to an address strictly inside it, and no other code begins there;
 *   - no return address can point strictly inside it (a call only ends a window), and no system call restarts in it;
 *   - the first instruction runs once per call (nothing in the function jumps back to it);
 *   - bytes past the end of the function are padding that nothing reaches.
 * What it cannot see: a computed jump that no table in the file describes.
 */
#ifndef INLAY_BINARY_PLAN_H
#define INLAY_BINARY_PLAN_H

#include "arch/site.h"
#include "base/types.h"

struct binary_function;
struct decoder;
struct elf_file;
struct function_table;
struct sweep;

struct plan_input {
	const struct elf_file *elf;
	const struct function_table *table;
	const struct sweep *sweep;
	const struct decoder *decoder;
	u32 patch_size; /* bytes that the branch takes */
	char *reason;	/* buffer for a refusal's text */
	size_t reason_size;
};

/* Fills spec, or answers -EOPNOTSUPP with the reason written. */
int plan_function(const struct plan_input *input, const struct binary_function *function,
		  struct site_spec *spec);

/*
 * The same for the instruction at address inside function, which may be shorter than the branch: the window begins there, or at
 * instructions in front of it that then run before the programs (spec->before).
 */
int plan_point(const struct plan_input *input, const struct binary_function *function, u64 address,
	       struct site_spec *spec);

#endif
