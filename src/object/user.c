/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/user.h"

#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

#define PAGE 4096u

static int transfer(long nr, void *ours, u64 theirs, size_t size)
{
	struct iovec local = {.iov_base = ours, .iov_len = size};
	struct iovec remote = {.iov_base = ptr_from_u64(theirs), .iov_len = size};
	long done;

	if (!size)
		return 0;
	done = sys_call6(nr, sys_getpid(), (long)&local, 1, (long)&remote, 1, 0);
	if (done == (long)size)
		return 0;
	if (done != -ENOSYS && done != -EPERM)
		return -EFAULT;
	/* A sandbox without the call: then a bad pointer faults, as it does in any library. */
	if (!theirs)
		return -EFAULT;
	if (nr == __NR_process_vm_readv)
		memcpy(ours, ptr_from_u64(theirs), size);
	else
		memcpy(ptr_from_u64(theirs), ours, size);
	return 0;
}

int user_read(void *to, u64 from, size_t size)
{
	return transfer(__NR_process_vm_readv, to, from, size);
}

int user_write(u64 to, const void *from, size_t size)
{
	return transfer(__NR_process_vm_writev, (void *)(uintptr_t)from, to, size);
}

int user_read_string(char *to, u64 from, size_t room)
{
	size_t got = 0;

	/* By pages: the string may end right before memory that cannot be read. */
	while (got < room) {
		size_t step = MIN(room - got, PAGE - (size_t)((from + got) % PAGE));
		int error = user_read(to + got, from + got, step);
		const char *end;

		if (error)
			return error;
		end = memchr(to + got, 0, step);
		if (end)
			return (int)(end - to);
		got += step;
	}
	return -E2BIG;
}

int user_copy(u64 from, size_t size, void **ret_copy)
{
	void *copy = malloc(size ? size : 1);
	int error;

	if (!copy)
		return -ENOMEM;
	error = user_read(copy, from, size);
	if (error) {
		free(copy);
		return error;
	}
	*ret_copy = copy;
	return 0;
}
