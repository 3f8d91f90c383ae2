/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/arch.h"

const struct arch *arch_host(void)
{
#if defined(__x86_64__)
	return &arch_x86_64;
#elif defined(__aarch64__)
	return &arch_aarch64;
#else
#error "no arch table for this CPU"
#endif
}
