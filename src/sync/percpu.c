// SPDX-License-Identifier: BSD-2-Clause
#include "sync/percpu.h"

#include "base/cpu.h"
#include "base/sys.h"
#include "sync/reader.h"
#include "sync/shared_lock.h"

#define SPINS  64
#define YIELDS 256

static u64 own_table[PERCPU_MAX];
static u64 *table = own_table;
static u32 table_count;
static u32 possible;

/* The highest number in a list such as "0-3,8-11", plus one. */
static u32 parse_cpu_list(const char *text, size_t size)
{
	u32 number = 0, highest = 0;

	for (size_t i = 0; i < size; i++) {
		if (text[i] >= '0' && text[i] <= '9') {
			number = number * 10 + (u32)(text[i] - '0');
			highest = MAX(highest, number);
		} else {
			number = 0;
		}
	}
	return MIN(highest + 1, PERCPU_MAX);
}

static u32 read_possible(void)
{
	char text[256];
	long size;
	int fd = sys_openat(AT_FDCWD, "/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return 1;
	size = sys_read(fd, text, sizeof(text));
	sys_close(fd);
	return size > 0 ? parse_cpu_list(text, (size_t)size) : 1;
}

u32 percpu_count(void)
{
	u32 count = __atomic_load_n(&possible, __ATOMIC_RELAXED);

	if (unlikely(!count)) {
		count = read_possible();
		__atomic_store_n(&possible, count, __ATOMIC_RELAXED);
	}
	return count;
}

void percpu_set_table(u64 *slots, u32 count)
{
	__atomic_store_n(&table_count, MIN(count, PERCPU_MAX), __ATOMIC_RELAXED);
	__atomic_store_n(&table, slots, __ATOMIC_RELEASE);
}

void percpu_offer_table(u64 *slots, u32 count)
{
	const u64 *now = __atomic_load_n(&table, __ATOMIC_ACQUIRE);

	if (now == own_table || now == slots)
		percpu_set_table(slots, count);
}

static u32 slot_count(void)
{
	u32 count = __atomic_load_n(&table_count, __ATOMIC_RELAXED);

	return count ? count : percpu_count();
}

static u32 current_cpu(void)
{
	u32 cpu = 0;

	sys_getcpu(&cpu, NULL);
	return cpu;
}

static bool take(u64 *word, u64 self, bool judge)
{
	u64 owner = __atomic_load_n(word, __ATOMIC_RELAXED);

	/* Our own word without a held slot: a run that was jumped out of. */
	if (owner && owner != self && !(judge && shared_lock_owner_gone(owner)))
		return false;
	return __atomic_compare_exchange_n(word, &owner, self, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static int take_any(u64 self, u32 first)
{
	u64 *slots = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
	u32 count = slot_count();

	for (u32 round = 0; round < SPINS + YIELDS; round++) {
		bool judge = round >= SPINS && round % 32 == 0;

		for (u32 i = 0; i < count; i++) {
			u32 slot = (first + i) % count;

			if (take(&slots[slot], self, judge))
				return (int)slot;
		}
		if (round < SPINS)
			cpu_pause();
		else
			sys_sched_yield();
	}
	return -EBUSY;
}

/*
 * A signal handler may run between any two lines below. It sees depth > 0 from the first to the last, and shares the slot
 * only while HELD is set; in the moments around that its own run is missed.
 */
int percpu_enter(void)
{
	struct reader *reader = reader_self();
	u64 self = shared_lock_owner();
	int slot;

	if (!reader || !self)
		return -EBUSY;
	if (reader->percpu_depth++) {
		if (reader->percpu_slot & READER_PERCPU_HELD)
			return (int)(reader->percpu_slot & ~READER_PERCPU_HELD);
		reader->percpu_depth--;
		return -EBUSY;
	}
	cpu_compiler_barrier();
	slot = take_any(self, reader->percpu_slot == READER_PERCPU_NONE ? current_cpu()
									: reader->percpu_slot);
	if (slot >= 0)
		reader->percpu_slot = (u32)slot | READER_PERCPU_HELD;
	else
		reader->percpu_depth--;
	return slot;
}

void percpu_leave(void)
{
	struct reader *reader = reader_self();
	u64 *slots = __atomic_load_n(&table, __ATOMIC_ACQUIRE);

	if (!reader || !reader->percpu_depth)
		return;
	if (reader->percpu_depth > 1) {
		reader->percpu_depth--;
		return;
	}
	reader->percpu_slot &= ~READER_PERCPU_HELD;
	__atomic_store_n(&slots[reader->percpu_slot], 0, __ATOMIC_RELEASE);
	cpu_compiler_barrier();
	reader->percpu_depth = 0;
}

u32 percpu_slot(void)
{
	struct reader *reader = reader_self();

	if (reader && reader->percpu_slot & READER_PERCPU_HELD)
		return reader->percpu_slot & ~READER_PERCPU_HELD;
	return current_cpu() % slot_count();
}
