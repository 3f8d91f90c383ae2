/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/foreign.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "base/mem.h"
#include "base/text.h"
#include "binary/process.h"

#define SHOWN 8

/* The name of what is mapped at an address, "" when nothing has a name there; returns where that mapping starts, or 0. */
static u64 find_mapping(pid_t pid, u64 address, char *name, size_t size)
{
	char path[40], line[512], found[256];
	unsigned long start, end, found_start = 0;
	int fields;
	FILE *maps;

	*name = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof(line), maps)) {
		fields = sscanf(line, "%lx-%lx %*s %*s %*s %*s %255[^\n]", &start, &end, found);
		if (fields < 2 || address < start || address >= end)
			continue;
		found_start = start;
		if (fields == 3)
			snprintf(name, size, "%s", found);
	}
	if (maps)
		fclose(maps);
	return found_start;
}

static void hex(const u8 *bytes, u32 count, char *text)
{
	for (u32 i = 0; i < count; i++)
		snprintf(text + 3 * i, 4, i + 1 < count ? "%02x " : "%02x", bytes[i]);
}

/* Where a jump of patch_size bytes at the site goes, if that is what the bytes are. */
static bool jump_target(const struct site_spec *spec, const u8 *bytes, u64 *ret_target)
{
	const struct arch *arch = arch_host();
	u8 again[SHOWN];
	s32 distance;

	if (arch->patch.encode == NULL || arch->limits.patch_size != 5)
		return false;
	memcpy(&distance, bytes + 1, sizeof(distance));
	*ret_target = spec->address + 5 + (u64)(s64)distance;
	return !arch->patch.encode(again, PATCH_JUMP, spec->address, *ret_target) &&
	       !memcmp(again, bytes, 5);
}

/* Is it where an agent's code lies? By its name, or by its mark where it has none (base/text.h). */
static bool is_ours(const struct process *process, u64 start, const char *name)
{
	u8 mark[sizeof(TEXT_MARK)];

	if (*name)
		return strstr(name, "inlay-text");
	return start && !process_read(process, start, mark, sizeof(mark)) &&
	       !memcmp(mark, TEXT_MARK, sizeof(mark));
}

/* A jump of ours at another place of the window, or in front of it and into it: the agent has the owner's name. */
static bool is_shared_window(const struct process *process, const struct site_spec *spec,
			     u32 length)
{
	u8 bytes[DISPLACED_MAX_BYTES + 2 * SHOWN];
	const u32 before = 4; /* a jump there reaches into it */
	struct site_spec other = *spec;
	char name[256];
	u64 target;

	other.address = spec->address - before;
	if (process_read(process, other.address, bytes, sizeof(bytes)))
		return false;
	for (u32 i = 0; i < before + length; i++, other.address++) {
		u64 start;

		if (!jump_target(&other, bytes + i, &target))
			continue;
		start = find_mapping(process_facts(process)->pid, target, name, sizeof(name));
		if (is_ours(process, start, name))
			return true;
	}
	return false;
}

int foreign_check(const struct process *process, const struct site_spec *spec, char *text,
		  size_t size)
{
	u8 now[DISPLACED_MAX_BYTES];
	char now_text[3 * SHOWN + 1], file_text[3 * SHOWN + 1], name[256], whose[384];
	u32 length = MAX((u32)spec->displaced.length, (u32)arch_host()->limits.patch_size);
	u64 target, start;

	if (length > sizeof(now) || process_read(process, spec->address, now, length) ||
	    !memcmp(now, spec->displaced.bytes, length))
		return 0;
	if (is_shared_window(process, spec, length))
		return 0;
	snprintf(whose, sizeof(whose), "somebody else has patched it");
	if (jump_target(spec, now, &target)) {
		start = find_mapping(process_facts(process)->pid, target, name, sizeof(name));
		if (is_ours(process, start, name))
			return 0;
		snprintf(whose, sizeof(whose), "another tool's jump to %#llx%s%s",
			 (unsigned long long)target, *name ? " in " : "", name);
	}
	for (u32 i = 0; i < length; i++) {
		if (now[i] == 0xcc && spec->displaced.bytes[i] != 0xcc) {
			snprintf(whose, sizeof(whose),
				 "a debugger's or tracer's breakpoint is at +%u", i);
			break;
		}
	}
	length = MIN(length, (u32)SHOWN);
	hex(now, length, now_text);
	hex(spec->displaced.bytes, length, file_text);
	snprintf(text, size, "its first bytes are %s where the file has %s: %s", now_text,
		 file_text, whose);
	return -EBUSY;
}
