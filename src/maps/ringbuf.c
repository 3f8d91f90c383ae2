// SPDX-License-Identifier: BSD-2-Clause
#include "maps/ringbuf.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"
#include "maps/map_types.h"
#include "sync/deputy.h"
#include "sync/participant.h"
#include "sync/shared_lock.h"

#define HEADER_SIZE	8u
#define POSITIONS_SIZE	(2u * MAP_PAGE)
#define RECORD_SIZE_MAX (UINT32_MAX / 4)
#define LENGTH_MASK	(~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT))

struct record_header {
	u32 length; /* with the two bits */
	u32 owner;
};

/* This process's addresses of a ring. */
struct ring {
	struct map *map;
	u64 *consumer_pos, *producer_pos;
	struct shared_lock *lock; /* of producers, in type_state */
	char *data;		  /* mapped twice in a row */
	u64 mask;
};

/* Rings of this process: a sample's address says which it is from. */
static struct ring *open_rings[RINGBUF_OPEN_MAX];

static struct ring *ring_of(const struct map *map)
{
	return map->type_view;
}

static int check(const struct map_spec *spec)
{
	if (spec->flags & ~(u32)BPF_F_NUMA_NODE || spec->key_size || spec->value_size)
		return -EINVAL;
	if (!spec->max_entries || spec->max_entries & (spec->max_entries - 1) ||
	    spec->max_entries % MAP_PAGE)
		return -EINVAL;
	return 0;
}

static u64 data_size(const struct map_spec *spec, u32 cpus)
{
	(void)cpus;
	return POSITIONS_SIZE + (u64)spec->max_entries;
}

/* size bytes from file offset on, at address, which must be reserved. */
static int map_piece(const struct map *map, char *address, u64 size, int prot, u64 offset)
{
	void *mapped = sys_mmap(address, size, prot, MAP_SHARED | MAP_FIXED, map->fd, offset);

	return sys_is_error(mapped) ? (int)(long)mapped : 0;
}

static char *map_twice(const struct map *map)
{
	u64 size = map->spec.max_entries;
	char *address = sys_mmap(NULL, 2 * size, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_error(address))
		return NULL;
	for (u32 i = 0; i < 2; i++) {
		if (map_piece(map, address + i * size, size, PROT_READ | PROT_WRITE,
			      POSITIONS_SIZE)) {
			sys_munmap(address, 2 * size);
			return NULL;
		}
	}
	return address;
}

