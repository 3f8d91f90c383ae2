/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a helper is written: HELPER_2(map_lookup_elem, map, key) { ... } takes the first two argument registers by name.
 *
 * Every helper has the type exec_helper_fn, so that table, JIT and interpreter call it alike; the registers it does
 * not take hold whatever the program left there. All of them run at a hit: general registers only, no libc.
 */
#ifndef INLAY_HELPERS_CALL_H
#define INLAY_HELPERS_CALL_H

#include "base/types.h"

#define HELPER_REST __attribute__((unused)) u64

#define HELPER_0(name)                                                                             \
	u64 helper_##name(HELPER_REST r1, HELPER_REST r2, HELPER_REST r3, HELPER_REST r4,          \
			  HELPER_REST r5)
#define HELPER_1(name, a)                                                                          \
	u64 helper_##name(u64 a, HELPER_REST r2, HELPER_REST r3, HELPER_REST r4, HELPER_REST r5)
#define HELPER_2(name, a, b)                                                                       \
	u64 helper_##name(u64 a, u64 b, HELPER_REST r3, HELPER_REST r4, HELPER_REST r5)
#define HELPER_3(name, a, b, c)                                                                    \
	u64 helper_##name(u64 a, u64 b, u64 c, HELPER_REST r4, HELPER_REST r5)
#define HELPER_4(name, a, b, c, d)    u64 helper_##name(u64 a, u64 b, u64 c, u64 d, HELPER_REST r5)
#define HELPER_5(name, a, b, c, d, e) u64 helper_##name(u64 a, u64 b, u64 c, u64 d, u64 e)

#define ARGS(...)		      __VA_ARGS__
#define HELPER(number, name, result, args, flags, callers)                                         \
	u64 helper_##name(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5);
#include "helpers/helpers.def"
#undef HELPER
#undef ARGS

/* An int result as the register that the program sees: sign-extended. */
static inline u64 helper_result(s64 result)
{
	return (u64)result;
}

#endif
