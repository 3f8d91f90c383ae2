// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/modules.h"

#include <errno.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"

struct modules {
	struct modules *retired; /* list */
	u32 count;
	u32 dropped_count; /* of `rows` behind count: their tables go with this array */
	struct unwind_module rows[];
};

static struct modules *current; /* read at hits */
static struct modules *retired;

static bool overlaps(const struct unwind_module *a, const struct unwind_module *b)
{
	return a->start < b->end && b->start < a->end;
}

static bool table_ok(const struct unwind_module *module)
{
	const struct unwind_table *table = module->table;

	return module->size >= sizeof(*table) && table->magic == UNWIND_MAGIC &&
	       module->start < module->end &&
	       table->count <= (module->size - sizeof(*table)) / sizeof(table->rows[0]);
}

static void unmap(const struct unwind_module *module)
{
	sys_munmap((void *)(uintptr_t)module->table, module->size);
}

static bool is_known(const struct unwind_module *module)
{
	for (u32 i = 0; current && i < current->count; i++) {
		const struct unwind_module *row = &current->rows[i];

		if (row->start == module->start && row->end == module->end &&
		    row->bias == module->bias && row->table->count == module->table->count &&
		    row->table->checksum == module->table->checksum)
			return true;
	}
	return false;
}

/* The old array keeps the rows that the new one leaves out behind those that it has, to free them by. */
static void retire(struct modules *old, const struct unwind_module *replaced_by)
{
	if (!old)
		return;
	for (u32 i = 0; i < old->count; i++) {
		if (!replaced_by || overlaps(&old->rows[i], replaced_by))
			old->dropped_count++;
		else
			old->rows[i].size =
				0; /* not this array's to unmap; readers do not look at it */
	}
	old->retired = retired;
	retired = old;
}

int unwind_modules_add(const struct unwind_module *module)
{
	u32 count = current ? current->count : 0, to = 0;
	struct modules *grown, *old = current;
	bool placed = false;

	if (!table_ok(module))
		return -EINVAL;
	if (is_known(module)) {
		unmap(module);
		return 1;
	}
	grown = arena_alloc(sizeof(*grown) + (count + 1) * sizeof(grown->rows[0]));
	if (!grown)
		return -ENOMEM;
	for (u32 i = 0; i < count; i++) {
		if (!placed && old->rows[i].start > module->start) {
			grown->rows[to++] = *module;
			placed = true;
		}
		if (!overlaps(&old->rows[i], module))
			grown->rows[to++] = old->rows[i];
	}
	if (!placed)
		grown->rows[to++] = *module;
	grown->count = to;
	__atomic_store_n(&current, grown, __ATOMIC_RELEASE);
	retire(old, module);
	return 0;
}

void unwind_modules_clear(void)
{
	struct modules *old = current;

	__atomic_store_n(&current, NULL, __ATOMIC_RELEASE);
	retire(old, NULL);
}

void unwind_modules_reap(void)
{
	while (retired) {
		struct modules *next = retired->retired;

		for (u32 i = 0; retired->dropped_count && i < retired->count; i++) {
			if (retired->rows[i].size)
				unmap(&retired->rows[i]);
		}
		arena_free(retired);
		retired = next;
	}
}

static const struct unwind_row *find_row(const struct unwind_table *table, u64 address)
{
	u32 low = 0, high = table->count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (table->rows[middle].pc <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &table->rows[low - 1] : NULL;
}

const struct unwind_row *unwind_modules_find(u64 pc, bool *ret_known)
{
	const struct modules *modules = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
	u32 low = 0, high = modules ? modules->count : 0;

	*ret_known = false;
	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (modules->rows[middle].start <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || pc >= modules->rows[low - 1].end)
		return NULL;
	*ret_known = true;
	return find_row(modules->rows[low - 1].table, pc - modules->rows[low - 1].bias);
}
