/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/histogram.h"

#include <string.h>

#define BAR_WIDTH 52

/* 16384 as "16K": exact, since it is a power of two or 0. */
static void write_bound(char *to, size_t size, u64 bound)
{
	static const char units[] = " KMGTPE";
	u32 unit = 0;

	for (; bound >= 1024; bound >>= 10)
		unit++;
	if (unit)
		snprintf(to, size, "%llu%c", (unsigned long long)bound, units[unit]);
	else
		snprintf(to, size, "%llu", (unsigned long long)bound);
}

static void write_label(char *to, size_t size, u32 slot)
{
	char low[24], high[24];

	write_bound(low, sizeof(low), slot ? 1ull << slot : 0);
	if (slot == HISTOGRAM_SLOTS - 1) {
		snprintf(to, size, "[%s, ...)", low);
		return;
	}
	write_bound(high, sizeof(high), 2ull << slot);
	snprintf(to, size, "[%s, %s)", low, high);
}

static void write_row(FILE *out, u32 slot, u64 count, u64 max)
{
	char label[64];
	char bar[BAR_WIDTH + 1];
	u32 filled = (u32)((unsigned __int128)count * BAR_WIDTH / max);

	memset(bar, ' ', BAR_WIDTH);
	memset(bar, '@', filled);
	bar[BAR_WIDTH] = 0;
	write_label(label, sizeof(label), slot);
	fprintf(out, "%-16s%8llu |%s|\n", label, (unsigned long long)count, bar);
}

void histogram_print(FILE *out, const u64 *slots, u32 count)
{
	u32 first = count, last = 0;
	u64 max = 0;

	for (u32 i = 0; i < count; i++) {
		if (!slots[i])
			continue;
		first = MIN(first, i);
		last = i;
		max = MAX(max, slots[i]);
	}
	if (!max) {
		fputs("(empty)\n", out);
		return;
	}
	for (u32 i = first; i <= last; i++)
		write_row(out, i, slots[i], max);
}
