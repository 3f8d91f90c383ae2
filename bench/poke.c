/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long does it take to attach one program to many functions, and to detach it?
 *
 * Functions of five bytes of NOP and ret in a private file mapping, as a program's text is. Half of them lie in one word
 * (protocol word), half cross one as behind an endbr64 (spin). One batch each way; median of rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "exec/exec.h"
#include "exec/raw_image.h"
#include "hook/hook.h"

#define ROUNDS	 9
#define MOST	 10000
#define DISTANCE 32

static const u8 function[] = {0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3};

static u8 *map_functions(void)
{
	static u8 content[MOST * DISTANCE];
	int fd = memfd_create("functions", MFD_CLOEXEC);
	u8 *text;

	memset(content, 0xcc, sizeof(content));
	for (u32 i = 0; i < MOST; i++)
		memcpy(content + i * DISTANCE + (i % 2 ? 4 : 0), function, sizeof(function));
	if (fd < 0 || write(fd, content, sizeof(content)) != sizeof(content))
		return NULL;
	text = mmap(NULL, sizeof(content), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	close(fd);
	return text == MAP_FAILED ? NULL : text;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_row(u32 count, const char *metric, double *ms)
{
	qsort(ms, ROUNDS, sizeof(*ms), compare);
	printf("{\"bench\":\"poke\",\"variant\":\"%u sites\",\"metric\":\"%s\",\"unit\":\"ms\","
	       "\"value\":%.3f,\"spread\":%.3f}\n",
	       count, metric, ms[ROUNDS / 2], (ms[ROUNDS * 3 / 4] - ms[ROUNDS / 4]) / 2);
}

static struct hook_attach entry_for(u64 address, const struct exec_code *code)
{
	struct hook_attach entry = {
		.site = {.function = address, .address = address, .kind = SITE_NOP},
		.side = HOOK_ENTRY,
		.program = {.entry = ptr_to_u64((const void *)code->entry),
			    .clobbers = code->clobbers},
	};

	entry.site.displaced.site = address;
	entry.site.displaced.length = 5;
	memcpy(entry.site.displaced.bytes, function, 5);
	return entry;
}

/* The first round makes the stubs; it is reported by itself. */
static int measure(struct hook_attach *entries, u32 count)
{
	double attach[ROUNDS], detach[ROUNDS], first = 0;

	for (int round = -1; round < ROUNDS; round++) {
		double start = now_ms(), middle;
		struct hook_link *link;
		int err = hook_attach_batch(entries, count, NULL, &link, NULL);

		if (err)
			return err;
		middle = now_ms();
		err = hook_detach(link, NULL);
		if (err)
			return err;
		if (round < 0) {
			first = middle - start;
			continue;
		}
		attach[round] = middle - start;
		detach[round] = now_ms() - middle;
	}
	printf("{\"bench\":\"poke\",\"variant\":\"%u sites\",\"metric\":\"first attach\",\"unit\":\"ms\","
	       "\"value\":%.3f,\"spread\":null}\n",
	       count, first);
	print_row(count, "attach again", attach);
	print_row(count, "detach", detach);
	return 0;
}

int main(void)
{
	static const struct bpf_insn empty_program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	static const u32 counts[] = {1, 1000, MOST};
	static struct hook_attach entries[MOST];
	const struct exec_env env = {0};
	struct image_header *image;
	struct exec_code *code;
	u8 *text = map_functions();
	u32 next = 0;

	if (!text || raw_image_create(empty_program, ARRAY_SIZE(empty_program), &image) ||
	    exec_compile(image, &env, ptr_to_u64(text), false, &code)) {
		fprintf(stderr, "poke: cannot prepare\n");
		return 1;
	}
	for (u32 i = 0; i < MOST; i++)
		entries[i] = entry_for(ptr_to_u64(text) + i * DISTANCE + (i % 2 ? 4 : 0), code);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		u32 from = MIN(next, MOST - counts[i]);
		int err = measure(entries + from, counts[i]);

		if (err) {
			fprintf(stderr, "poke: %u sites: %s\n", counts[i], strerror(-err));
			return 1;
		}
		next += counts[i];
	}
	return 0;
}
