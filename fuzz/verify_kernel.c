/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Verdicts beside the running kernel's: random programs near the border of acceptance, judged by both; every difference is
 * minimised (instructions become jumps to the next as long as the difference stays) and counted under its class, which
 * is the last line of whoever refuses, without its numbers. One minimised program of each class is shown.
 *
 * usage: verify_kernel SECONDS [FIRST-SEED]
 * Exit status 1: a program was accepted here only. 77: bpf(2) is not allowed here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../tests/unit/verify/judge.h"
#include "format/disasm.h"

#define MAX_CLASSES 64

struct class
{
	char text[120];
	u64 count;
};

static struct class classes[MAX_CLASSES];
static u32 class_cnt;
static char kernel_log[1 << 20];

enum difference { DIFFERENCE_NONE, DIFFERENCE_HERE_ONLY, DIFFERENCE_KERNEL_ONLY };

static enum difference compare(void)
{
	int own = judge_here_quietly(), kernel;

	if (own == -E2BIG)
		return DIFFERENCE_NONE;
	kernel = judge_by_kernel(NULL, 0);
	/* -EFAULT: the kernel's verifier says that it has a bug. */
	if (!own == !kernel || kernel == -EFAULT)
		return DIFFERENCE_NONE;
	return own ? DIFFERENCE_KERNEL_ONLY : DIFFERENCE_HERE_ONLY;
}

static void minimise(enum difference difference)
{
	const struct bpf_insn next = {.code = BPF_JMP | BPF_JA};
	bool smaller = true;

	while (smaller) {
		smaller = false;
		for (u32 i = 0; i < length; i++) {
			struct bpf_insn saved = program[i];

			if (insn_is_ld_imm64(&program[i])) {
				i++;
				continue;
			}
			if (!memcmp(&saved, &next, sizeof(next)))
				continue;
			program[i] = next;
			if (compare() == difference)
				smaller = true;
			else
				program[i] = saved;
		}
	}
}

/* Lines that say nothing of the cause: totals, and the states that a loop's message shows. */
static bool tells(const char *line)
{
	static const char *const silent[] = {"processed ", "verification time", "stack depth",
					     "cur state:", "old state:"};

	for (u32 i = 0; i < ARRAY_SIZE(silent); i++) {
		if (!strncmp(line, silent[i], strlen(silent[i])))
			return false;
	}
	return *line;
}

static void last_line(char *log, char *ret_line, size_t size)
{
	char *line = log, *end;

	*ret_line = '\0';
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			return;
		*end = '\0';
		if (tells(line))
			snprintf(ret_line, size, "%s", line);
	}
}

static void strip_numbers(char *text)
{
	char *to = text;

	for (char *from = text; *from; from++) {
		bool digit = *from >= '0' && *from <= '9';

		if (digit && to > text && to[-1] == 'N')
			continue;
		*to++ = digit ? 'N' : *from;
	}
	*to = '\0';
}

static void show(u64 start, enum difference difference, const char *line)
{
	char text[256];

	printf("seed %llu, %s: %s\n", (unsigned long long)start,
	       difference == DIFFERENCE_HERE_ONLY ? "accepted here only; the kernel says"
						  : "refused here only",
	       line);
	for (u32 i = 0; i < length; i++) {
		if (program[i].code == (BPF_JMP | BPF_JA) && !program[i].off)
			continue;
		disasm_insn(&program[i], text, sizeof(text));
		printf("%4u: %s\n", i, text);
		i += insn_is_ld_imm64(&program[i]);
	}
}

static void classify(u64 start, enum difference difference)
{
	struct verify_log log;
	char line[160], class_text[sizeof(classes[0].text)];

	minimise(difference);
	if (difference == DIFFERENCE_HERE_ONLY) {
		judge_by_kernel(kernel_log, sizeof(kernel_log));
		last_line(kernel_log, line, sizeof(line));
	} else {
		judge_here(2, &log);
		line[0] = '\0';
		if (log.text)
			last_line(log.text, line, sizeof(line));
		verify_log_free(&log);
	}
	snprintf(class_text, sizeof(class_text), "%s %s",
		 difference == DIFFERENCE_HERE_ONLY ? "accepted here only:" : "refused here only:",
		 line);
	strip_numbers(class_text);
	for (u32 i = 0; i < class_cnt; i++) {
		if (!strcmp(classes[i].text, class_text)) {
			classes[i].count++;
			return;
		}
	}
	show(start, difference, line);
	if (class_cnt < MAX_CLASSES) {
		memcpy(classes[class_cnt].text, class_text, sizeof(class_text));
		classes[class_cnt++].count = 1;
	}
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
	u64 start = argc > 2 ? strtoull(argv[2], NULL, 0) : (u64)time(NULL) << 20, programs = 0,
	    holes = 0, refused = 0;

	if (judge_open(true)) {
		fputs("verify_kernel: bpf(2) is not allowed here\n", stderr);
		return 77;
	}
	for (; time(NULL) < end; programs++, start++) {
		enum difference difference;

		judge_seed(start);
		difference = compare();
		holes += difference == DIFFERENCE_HERE_ONLY;
		refused += difference == DIFFERENCE_KERNEL_ONLY;
		if (difference != DIFFERENCE_NONE)
			classify(start, difference);
	}
	printf("verify_kernel: %llu programs, accepted here only %llu, refused here only %llu\n",
	       (unsigned long long)programs, (unsigned long long)holes,
	       (unsigned long long)refused);
	for (u32 i = 0; i < class_cnt; i++)
		printf("%8llu %s\n", (unsigned long long)classes[i].count, classes[i].text);
	btf_release(judge_types);
	return holes != 0;
}
