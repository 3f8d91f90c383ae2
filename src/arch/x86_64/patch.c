// SPDX-License-Identifier: BSD-2-Clause
/* What a patched place of five bytes holds. Encoding facts: Intel SDM volume 2 (CALL E8, JMP E9, multi-byte NOP 0F 1F). */
#include <errno.h>

#include "arch/x86_64/x86_64.h"
#include "base/mem.h"

#define PATCH_SIZE 5

int x86_64_patch_encode(u8 *bytes, enum patch_kind kind, u64 site, u64 target)
{
	static const u8 nop[PATCH_SIZE] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
	s64 distance = (s64)(target - site - PATCH_SIZE);
	s32 rel32 = (s32)distance;

	switch (kind) {
	case PATCH_NOP:
		__builtin_memcpy(bytes, nop, PATCH_SIZE);
		return 0;
	case PATCH_CALL:
	case PATCH_JUMP:
		if (distance != rel32)
			return -ERANGE;
		bytes[0] = kind == PATCH_CALL ? 0xe8 : 0xe9;
		__builtin_memcpy(bytes + 1, &rel32, 4);
		return 0;
	default:
		return -EINVAL;
	}
}

void x86_64_patch_veneer(u8 *bytes, u64 target)
{
	static const u8 jump[8] = {0xff, 0x25, 0x02, 0x00,
				   0x00, 0x00, 0xcc, 0xcc}; /* jmp *2(%rip) */

	__builtin_memcpy(bytes, jump, sizeof(jump));
	__builtin_memcpy(bytes + sizeof(jump), &target, sizeof(target));
}
