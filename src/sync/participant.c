// SPDX-License-Identifier: BSD-2-Clause
#include "sync/participant.h"

#include "base/sys.h"
#include "sync/deputy.h"

#define PLACE_BITS	 12
#define INCARNATION_MASK ((1u << (31 - PLACE_BITS)) - 1) /* an id is a positive int */
#define SUSPECTS	 16

static int registry_fd = -1;
static struct participant_file *file;
/* In a page that fork() clears: the child has another place, or none. */
static u32 *self_id;

/* Ids that hits have asked for, and those of them found dead. Ids are never given again, so neither goes stale. */
static u32 suspects[SUSPECTS];
static u32 dead[SUSPECTS];
static u32 suspect_next, dead_next;

static struct flock lock_of(u32 place, short type)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = place,
		.l_len = 1,
	};

	return lock;
}

static int make_self_page(void)
{
	u32 *page;

	if (self_id)
		return 0;
	page = sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sys_is_error(page))
		return -ENOMEM;
	if (sys_madvise(page, 4096, MADV_WIPEONFORK)) {
		sys_munmap(page, 4096);
		return -EOPNOTSUPP;
	}
	__atomic_store_n(&self_id, page, __ATOMIC_RELEASE);
	return 0;
}

static int map_file(int fd)
{
	struct participant_file *mapped;
	int error;

	error = sys_fallocate(fd, 0, PARTICIPANT_FILE_OFFSET, sizeof(*file));
	if (error)
		return error;
	/* In the place of the one before: runs at their end, and the table of slots, point into it. */
	mapped = sys_mmap(file, sizeof(*file), PROT_READ | PROT_WRITE,
			  MAP_SHARED | (file ? MAP_FIXED : 0), fd, PARTICIPANT_FILE_OFFSET);
	if (sys_is_error(mapped))
		return -ENOMEM;
	__atomic_store_n(&file, mapped, __ATOMIC_RELEASE);
	return 0;
}

/* Returns the id or -errno. */
static int take_place(int fd)
{
	for (u32 place = 1; place < PARTICIPANT_MAX; place++) {
		struct flock lock = lock_of(place, F_WRLCK);
		int error = sys_fcntl(fd, F_OFD_SETLK, ptr_to_u64(&lock));
		u32 incarnation;

		if (error == -EAGAIN || error == -EACCES)
			continue;
		if (error)
			return error;
		incarnation = (file->incarnation[place] + 1) & INCARNATION_MASK;
		__atomic_store_n(&file->incarnation[place], incarnation, __ATOMIC_RELEASE);
		return (int)(incarnation << PLACE_BITS | place);
	}
	return -ENOSPC;
}

static void share_slots(void)
{
	u32 known = __atomic_load_n(&file->percpu_count, __ATOMIC_RELAXED);
	u32 count = percpu_count();

	while (known < count &&
	       !__atomic_compare_exchange_n(&file->percpu_count, &known, count, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	percpu_offer_table(file->percpu_slots, MAX(known, count));
}

int participant_join(int fd)
{
	int id, error;

	if (participant_self() != PARTICIPANT_NONE)
		return -EALREADY;
	error = make_self_page();
	if (!error)
		error = map_file(fd);
	if (error)
		return error;
	id = take_place(fd);
	if (id < 0)
		return id;
	registry_fd = fd;
	share_slots();
	__atomic_store_n(self_id, (u32)id, __ATOMIC_RELEASE);
	return id;
}

void participant_leave(void)
{
	u32 id = participant_self();
	struct flock lock = lock_of(id & (PARTICIPANT_MAX - 1), F_UNLCK);

	if (id == PARTICIPANT_NONE)
		return;
	__atomic_store_n(self_id, PARTICIPANT_NONE, __ATOMIC_RELEASE);
	sys_fcntl(registry_fd, F_OFD_SETLK, ptr_to_u64(&lock));
	sys_close(registry_fd);
	registry_fd = -1;
}

u32 participant_self(void)
{
	u32 *page = __atomic_load_n(&self_id, __ATOMIC_ACQUIRE);

	return page ? __atomic_load_n(page, __ATOMIC_ACQUIRE) : PARTICIPANT_NONE;
}

bool participant_expected(void)
{
	return __atomic_load_n(&self_id, __ATOMIC_ACQUIRE) != NULL;
}

static bool listed(const u32 *list, u32 id)
{
	for (u32 i = 0; i < SUSPECTS; i++) {
		if (__atomic_load_n(&list[i], __ATOMIC_RELAXED) == id)
			return true;
	}
	return false;
}

static void put(u32 *list, u32 *next, u32 id)
{
	u32 at = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED) % SUSPECTS;

	if (!listed(list, id))
		__atomic_store_n(&list[at], id, __ATOMIC_RELAXED);
}

/* By the place's lock. Needs the descriptor. */
static bool holds_place(u32 id)
{
	struct flock lock = lock_of(id & (PARTICIPANT_MAX - 1), F_WRLCK);

	if (sys_fcntl(registry_fd, F_OFD_GETLK, ptr_to_u64(&lock)))
		return true; /* unknown: never take a lock from the living */
	return lock.l_type != F_UNLCK;
}

bool participant_alive(u32 id)
{
	u32 self = participant_self();

	if (id == PARTICIPANT_NONE || id == self || self == PARTICIPANT_NONE)
		return true;
	if (__atomic_load_n(&file->incarnation[id & (PARTICIPANT_MAX - 1)], __ATOMIC_ACQUIRE) !=
	    id >> PLACE_BITS)
		return false;
	if (!deputy_needed())
		return holds_place(id);
	if (listed(dead, id))
		return false;
	put(suspects, &suspect_next, id);
	deputy_post();
	return true;
}

void participant_judge_suspects(void)
{
	for (u32 i = 0; i < SUSPECTS; i++) {
		u32 id = __atomic_exchange_n(&suspects[i], PARTICIPANT_NONE, __ATOMIC_ACQ_REL);

		if (id != PARTICIPANT_NONE && !participant_alive(id))
			put(dead, &dead_next, id);
	}
}
