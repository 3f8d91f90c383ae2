/* SPDX-License-Identifier: BSD-2-Clause */
/* The public bpf_conformance suite, assembled, where it lies beside the source; both engines must pass all of it. */
#include <errno.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "exec/both_engines.h"
#include "test.h"

#define CPU_MAX 4

static int passed[3][CPU_MAX + 1], total[CPU_MAX + 1];

static u64 helper_five(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	(void)r1, (void)r2, (void)r3, (void)r4, (void)r5;
	return 77;
}

static exec_helper_fn only_helper_five(u32 id)
{
	return id == 5 ? helper_five : NULL;
}

/* The text between the quotes of "key":"..."; cut off in place. */
static char *text_of(char *line, const char *key)
{
	char pattern[32];
	char *at;

	snprintf(pattern, sizeof(pattern), "\"%s\":\"", key);
	at = strstr(line, pattern);
	return at ? at + strlen(pattern) : NULL;
}

static size_t unhex(const char *from, u8 *to)
{
	size_t size = 0;
	unsigned int byte;

	while (sscanf(from, "%2x", &byte) == 1) {
		to[size++] = (u8)byte;
		from += 2;
	}
	return size;
}

static bool run_one(enum engine engine, char *line, u64 expected)
{
	static u8 program[1 << 16], memory[1 << 16];
	const struct exec_env env = {.helper = only_helper_five};
	size_t size = unhex(text_of(line, "prog"), program),
	       memory_size = unhex(text_of(line, "mem"), memory);
	u64 r0 = ~expected;
	int err = run_insns(engine, &env, (const struct bpf_insn *)program, (u32)(size / 8),
			    memory_size ? ptr_to_u64(memory) : 0, memory_size, &r0);

	if (err || r0 != expected)
		printf("# %.40s %s: error %d, r0 %#llx, want %#llx\n", line,
		       engine == BLINDED_JIT ? "blinded"
		       : engine == JIT	     ? "jit"
					     : "interp",
		       err, (unsigned long long)r0, (unsigned long long)expected);
	return !err && r0 == expected;
}

static void every_program_gives_its_result(void)
{
	char path[4096], *line = NULL;
	size_t capacity = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/../shared/conformance/conformance.jsonl",
		 getenv("INLAY_SOURCE") ? getenv("INLAY_SOURCE") : ".");
	file = fopen(path, "r");
	if (!file)
		SKIP("../shared/conformance is not here");
	while (getline(&line, &capacity, file) > 0) {
		u32 cpu = (u32)atoi(strstr(line, "\"cpu\":") + 6);
		u64 expected = strtoull(text_of(line, "r0"), NULL, 16);

		total[cpu]++;
		passed[INTERPRETER][cpu] += run_one(INTERPRETER, line, expected);
		passed[JIT][cpu] += run_one(JIT, line, expected);
		passed[BLINDED_JIT][cpu] +=
			!arch_host()->jit.blinds || run_one(BLINDED_JIT, line, expected);
	}
	free(line);
	fclose(file);
	for (int cpu = 1; cpu <= CPU_MAX; cpu++) {
		printf("# cpu v%d: interpreter %d, jit %d of %d\n", cpu, passed[INTERPRETER][cpu],
		       passed[JIT][cpu], total[cpu]);
		CHECK(total[cpu] > 0);
		CHECK_EQ(passed[INTERPRETER][cpu], total[cpu]);
		CHECK_EQ(passed[JIT][cpu], total[cpu]);
		CHECK_EQ(passed[BLINDED_JIT][cpu], total[cpu]);
	}
}

int main(void)
{
	RUN(every_program_gives_its_result);
	return test_done();
}
