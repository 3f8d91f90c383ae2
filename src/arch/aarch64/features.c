/* SPDX-License-Identifier: BSD-2-Clause */
/* What this processor can do beyond the base instruction set. */
#include "arch/aarch64/aarch64.h"
#include "arch/jit_unit.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

u32 aarch64_features(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ATOMICS ? JIT_FEATURE_LSE : 0;
}
#else
u32 aarch64_features(void)
{
	return 0;
}
#endif
