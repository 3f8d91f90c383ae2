// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/register.h"

#include <time.h>

#include "base/arena.h"
#include "base/code_map.h"
#include "base/proc_maps.h"
#include "base/sys.h"

/* libgcc's struct object is six words; newer ones may have more. */
#define OBJECT_WORDS 16
/* An unwinder in another thread may still be reading a record that it was given before the runtime forgot it. */
#define REST_SECONDS 1

/* What the runtime was told at one time. */
struct told {
	struct told *next;
	u64 forgotten_at; /* seconds */
	u64 object[OBJECT_WORDS];
	u8 *records;
};

struct runtime {
	struct unwind_runtime functions; /* register_info 0: none */
	struct proc_mapping home;
	struct told *current;
};

static struct unwind_hooked hooked;
static struct runtime runtimes[UNWIND_RUNTIMES];
static struct told *forgotten;

static u64 now_seconds(void)
{
	struct timespec now = {0};

	sys_clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec;
}

static void free_told(struct told *told)
{
	if (!told)
		return;
	arena_free(told->records);
	arena_free(told);
}

static void free_rested(void)
{
	u64 now = now_seconds();

	for (struct told **at = &forgotten; *at;) {
		struct told *told = *at;

		if (now - told->forgotten_at <= REST_SECONDS) {
			at = &told->next;
			continue;
		}
		*at = told->next;
		free_told(told);
	}
}

static struct told *write_records(const struct code_map *map)
{
	struct told *told = arena_alloc(sizeof(*told));
	struct eh_frame out = {.size = eh_frame_guess(map)};

	if (!told)
		return NULL;
	do {
		arena_free(out.bytes);
		out = (struct eh_frame){.bytes = arena_alloc(out.size), .capacity = out.size};
		if (!out.bytes) {
			arena_free(told);
			return NULL;
		}
		eh_frame_write(&out, map, &hooked);
	} while (out.size > out.capacity);
	told->records = out.bytes;
	return told;
}

static bool find_home(u64 address, struct proc_mapping *ret_mapping)
{
	struct proc_maps maps;
	bool found = false;

	if (proc_maps_open(&maps))
		return false;
	while (!found && proc_maps_next(&maps, ret_mapping))
		found = address >= ret_mapping->start && address < ret_mapping->end;
	proc_maps_close(&maps);
	return found;
}

static bool same_name(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* The program may have unloaded it. */
static bool is_there(const struct runtime *runtime)
{
	u64 address = runtime->functions.register_info;
	struct proc_mapping now;

	return address && find_home(address, &now) && now.executable &&
	       now.start == runtime->home.start && now.end == runtime->home.end &&
	       same_name(now.name, runtime->home.name);
}

static void forget(const struct runtime *runtime, struct told *told)
{
	void *(*deregister)(const void *) = ptr_from_u64(runtime->functions.deregister_info);

	deregister(told->records);
	told->forgotten_at = now_seconds();
	told->next = forgotten;
	forgotten = told;
}

/* The new records first: callers are found at all times. */
static void tell(struct runtime *runtime, const struct code_map *map)
{
	void (*register_info)(const void *, void *) =
		ptr_from_u64(runtime->functions.register_info);
	struct told *old = runtime->current, *told;

	if (!is_there(runtime)) {
		/* It took what it was told with it: that is left to whoever may be reading it. */
		runtime->current = NULL;
		runtime->functions.register_info = 0;
		return;
	}
	told = write_records(map);
	if (!told)
		return;
	register_info(told->records, told->object);
	runtime->current = told;
	if (old)
		forget(runtime, old);
}

static void tell_all(const struct code_map *map)
{
	free_rested();
	for (u32 i = 0; i < UNWIND_RUNTIMES; i++) {
		if (runtimes[i].functions.register_info)
			tell(&runtimes[i], map);
	}
}

void unwind_register_init(const struct unwind_hooked *layout)
{
	hooked = *layout;
}

void unwind_register_runtime(const struct unwind_runtime *found)
{
	struct runtime *free_one = NULL;

	for (u32 i = 0; i < UNWIND_RUNTIMES; i++) {
		u64 known = runtimes[i].functions.register_info;

		if (known == found->register_info && is_there(&runtimes[i]))
			return;
		if (!known || known == found->register_info)
			free_one = &runtimes[i];
	}
	if (!free_one || !find_home(found->register_info, &free_one->home))
		return;
	free_one->functions = *found;
	free_one->current = NULL;
	code_map_add_listener(tell_all);
	code_map_publish();
}
