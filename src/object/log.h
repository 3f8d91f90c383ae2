/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's log buffer, by the rules of bpf(2): its fields checked, the text copied, -ENOSPC where it did not fit. */
#ifndef INLAY_OBJECT_LOG_H
#define INLAY_OBJECT_LOG_H

#include "base/types.h"

#define LOG_LEVEL1 1u
#define LOG_LEVEL2 2u
#define LOG_STATS  4u
#define LOG_FIXED  8u /* keep the beginning, not the end (6.4) */

struct log_request {
	u32 level, size;
	u64 buffer;
};

/* 0 or -EINVAL. */
int log_check(const struct log_request *request);
/*
 * Copies text (length bytes without NUL) to the client. *ret_true_size: the buffer size that would have held it all, 0 with
 * level 0. Returns 0, -ENOSPC (cut off) or -EFAULT.
 */
int log_finish(const struct log_request *request, const char *text, size_t length,
	       u32 *ret_true_size);

#endif
