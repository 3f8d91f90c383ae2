// SPDX-License-Identifier: BSD-2-Clause
/*
 * Order that signal handlers rely on. A handler that hits an exit probe pushes and pops in between any two instructions of
 * its thread here, and leaves entries below `top` alone but for trailing free ones. So push makes its entry count (top) before
 * it fills it and looks whether it kept it; pop frees (slot = 0) before it lowers top.
 *
 * Another thread may only take an entry (slot to 0). No two ever want the same one: a slot is a word of a live frame, and
 * one thread at a time returns through it. So nothing here needs an atomic read-modify-write.
 */
#include "hook/shadow.h"

#include <errno.h>

#include "arch/shadow_stack.h"
#include "arch/trampoline.h"
#include "base/sys.h"
#include "base/text.h"
#include "sync/reader.h"

static struct shadow *shadows;

/* The slot that a collection expects to hold `value`. */
struct expectation {
	u64 slot, value;
};

#define EXPECTATIONS 65536

static struct shadow *create(void)
{
	struct shadow *shadow = sys_mmap(NULL, sizeof(*shadow), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct shadow *first = __atomic_load_n(&shadows, __ATOMIC_RELAXED);

	if (sys_is_error(shadow))
		return NULL;
	shadow->entries[0].slot = SHADOW_FLOOR_SLOT;
	shadow->top = 1;
	do {
		shadow->next = first;
	} while (!__atomic_compare_exchange_n(&shadows, &first, shadow, false, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	return shadow;
}

static struct shadow *shadow_of(struct reader *reader)
{
	struct shadow *shadow = reader->shadow;

	if (likely(shadow))
		return shadow;
	shadow = reader->left_shadow;
	if (!shadow)
		shadow = create();
	if (!shadow)
		return NULL;
	for (u32 i = 1; i < shadow->top; i++)
		shadow->entries[i].slot = 0;
	shadow->top = 1;
	shadow->full_at_top = 0;
	/* A handler may have made one meanwhile: it holds no entry now, and stays on the list unused. */
	reader->left_shadow = NULL;
	reader->shadow = shadow;
	return shadow;
}

static u64 slot_of(const struct shadow_entry *entry)
{
	return __atomic_load_n(&entry->slot, __ATOMIC_RELAXED);
}

/* A handler may lower top below us meanwhile: it is set to what was checked, too high at worst, never decremented. */
static void lower_top(struct shadow *shadow)
{
	for (;;) {
		u32 top = __atomic_load_n(&shadow->top, __ATOMIC_RELAXED);

		if (slot_of(&shadow->entries[top - 1]))
			return;
		__atomic_store_n(&shadow->top, top - 1, __ATOMIC_RELAXED);
	}
}

static struct expectation *expect(struct expectation *table, u64 slot)
{
	u64 at = (slot >> 3) * 0x9e3779b97f4a7c15ull >> 48;

	while (table[at].slot && table[at].slot != slot)
		at = (at + 1) % EXPECTATIONS;
	return &table[at];
}

/* By system call: the stack it was on may be gone. */
static u64 read_slot(u64 slot)
{
	u64 value = 0;
	struct iovec local = {.iov_base = &value, .iov_len = 8};
	struct iovec remote = {.iov_base = ptr_from_u64(slot), .iov_len = 8};

	return sys_process_vm_readv(sys_getpid(), &local, &remote) == 8 ? value : 0;
}

/* Newest first: an entry is live when its slot still holds its landing, or a newer live one's target is it. */
static void free_dead(struct shadow *shadow, struct expectation *table)
{
	for (u32 i = shadow->top; i-- > 1;) {
		struct shadow_entry *entry = &shadow->entries[i];
		struct expectation *expected;

		if (!entry->slot)
			continue;
		expected = expect(table, entry->slot);
		if (!expected->slot) {
			expected->slot = entry->slot;
			expected->value = read_slot(entry->slot);
		}
		if (expected->value == entry->landing)
			expected->value = entry->target;
		else
			entry->slot = 0;
	}
}

static void close_gaps(struct shadow *shadow)
{
	u32 kept = 0;

	for (u32 i = 0; i < shadow->top; i++) {
		if (shadow->entries[i].slot)
			shadow->entries[kept++] = shadow->entries[i];
	}
	for (u32 i = kept; i < shadow->top; i++)
		shadow->entries[i].slot = 0;
	shadow->top = kept;
}

/*
 * Full: drops the entries of frames that were left by longjmp. Not while a push or pop that this one interrupted holds an
 * index: those run under a mark, so the outermost hit has none below it.
 */
static bool collect(const struct reader *reader, struct shadow *shadow)
{
	size_t size = EXPECTATIONS * sizeof(struct expectation);
	struct expectation *table;

	if (reader->nest > 1 || shadow->full_at_top)
		return false;
	table = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sys_is_error(table))
		return false;
	free_dead(shadow, table);
	close_gaps(shadow);
	sys_munmap(table, size);
	shadow->full_at_top = shadow->top > SHADOW_ENTRIES - SHADOW_ENTRIES / 8;
	return shadow->top < SHADOW_ENTRIES;
}

/* The frame that hooked this slot before has gone without returning, when the slot holds something else now. */
static void drop_overwritten(struct shadow *shadow, const u64 *slot)
{
	for (;;) {
		u32 top = __atomic_load_n(&shadow->top, __ATOMIC_RELAXED);
		struct shadow_entry *entry = &shadow->entries[top - 1];

		if (likely(slot_of(entry) != ptr_to_u64(slot)) || entry->landing == *slot)
			return;
		__atomic_store_n(&entry->slot, 0, __ATOMIC_RELAXED);
		lower_top(shadow);
	}
}

/*
 * Frames that a throw or longjmp left are farther down the stack than the one being entered. Kept, they would make every lookup of an
 * unwinder longer. A coroutine's stack may lie there as well: its slot holds the landing still. So does not yet that of a push
 * which this one interrupted, on an alternate stack: the outermost hit has none below it.
 */
static void drop_left_behind(const struct reader *reader, struct shadow *shadow, const u64 *slot)
{
	if (reader->nest > 1)
		return;
	for (;;) {
		u32 top = __atomic_load_n(&shadow->top, __ATOMIC_RELAXED);
		struct shadow_entry *entry = &shadow->entries[top - 1];
		u64 below = slot_of(entry);

		if (likely(below >= ptr_to_u64(slot) || !below) ||
		    read_slot(below) == entry->landing)
			return;
		__atomic_store_n(&entry->slot, 0, __ATOMIC_RELAXED);
		lower_top(shadow);
	}
}

static bool put(const struct reader *reader, struct shadow *shadow, const u64 *slot, u64 landing)
{
	struct shadow_entry *entry;
	u32 at;

	do {
		at = __atomic_load_n(&shadow->top, __ATOMIC_RELAXED);
		if (unlikely(at >= SHADOW_ENTRIES)) {
			if (!collect(reader, shadow))
				return false;
			at = shadow->top;
		}
		entry = &shadow->entries[at];
		__atomic_store_n(&entry->slot, ptr_to_u64(slot), __ATOMIC_RELAXED);
		cpu_compiler_barrier();
		shadow->top = at + 1;
		cpu_compiler_barrier();
		__atomic_store_n(&entry->slot, ptr_to_u64(slot), __ATOMIC_RELAXED);
		entry->target = *slot;
		entry->landing = landing;
		cpu_compiler_barrier();
	} while (unlikely(shadow->top != at + 1 || slot_of(entry) != ptr_to_u64(slot)));
	return true;
}

void shadow_push(struct reader *reader, u64 *slot, u64 landing)
{
	struct shadow *shadow = shadow_of(reader);

	if (unlikely(!shadow))
		goto missed;
	drop_left_behind(reader, shadow, slot);
	drop_overwritten(shadow, slot);
	if (unlikely(!put(reader, shadow, slot, landing)))
		goto missed;
	cpu_compiler_barrier();
	*slot = landing;
	return;

missed:
	reader->missed++;
}

/* Older entries of the same slot: whose landing is the target, until a target is no landing. */
static u64 resolve(const struct shadow *shadow, u32 at, u64 slot, u64 target)
{
	while (at-- > 0) {
		const struct shadow_entry *entry = &shadow->entries[at];

		if (slot_of(entry) != slot)
			continue;
		if (entry->landing != target)
			break;
		target = entry->target;
	}
	return target;
}

/* Before its entry goes the slot gets what the landing stood for: unwinders find the caller at every instruction. */
static void leave(u64 slot, u64 target)
{
	__atomic_store_n((u64 *)ptr_from_u64(slot), target, __ATOMIC_RELAXED);
	cpu_compiler_barrier();
}

static bool take(struct shadow *shadow, u64 slot, u64 *ret_target, u64 *ret_caller)
{
	u32 top = __atomic_load_n(&shadow->top, __ATOMIC_RELAXED);

	for (u32 i = top; i-- > 0;) {
		struct shadow_entry *entry = &shadow->entries[i];
		u64 target = entry->target;

		if (slot_of(entry) != slot)
			continue;
		leave(slot, target);
		__atomic_store_n(&entry->slot, 0, __ATOMIC_RELAXED);
		*ret_target = target;
		*ret_caller = resolve(shadow, i, slot, target);
		return true;
	}
	return false;
}

/* A coroutine that was entered in another thread. Its stack is used by no other thread, so its slot is unique. */
static bool take_elsewhere(u64 slot, u64 *ret_target, u64 *ret_caller)
{
	struct shadow *shadow = __atomic_load_n(&shadows, __ATOMIC_ACQUIRE);

	for (; shadow; shadow = shadow->next) {
		if (take(shadow, slot, ret_target, ret_caller))
			return true;
	}
	return false;
}

/* Its owner's common case: the newest entry, and none of another frame shares the slot. */
static bool take_newest(struct shadow *shadow, u64 slot, u64 *ret_target)
{
	u32 top = __atomic_load_n(&shadow->top, __ATOMIC_RELAXED);
	struct shadow_entry *entry = &shadow->entries[top - 1];
	u64 below;

	if (unlikely(slot_of(entry) != slot))
		return false;
	below = slot_of(entry - 1);
	/* In the middle, take_any looks whether collecting may be tried again. */
	if (unlikely(!below || below == slot || top == SHADOW_MIDDLE))
		return false;
	*ret_target = entry->target;
	leave(slot, *ret_target);
	__atomic_store_n(&entry->slot, 0, __ATOMIC_RELAXED);
	cpu_compiler_barrier();
	__atomic_store_n(&shadow->top, top - 1, __ATOMIC_RELAXED);
	return true;
}

static __attribute__((noinline)) void take_any(struct shadow *shadow, u64 slot, u64 *ret_target,
					       u64 *ret_caller)
{
	bool found = false;

	if (shadow) {
		found = take(shadow, slot, ret_target, ret_caller);
		lower_top(shadow);
		if (shadow->top <= SHADOW_MIDDLE)
			shadow->full_at_top = 0;
	}
	if (!found && !take_elsewhere(slot, ret_target, ret_caller))
		__builtin_trap();
}

/* What value stands for by the entries of one stack: newest first, as resolve does. */
static u64 find_in(const struct shadow *shadow, u64 slot, u64 value)
{
	u32 top = __atomic_load_n(&shadow->top, __ATOMIC_RELAXED);

	for (u32 i = top; i-- > 1 && text_contains(value);) {
		const struct shadow_entry *entry = &shadow->entries[i];

		if (slot_of(entry) == slot && entry->landing == value)
			value = entry->target;
	}
	return value;
}

void shadow_layout(struct shadow_layout *ret_layout)
{
	_Static_assert(!offsetof(struct shadow, next), "unwinders follow the first word");
	*ret_layout = (struct shadow_layout){
		.list = ptr_to_u64(&shadows),
		.top = offsetof(struct shadow, top),
		.entries = offsetof(struct shadow, entries),
		.entry_size = sizeof(struct shadow_entry),
		.slot = offsetof(struct shadow_entry, slot),
		.target = offsetof(struct shadow_entry, target),
		.landing = offsetof(struct shadow_entry, landing),
	};
}

u64 shadow_find(const struct reader *reader, u64 slot, u64 value)
{
	const struct shadow *own = reader ? reader->shadow : NULL;
	const struct shadow *shadow;

	if (likely(!text_contains(value)))
		return value;
	if (own)
		value = find_in(own, slot, value);
	shadow = __atomic_load_n(&shadows, __ATOMIC_ACQUIRE);
	for (; shadow && text_contains(value); shadow = shadow->next)
		value = find_in(shadow, slot, value);
	return value;
}

u64 shadow_pop(struct reader *reader, u64 slot, struct hit *hit)
{
	struct shadow *shadow = reader ? reader->shadow : NULL;
	u64 target, caller;

	if (likely(shadow && take_newest(shadow, slot, &target)))
		caller = target;
	else
		take_any(shadow, slot, &target, &caller);
	if (likely(hit))
		hit->return_address = caller;
	return target;
}