static int list_ring(struct ring *ring)
{
	for (u32 i = 0; i < RINGBUF_OPEN_MAX; i++) {
		struct ring *expected = NULL;

		if (__atomic_compare_exchange_n(&open_rings[i], &expected, ring, false,
						__ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return 0;
	}
	return -ENFILE;
}

static void unlist_ring(struct ring *ring)
{
	for (u32 i = 0; i < RINGBUF_OPEN_MAX; i++) {
		if (__atomic_load_n(&open_rings[i], __ATOMIC_RELAXED) == ring)
			__atomic_store_n(&open_rings[i], NULL, __ATOMIC_RELEASE);
	}
}

static struct ring *ring_at(const void *sample)
{
	for (u32 i = 0; i < RINGBUF_OPEN_MAX; i++) {
		struct ring *ring = __atomic_load_n(&open_rings[i], __ATOMIC_ACQUIRE);

		if (ring && ptr_to_u64(sample) - ptr_to_u64(ring->data) < 2 * (ring->mask + 1))
			return ring;
	}
	return NULL;
}

static int open_ring(struct map *map)
{
	struct ring *ring = arena_alloc(sizeof(*ring));
	int error = -ENOMEM;

	if (!ring)
		return -ENOMEM;
	ring->map = map;
	ring->consumer_pos = (u64 *)map->data;
	ring->producer_pos = (u64 *)(map->data + MAP_PAGE);
	ring->lock = (struct shared_lock *)map->shared->type_state;
	ring->mask = map->spec.max_entries - 1;
	ring->data = map_twice(map);
	if (ring->data)
		error = list_ring(ring);
	if (error) {
		if (ring->data)
			sys_munmap(ring->data, 2 * (ring->mask + 1));
		arena_free(ring);
		return error;
	}
	map->type_view = ring;
	return 0;
}

static void close_ring(struct map *map)
{
	struct ring *ring = ring_of(map);

	unlist_ring(ring);
	sys_munmap(ring->data, 2 * (ring->mask + 1));
	arena_free(ring);
}

const struct map_ops ringbuf_ops = {
	.type = BPF_MAP_TYPE_RINGBUF,
	.name = "ringbuf",
	.check = check,
	.data_size = data_size,
	.open = open_ring,
	.close = close_ring,
};

static u64 record_size(u32 length)
{
	return ALIGN_UP((u64)(length & LENGTH_MASK) + HEADER_SIZE, 8ul);
}

static void count_drop(struct map *map)
{
	__atomic_fetch_add(&map->shared->dropped, 1, __ATOMIC_RELAXED);
}

/* Under the lock. NULL when the record would meet what is not consumed yet. */
static struct record_header *take_room(struct ring *ring, u32 size)
{
	u64 producer = __atomic_load_n(ring->producer_pos, __ATOMIC_RELAXED);
	u64 consumer = __atomic_load_n(ring->consumer_pos, __ATOMIC_ACQUIRE);
	u64 end = producer + record_size(size);
	struct record_header *header;

	if (end - consumer > ring->mask)
		return NULL;
	header = (struct record_header *)(ring->data + (producer & ring->mask));
	header->owner = participant_self();
	__atomic_store_n(&header->length, size | BPF_RINGBUF_BUSY_BIT, __ATOMIC_RELAXED);
	__atomic_store_n(ring->producer_pos, end, __ATOMIC_RELEASE);
	return header;
}

static void wake(struct map *map)
{
	u64 one = 1;

	if (map->event_fd < 0)
		return;
	if (deputy_needed()) {
		__atomic_store_n(&map->wake_pending, 1, __ATOMIC_RELEASE);
		deputy_post();
		return;
	}
	sys_write(map->event_fd, &one, sizeof(one));
}

static struct record_header *header_at(const struct ring *ring, u64 position)
{
	return (struct record_header *)(ring->data + (position & ring->mask));
}

/* True: the busy record was a dead process's, and is discarded now. */
static bool discard_if_dead(struct record_header *header, u32 length)
{
	u32 owner = __atomic_load_n(&header->owner, __ATOMIC_RELAXED);

	if (owner == PARTICIPANT_NONE || participant_alive(owner))
		return false;
	return __atomic_compare_exchange_n(&header->length, &length,
					   (length & LENGTH_MASK) | BPF_RINGBUF_DISCARD_BIT, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/*
 * The ring is full. Where that is because its first record was left busy by a dead process and nobody reaps, the ring would
 * stay full for ever: whoever wants room looks. Free of system calls unless the first record is busy.
 */
static void discard_abandoned_head(struct ring *ring)
{
	u64 position = __atomic_load_n(ring->consumer_pos, __ATOMIC_ACQUIRE);
	struct record_header *header = header_at(ring, position);
	u32 length = __atomic_load_n(&header->length, __ATOMIC_ACQUIRE);

	if (length & BPF_RINGBUF_BUSY_BIT &&
	    position == __atomic_load_n(ring->consumer_pos, __ATOMIC_ACQUIRE) &&
	    position != __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE) &&
	    discard_if_dead(header, length))
		wake(ring->map);
}

void *ringbuf_reserve(struct map *map, u64 size, u64 flags)
{
	struct ring *ring = ring_of(map);
	struct record_header *header = NULL;

	if (unlikely(flags || size > RECORD_SIZE_MAX || record_size((u32)size) > ring->mask + 1))
		return NULL;
	if (shared_lock_acquire(ring->lock) >= 0) {
		header = take_room(ring, (u32)size);
		shared_lock_release(ring->lock);
	}
	if (unlikely(!header)) {
		count_drop(map);
		discard_abandoned_head(ring);
		return NULL;
	}
	return header + 1;
}

void ringbuf_wake_pending(void)
{
	for (u32 i = 0; i < RINGBUF_OPEN_MAX; i++) {
		struct ring *ring = __atomic_load_n(&open_rings[i], __ATOMIC_ACQUIRE);

		if (ring && __atomic_exchange_n(&ring->map->wake_pending, 0, __ATOMIC_ACQ_REL))
			wake(ring->map);
	}
}

static void commit(void *sample, u64 flags, u32 discard)
{
	struct ring *ring = ring_at(sample);
	struct record_header *header = (struct record_header *)sample - 1;
	u64 position, consumer;

	if (unlikely(!ring))
		return;
	__atomic_exchange_n(&header->length, (header->length & LENGTH_MASK) | discard,
			    __ATOMIC_SEQ_CST);
	position = ptr_to_u64(header) - ptr_to_u64(ring->data);
	consumer = __atomic_load_n(ring->consumer_pos, __ATOMIC_SEQ_CST);
	if (flags & BPF_RB_FORCE_WAKEUP ||
	    (!(flags & BPF_RB_NO_WAKEUP) && ((position - consumer) & ring->mask) < RINGBUF_NEAR))
		wake(ring->map);
}

void ringbuf_submit(void *sample, u64 flags)
{
	commit(sample, flags, 0);
}

void ringbuf_discard(void *sample, u64 flags)
{
	commit(sample, flags, BPF_RINGBUF_DISCARD_BIT);
}

int ringbuf_output(struct map *map, const void *data, u64 size, u64 flags)
{
	void *sample;

	if (flags & ~(u64)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	sample = ringbuf_reserve(map, size, 0);
	if (!sample)
		return -EAGAIN;
	mem_copy_words(sample, data, size);
	commit(sample, flags, 0);
	return 0;
}

u64 ringbuf_query(struct map *map, u64 flags)
{
	struct ring *ring = ring_of(map);
	u64 consumer = __atomic_load_n(ring->consumer_pos, __ATOMIC_ACQUIRE);
	u64 producer = __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE);

	switch (flags) {
	case BPF_RB_AVAIL_DATA:
		return producer - consumer;
	case BPF_RB_RING_SIZE:
		return ring->mask + 1;
	case BPF_RB_CONS_POS:
		return consumer;
	case BPF_RB_PROD_POS:
		return producer;
	}
	return 0;
}

s64 ringbuf_consume(struct map *map, int (*fn)(void *opaque, void *data, u32 size), void *opaque)
{
	struct ring *ring = ring_of(map);
	u64 position = __atomic_load_n(ring->consumer_pos, __ATOMIC_RELAXED);
	s64 count = 0;

	while (position < __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE)) {
		struct record_header *header = header_at(ring, position);
		u32 length = __atomic_load_n(&header->length, __ATOMIC_ACQUIRE);
		int result = 0;

		if (length & BPF_RINGBUF_BUSY_BIT || record_size(length) > ring->mask + 1)
			break;
		if (!(length & BPF_RINGBUF_DISCARD_BIT)) {
			result = fn(opaque, header + 1, length);
			count++;
		}
		position += record_size(length);
		/* A full fence: a producer whose record comes next either sees this, or its record is seen here. */
		__atomic_store_n(ring->consumer_pos, position, __ATOMIC_SEQ_CST);
		if (result < 0)
			return result;
	}
	return count;
}

u32 ringbuf_reap(struct map *map)
{
	struct ring *ring = ring_of(map);
	u64 position = __atomic_load_n(ring->consumer_pos, __ATOMIC_ACQUIRE);
	u32 reaped = 0;

	while (position < __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE)) {
		struct record_header *header = header_at(ring, position);
		u32 length = __atomic_load_n(&header->length, __ATOMIC_ACQUIRE);
		u64 consumer = __atomic_load_n(ring->consumer_pos, __ATOMIC_ACQUIRE);

		/* The consumer has passed: what was read may be part of a newer record. */
		if (consumer > position) {
			position = consumer;
			continue;
		}
		if (record_size(length) > ring->mask + 1)
			break;
		if (length & BPF_RINGBUF_BUSY_BIT)
			reaped += discard_if_dead(header, length);
		position += record_size(length);
	}
	if (reaped)
		wake(map);
	return reaped;
}

/* Writable: the consumer page alone. */
static int check_client(const struct ring *ring, size_t length, int prot, int flags, u64 offset)
{
	u64 size = POSITIONS_SIZE + 2 * (ring->mask + 1);
	int sharing = flags & MAP_TYPE;

	if (sharing != MAP_SHARED && sharing != MAP_SHARED_VALIDATE && prot & PROT_WRITE)
		return -EINVAL;
	if (prot & PROT_WRITE && (offset != 0 || length != MAP_PAGE))
		return -EPERM;
	if (!length || offset % MAP_PAGE || offset > size ||
	    ALIGN_UP(length, MAP_PAGE) > size - offset)
		return -EINVAL;
	return 0;
}

void *ringbuf_client_map(struct map *map, void *addr, size_t length, int prot, int flags,
			 u64 offset)
{
	struct ring *ring = ring_of(map);
	u64 data_end = POSITIONS_SIZE + ring->mask + 1;
	u64 end = offset + ALIGN_UP(length, MAP_PAGE);
	int error = check_client(ring, length, prot, flags, offset);
	int fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	char *address;

	if (error)
		return ptr_from_u64((u64)(s64)error);
	address = sys_mmap(addr, end - offset, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
	if (sys_is_error(address))
		return address;
	if (offset < data_end)
		error = map_piece(map, address, MIN(end, data_end) - offset, prot, offset);
	if (!error && end > data_end) {
		u64 from = MAX(offset, data_end);

		error = map_piece(map, address + (from - offset), end - from, prot,
				  from - data_end + POSITIONS_SIZE);
	}
	if (error) {
		sys_munmap(address, end - offset);
		return ptr_from_u64((u64)(s64)error);
	}
	return address;
}
