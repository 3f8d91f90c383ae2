/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RINGBUF: many producers at hits, one consumer, records in the order of their reservation. The memory is laid out as the
 * kernel's, so that libbpf's ring_buffer consumes it as it is.
 *
 *   data area: consumer page (consumer_pos at 0) | producer page (producer_pos at 0) | max_entries bytes of records
 *   record: u32 length | BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT; u32 owner; payload, rounded up to 8
 *
 * owner is the producer's participant id (the kernel has a page offset there, which no consumer looks at).
 *
 *   who      | does                                     | order
 *   reserve  | under the lock: header BUSY, producer_pos | release: who sees the position sees the header
 *   submit   | header without BUSY; read consumer_pos    | exchange, a full fence: see below
 *   consumer | reads positions and headers; consumer_pos | acquire; release
 *   reap     | header: BUSY of a dead owner -> DISCARD   | CAS; a busy record stays where it is, since no consumer passes it
 *
 * A wake-up is sent when the consumer has caught up with the record being submitted, as in the kernel, or may have: is
 * less than RINGBUF_NEAR bytes behind. libbpf's consumer stores consumer_pos and reads the next header without a fence
 * between them: it can see the header BUSY while its position, still in its store buffer, looks to us as before some of
 * the records it has just consumed. The kernel's poll looks at the positions again; an eventfd cannot. A store buffer
 * does not hold the stores of that many bytes of records; where the consumer really is behind, the price is some
 * wake-ups at the beginning of a burst.
 *
 * Killed between any two stores: before producer_pos is stored nothing has happened (the lock is simply taken over);
 * after it the record is busy for ever, and the consumer would wait behind it for ever, until ringbuf_reap(), or until
 * a producer finds no room and that record to be the reason.
 */
#ifndef INLAY_MAPS_RINGBUF_H
#define INLAY_MAPS_RINGBUF_H

#include "maps/map.h"

#define RINGBUF_NEAR 2048u

/* Rings that one process may have open. */
#define RINGBUF_OPEN_MAX 256

/* Producers. Any thread, at a hit. */

/* size bytes, or NULL: no room, flags not 0, or the lock was not to be had in bounded time (counted in shared->dropped). */
void *ringbuf_reserve(struct map *map, u64 size, u64 flags);
/* sample from ringbuf_reserve in this process. flags: BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP. */
void ringbuf_submit(void *sample, u64 flags);
void ringbuf_discard(void *sample, u64 flags);
/* Reserve, copy, submit. 0, -EINVAL or -EAGAIN. */
int ringbuf_output(struct map *map, const void *data, u64 size, u64 flags);
/* BPF_RB_AVAIL_DATA, _RING_SIZE, _CONS_POS, _PROD_POS; 0 for other flags. */
u64 ringbuf_query(struct map *map, u64 flags);

/* The deputy (sync/deputy.h): wakes the pollers that hits could not wake. */
void ringbuf_wake_pending(void);

/* The consumer: one at a time. */

/*
 * Calls fn for each record that is ready, in order; stops at a busy one, or when fn returns < 0 (that record counts as
 * consumed). Returns how many fn got, or what fn returned.
 */
s64 ringbuf_consume(struct map *map, int (*fn)(void *opaque, void *data, u32 size), void *opaque);
/*
 * Discards the busy records whose producers' processes are dead, and wakes the poller if there were any. Returns their number.
 * For the consumer's side, when it has waited in vain (a system call a busy record; any thread, not at a hit).
 */
u32 ringbuf_reap(struct map *map);

/*
 * What mmap(2) of the kernel's ring buffer map gives: consumer page, producer page, and the data twice in a row. Returns
 * the address, or -errno as a pointer (sys_is_error): -EPERM (writable, but not the consumer page alone), -EINVAL.
 */
void *ringbuf_client_map(struct map *map, void *addr, size_t length, int prot, int flags,
			 u64 offset);

#endif
