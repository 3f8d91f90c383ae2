/* SPDX-License-Identifier: BSD-2-Clause */
/* Clocks. All through the vdso: a few ns, no system call. */
#include "base/sys.h"
#include "helpers/call.h"
#include "helpers/vdso.h"

HELPER_0(ktime_get_ns)
{
	return vdso_clock_ns(CLOCK_MONOTONIC);
}

HELPER_0(ktime_get_boot_ns)
{
	return vdso_clock_ns(CLOCK_BOOTTIME);
}

HELPER_0(ktime_get_coarse_ns)
{
	return vdso_clock_ns(CLOCK_MONOTONIC_COARSE);
}

HELPER_0(ktime_get_tai_ns)
{
	return vdso_clock_ns(CLOCK_TAI);
}

/*
 * The kernel counts jiffies from five minutes before the 32-bit counter wraps, one each tick of the coarse clock. The
 * length of a tick is what clock_getres answers for that clock.
 */
HELPER_0(jiffies64)
{
	static u64 tick_ns;
	u64 tick = __atomic_load_n(&tick_ns, __ATOMIC_RELAXED);
	struct timespec resolution;
	u64 per_second;

	if (!tick) {
		if (sys_call2(__NR_clock_getres, CLOCK_MONOTONIC_COARSE, &resolution) ||
		    resolution.tv_sec || resolution.tv_nsec <= 0)
			resolution.tv_nsec = 4000000;
		tick = (u64)resolution.tv_nsec;
		__atomic_store_n(&tick_ns, tick, __ATOMIC_RELAXED);
	}
	per_second = 1000000000 / tick;
	return (u32)(0 - 300 * per_second) + vdso_clock_ns(CLOCK_MONOTONIC_COARSE) / tick;
}
