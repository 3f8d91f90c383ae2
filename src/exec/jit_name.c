// SPDX-License-Identifier: BSD-2-Clause
#include "exec/jit_name.h"

#include "base/symbol_name.h"

void jit_name(const struct image_header *image, char name[JIT_NAME_SIZE])
{
	char *at = symbol_put_text(name, "bpf_prog_", JIT_NAME_SIZE);

	for (u32 i = 0; i < sizeof(image->tag); i++)
		at = symbol_put_hex(at, image->tag[i], 2);
	if (image->name[0]) {
		*at++ = '_';
		at = symbol_put_text(at, image->name, BPF_OBJ_NAME_LEN - 1);
	}
	*at = 0;
}
