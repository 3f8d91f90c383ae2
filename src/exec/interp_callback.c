/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/interp_callback.h"

#define CALLBACK(number)                                                                           \
	static u64 call_##number(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)                           \
	{                                                                                          \
		return interp_callback(number, (const u64[]){r1, r2, r3, r4, r5});                 \
	}

CALLBACK(0)
CALLBACK(1)
CALLBACK(2)
CALLBACK(3)
CALLBACK(4)
CALLBACK(5)
CALLBACK(6)
CALLBACK(7)

exec_helper_fn interp_callback_function(u32 number)
{
	static const exec_helper_fn functions[INTERP_CALLBACKS] = {
		call_0, call_1, call_2, call_3, call_4, call_5, call_6, call_7,
	};

	return functions[number];
}
