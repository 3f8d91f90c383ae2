/* SPDX-License-Identifier: BSD-2-Clause */
/* Ring buffers: the producer's side is in maps/, since the map owns the protocol. */
#include "helpers/call.h"
#include "maps/ringbuf.h"

HELPER_4(ringbuf_output, map, data, size, flags)
{
	return helper_result(ringbuf_output(ptr_from_u64(map), ptr_from_u64(data), size, flags));
}

HELPER_3(ringbuf_reserve, map, size, flags)
{
	return ptr_to_u64(ringbuf_reserve(ptr_from_u64(map), size, flags));
}

HELPER_2(ringbuf_submit, sample, flags)
{
	ringbuf_submit(ptr_from_u64(sample), flags);
	return 0;
}

HELPER_2(ringbuf_discard, sample, flags)
{
	ringbuf_discard(ptr_from_u64(sample), flags);
	return 0;
}

HELPER_2(ringbuf_query, map, flags)
{
	return ringbuf_query(ptr_from_u64(map), flags);
}
