// SPDX-License-Identifier: BSD-2-Clause
/* The probed frames of throws.cc. In C, since BTF knows the types of that; with -fexceptions. */
#include "throws.h"

int destroyed;

static void destroy(const int *guard)
{
	destroyed += *guard;
}

PROBED int thrower(int how, void *to)
{
	return act(how, to);
}

PROBED int middle(int how, int level, void *to)
{
	__attribute__((cleanup(destroy))) int guard = 1;
	int result = level ? middle(how, level - 1, to) : thrower(how, to);

	return result + guard;
}
