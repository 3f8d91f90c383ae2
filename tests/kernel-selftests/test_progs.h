/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The part of the kernel's test harness that prog_tests/tailcalls.c uses, so that the file compiles unmodified without the
 * rest of the tree. Failures are counted a subtest; runner.c prints them.
 */
#ifndef TEST_PROGS_H
#define TEST_PROGS_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool test__start_subtest(const char *name);
void harness_fail(const char *file, int line, const char *what, long long got, long long want);

#define HARNESS_CHECK(ok, what, got, want)                                                         \
	({                                                                                         \
		bool ok_ = (ok);                                                                   \
		if (!ok_)                                                                          \
			harness_fail(__FILE__, __LINE__, what, (long long)(got),                   \
				     (long long)(want));                                           \
		ok_;                                                                               \
	})
#define CHECK_FAIL(condition)                                                                      \
	({                                                                                         \
		long long got_ = (long long)(condition);                                           \
		!HARNESS_CHECK(!got_, #condition, got_, 0);                                        \
	})
#define ASSERT_OK(value, what)                                                                     \
	({                                                                                         \
		long long got_ = (long long)(value);                                               \
		HARNESS_CHECK(!got_, what, got_, 0);                                               \
	})
#define ASSERT_EQ(value, expected, what)                                                           \
	({                                                                                         \
		long long got_ = (long long)(value), want_ = (long long)(expected);                \
		HARNESS_CHECK(got_ == want_, what, got_, want_);                                   \
	})
#define ASSERT_GE(value, expected, what)                                                           \
	({                                                                                         \
		long long got_ = (long long)(value), want_ = (long long)(expected);                \
		HARNESS_CHECK(got_ >= want_, what, got_, want_);                                   \
	})
#define ASSERT_OK_PTR(value, what)                                                                 \
	({                                                                                         \
		const void *got_ = (value);                                                        \
		HARNESS_CHECK(!libbpf_get_error(got_), what, libbpf_get_error(got_), 0);           \
	})

int bpf_prog_test_load(const char *file, enum bpf_prog_type type, struct bpf_object **ret_object,
		       int *ret_prog_fd);

#endif
