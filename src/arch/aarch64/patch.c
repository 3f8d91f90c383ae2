/* SPDX-License-Identifier: BSD-2-Clause */
/* What a patched word holds. */
#include <errno.h>

#include "arch/aarch64/a64.h"
#include "arch/aarch64/aarch64.h"

#define PATCH_SIZE 4

int aarch64_patch_encode(u8 *bytes, enum patch_kind kind, u64 site, u64 target)
{
	u8 word[PATCH_SIZE];
	struct codebuf buf;

	codebuf_init(&buf, word, site, PATCH_SIZE);
	switch (kind) {
	case PATCH_NOP:
		a64_word(&buf, A64_NOP);
		break;
	case PATCH_CALL:
		a64_call(&buf, target);
		break;
	case PATCH_JUMP:
		a64_jump(&buf, target);
		break;
	default:
		return -EINVAL;
	}
	if (buf.error)
		return buf.error;
	__builtin_memcpy(bytes, word, PATCH_SIZE);
	return 0;
}
