/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows against another decoder: objdump must see the same instructions in each, and no branch into any.
 */
#include "binary/binary.h"

#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct listing {
	u64 *boundaries, *targets; /* sorted */
	size_t boundary_count, target_count, capacity;
};

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static bool contains(const u64 *rows, size_t count, u64 address)
{
	return bsearch(&address, rows, count, sizeof(*rows), compare) != NULL;
}

/* "  6f340:\tjne    6f3a2 <name+0x62>": an address, a mnemonic, and for branches where to. */
static void take_line(struct listing *listing, const char *line)
{
	char mnemonic[16];
	unsigned long long address, target;
	const char *tab = strchr(line, '\t');
	int words;

	if (!tab || sscanf(line, " %llx:", &address) != 1 || !strncmp(tab + 1, "(bad)", 5))
		return;
	if (listing->boundary_count == listing->capacity) {
		listing->capacity = listing->capacity ? listing->capacity * 2 : 65536;
		listing->boundaries = realloc(listing->boundaries, listing->capacity * sizeof(u64));
		listing->targets = realloc(listing->targets, listing->capacity * sizeof(u64));
	}
	listing->boundaries[listing->boundary_count++] = address;
	words = sscanf(tab + 1, "%15s %llx <", mnemonic, &target);
	if (words == 2 && (mnemonic[0] == 'j' || !strncmp(mnemonic, "call", 4)))
		listing->targets[listing->target_count++] = target;
}

static int disassemble(const char *path, struct listing *listing)
{
	char command[300], line[512];
	FILE *pipe;

	snprintf(command, sizeof(command), "objdump -d --no-show-raw-insn %s 2>/dev/null", path);
	pipe = popen(command, "r");
	if (!pipe)
		return -1;
	while (fgets(line, sizeof(line), pipe))
		take_line(listing, line);
	if (pclose(pipe) || !listing->boundary_count)
		return -1;
	qsort(listing->boundaries, listing->boundary_count, sizeof(u64), compare);
	qsort(listing->targets, listing->target_count, sizeof(u64), compare);
	return 0;
}

static u32 check_window(const struct listing *listing, const struct site_spec *spec)
{
	u64 end = spec->address + spec->displaced.length;
	u32 wrong = 0;

	for (u64 at = spec->address; at < end; at++) {
		bool ours = false;

		for (u32 i = 0; i < spec->displaced.count; i++)
			ours |= spec->address + spec->displaced.insns[i].offset == at;
		wrong += ours != contains(listing->boundaries, listing->boundary_count, at);
		wrong += at != spec->address &&
			 contains(listing->targets, listing->target_count, at);
	}
	if (wrong)
		printf("# window at %#llx\n", (unsigned long long)spec->address);
	return wrong;
}

static void check_file(const char *path)
{
	struct listing listing = {};
	struct binary *binary = NULL;
	const struct binary_function *functions;
	u32 accepted = 0, wrong = 0;
	size_t count;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK_EQ(binary_open(fd, path, &binary), 0);
	close(fd);
	CHECK_EQ(disassemble(path, &listing), 0);
	functions = binary_functions(binary, &count);
	for (size_t i = 0; i < count; i++) {
		struct site_spec spec;
		const char *reason;

		if (binary_plan(binary, &functions[i], &spec, &reason))
			continue;
		accepted++;
		wrong += check_window(&listing, &spec);
	}
	printf("# %s: %u windows, %u differences\n", path, accepted, wrong);
	CHECK(accepted > 50);
	CHECK_EQ(wrong, 0);
	binary_close(binary);
	free(listing.boundaries);
	free(listing.targets);
}

static void objdump_agrees(void)
{
	static const char *const paths[] = {
		"/usr/bin/redis-server",
		"/lib/x86_64-linux-gnu/libc.so.6",
		"/lib/x86_64-linux-gnu/libsqlite3.so.0",
	};
	u32 checked = 0;

	if (system("objdump --version >/dev/null 2>&1"))
		SKIP("objdump is not installed");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (access(paths[i], R_OK))
			continue;
		check_file(paths[i]);
		checked++;
	}
	if (!checked)
		SKIP("none of the files is installed");
}

int main(void)
{
	RUN(objdump_agrees);
	return test_done();
}
