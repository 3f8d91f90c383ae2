/* SPDX-License-Identifier: BSD-2-Clause */
/* Which registers matter behind each instruction, and where control comes in from elsewhere. */
#ifndef INLAY_EXEC_JIT_LIVE_H
#define INLAY_EXEC_JIT_LIVE_H

#include "format/image.h"

/*
 * live[i]: bit per BPF register that some path reads after instruction i before it writes it. targets[i]: something jumps
 * to i, or a subprogram begins there. Both arrays have insn_cnt elements, zeroed.
 */
void jit_live(const struct image_header *image, u16 *live, u8 *targets);

#endif
