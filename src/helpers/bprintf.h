/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Formatted text for bpf_trace_printk, bpf_trace_vprintk and bpf_snprintf, at a hit.
 *
 * What is accepted is what the kernel accepts: %d %i %u %x %X with up to two l, %c, %s, %pus, %pks, %p[xKsSB], %p[iI][46],
 * flags "0+- " and a width; printable ASCII. Two differences, both because this is user space: %p prints the address
 * instead of a hash of it, and %pS prints "0x..." since there are no symbols here.
 */
#ifndef INLAY_HELPERS_BPRINTF_H
#define INLAY_HELPERS_BPRINTF_H

#include "base/types.h"

/* Is text a format that takes at most arg_count arguments? size: bytes that may be read. 0 or -EINVAL (no NUL; bad conversion). */
int bprintf_check(const char *format, u32 size, u32 arg_count);

/*
 * Formats into out (NUL-terminated when out_size > 0). Returns the length the whole text has, without NUL, which may be more than
 * fits; -EINVAL as bprintf_check; -ENOSPC when the arguments take more than 512 bytes, strings included. Unreadable strings
 * are empty. Any thread, at a hit.
 */
int bprintf(char *out, u32 out_size, const char *format, u32 format_size, const u64 *args,
	    u32 arg_count);

#endif
