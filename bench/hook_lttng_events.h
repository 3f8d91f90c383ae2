/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of bench/hook: the tracepoint, as LTTng-UST's macros want it; read several times. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER inlay_bench
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "hook_lttng_events.h"

#if !defined(INLAY_BENCH_HOOK_LTTNG_EVENTS_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define INLAY_BENCH_HOOK_LTTNG_EVENTS_H

#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(inlay_bench, hit, LTTNG_UST_TP_ARGS(int, value),
			   LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(int, value, value)))

#endif

#include <lttng/tracepoint-event.h>
