/* SPDX-License-Identifier: BSD-2-Clause */
/* What this processor can do beyond the base instruction set. */
#include "arch/jit_unit.h"
#include "arch/x86_64/x86_64.h"

#if defined(__x86_64__)
#include <cpuid.h>

u32 x86_64_jit_features(void)
{
	u32 a, b, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return 0;
	return b & bit_BMI2 ? JIT_FEATURE_BMI2 : 0;
}
#else
u32 x86_64_jit_features(void)
{
	return 0;
}
#endif
