/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random programs near the border of acceptance, judged by verify_program and by the running kernel. What the kernel refuses
 * must be refused here. fuzz/verify_kernel does the same for longer, and minimises and classifies the differences.
 */
#include "judge.h"
#include "test.h"

#define PROGRAMS 3000

static void kernel_agrees(void)
{
	u32 accepted = 0, holes = 0, refused = 0;

	if (judge_open(true))
		SKIP("bpf(2) is not allowed here");
	for (u64 start = 1; start <= PROGRAMS; start++) {
		int own, kernel;

		judge_seed(start);
		own = judge_here_quietly();
		if (own == -E2BIG)
			continue;
		kernel = judge_by_kernel(NULL, 0);
		if (kernel == -EFAULT) /* its verifier says that it has a bug */
			continue;
		accepted += !kernel;
		holes += !own && kernel;
		refused += own && !kernel;
		if (!own != !kernel)
			printf("# seed %llu: here %d, kernel %d\n", (unsigned long long)start, own,
			       kernel);
	}
	printf("# %d programs, the kernel accepts %u; accepted here only %u, refused here only %u\n",
	       PROGRAMS, accepted, holes, refused);
	CHECK_EQ(holes, 0);
	CHECK(accepted * 20 > PROGRAMS); /* the generator must stay near the border */
	CHECK(refused * 100 <= accepted);
}

int main(void)
{
	RUN(kernel_agrees);
	return test_done();
}
