/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Producing into a ring buffer map, as the helpers bpf_ringbuf_* do. Any thread, at a hit; no lock that a signal
 * handler could deadlock on. What finds no room counts in map_shared.dropped.
 */
#ifndef INLAY_MAPS_RINGBUF_H
#define INLAY_MAPS_RINGBUF_H

#include "base/types.h"

struct map;

/* A record of size bytes that nobody sees before it is submitted, or NULL: no room, or flags not 0. */
void *ringbuf_reserve(struct map *map, u64 size, u64 flags);
/* record: what reserve gave. flags: BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP. */
void ringbuf_submit(void *record, u64 flags);
void ringbuf_discard(void *record, u64 flags);
/* Reserve, copy, submit. 0, -EAGAIN (no room), -EINVAL (flags). */
int ringbuf_output(struct map *map, const void *data, u64 size, u64 flags);
/* flags: BPF_RB_AVAIL_DATA, _RING_SIZE, _CONS_POS, _PROD_POS; 0 for others. */
u64 ringbuf_query(const struct map *map, u64 flags);

#endif
