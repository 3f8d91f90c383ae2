/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/log.h"

#include <errno.h>

#include "object/user.h"

#define LEVELS (LOG_LEVEL1 | LOG_LEVEL2 | LOG_STATS | LOG_FIXED)

int log_check(const struct log_request *request)
{
	if (!request->buffer != !request->size)
		return -EINVAL;
	if (request->buffer && !request->level)
		return -EINVAL;
	if ((request->level & ~LEVELS) || request->size > UINT32_MAX >> 2)
		return -EINVAL;
	return 0;
}

int log_finish(const struct log_request *request, const char *text, size_t length,
	       u32 *ret_true_size)
{
	size_t kept;
	int error;

	*ret_true_size = 0;
	if (!request->level)
		return 0;
	*ret_true_size = length ? (u32)MIN(length + 1, (size_t)UINT32_MAX) : 0;
	if (!request->buffer)
		return 0;
	kept = MIN(length, (size_t)request->size - 1);
	if (!(request->level & LOG_FIXED))
		text += length - kept;
	error = user_write(request->buffer, text, kept);
	if (!error)
		error = user_write(request->buffer + kept, "", 1);
	if (error)
		return error;
	return kept < length ? -ENOSPC : 0;
}
