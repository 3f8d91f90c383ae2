/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs near the border of acceptance; those that the verifier accepts run in an interpreter that checks everything.
 *
 * usage: verify_run SECONDS [FIRST-SEED]
 * Exit status 1: a violation, shown with its seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "checked.h"
#include "format/disasm.h"

#define INPUTS 12

static void show(u64 start, const char *violation, u32 at)
{
	char line[256];

	printf("seed %llu, instruction %u: %s\n", (unsigned long long)start, at, violation);
	for (u32 i = 0; i < length; i++) {
		disasm_insn(&program[i], line, sizeof(line));
		printf("%4u: %s\n", i, line);
		i += insn_is_ld_imm64(&program[i]);
	}
}

static bool judge(u64 start, bool *ret_accepted)
{
	judge_seed(start);
	*ret_accepted = !judge_here_quietly();
	for (u32 i = 0; *ret_accepted && i < INPUTS; i++) {
		struct inputs inputs;
		struct run run;
		u32 at = 0;

		make_inputs(&inputs);
		run_checked(&run, &inputs, &at);
		if (run.violation) {
			show(start, run.violation, at);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 10;
	u64 start = argc > 2 ? strtoull(argv[2], NULL, 0) : (u64)time(NULL) << 20;
	time_t end = time(NULL) + (time_t)seconds;
	u64 programs = 0, accepted = 0, violations = 0;

	arena = make_arena();
	if (!arena || judge_open(false))
		return 2;
	for (; time(NULL) < end && violations < 5; programs++, start++) {
		bool yes;

		violations += !judge(start, &yes);
		accepted += yes;
	}
	printf("verify_run: %llu programs, %llu accepted and run with %u inputs each, %llu violations\n",
	       (unsigned long long)programs, (unsigned long long)accepted, INPUTS,
	       (unsigned long long)violations);
	return violations != 0;
}
