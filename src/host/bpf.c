/* SPDX-License-Identifier: BSD-2-Clause */
/* The public face of object/: libc's convention for errors in front of bpf(2) in user space. */
#include <errno.h>
#include <inlay/bpf.h>
#include <pthread.h>

#include "agent/backend.h"
#include "object/object.h"

static void join_the_parts(void)
{
	object_set_link_backend(&agent_link_backend);
}

long inlay_bpf(int cmd, union bpf_attr *attr, unsigned int size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	long result;

	pthread_once(&once, join_the_parts);
	result = object_bpf(cmd, attr, size);
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

const char *inlay_link_problem(void)
{
	return object_link_problem();
}
