/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A unit test program: TAP on stdout, exit 0 when every test passed or was skipped.
 *
 *   static void tnum_add_is_sound(void) { CHECK(...); }
 *   int main(void) { RUN(tnum_add_is_sound); return test_done(); }
 */
#ifndef INLAY_TESTS_UNIT_TEST_H
#define INLAY_TESTS_UNIT_TEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int test_count, test_failures, test_failed_here;
static const char *test_skipped;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);                   \
			test_failed_here++;                                                        \
		}                                                                                  \
	} while (0)

#define CHECK_EQ(got, want)                                                                        \
	do {                                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);                      \
		if (got_ != want_) {                                                               \
			printf("# %s:%d: %s is %lld (%#llx), want %lld (%#llx)\n", __FILE__,       \
			       __LINE__, #got, got_, (unsigned long long)got_, want_,              \
			       (unsigned long long)want_);                                         \
			test_failed_here++;                                                        \
		}                                                                                  \
	} while (0)

#define FAIL(message)                                                                              \
	do {                                                                                       \
		printf("# %s:%d: %s\n", __FILE__, __LINE__, message);                              \
		test_failed_here++;                                                                \
	} while (0)

/* Leaves the test; reason must be a literal or outlive it. */
#define SKIP(reason)                                                                               \
	do {                                                                                       \
		test_skipped = (reason);                                                           \
		return;                                                                            \
	} while (0)

#define RUN(test)                                                                                  \
	do {                                                                                       \
		test_failed_here = 0;                                                              \
		test_skipped = NULL;                                                               \
		test();                                                                            \
		test_count++;                                                                      \
		test_failures += test_failed_here != 0;                                            \
		printf("%sok %d - %s%s%s\n", test_failed_here ? "not " : "", test_count, #test,    \
		       test_skipped ? " # SKIP " : "", test_skipped ? test_skipped : "");          \
		fflush(stdout);                                                                    \
	} while (0)

static inline int test_done(void)
{
	printf("1..%d\n", test_count);
	return test_failures != 0;
}

#endif
