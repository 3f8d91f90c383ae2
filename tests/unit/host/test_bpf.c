/* SPDX-License-Identifier: BSD-2-Clause */
/* libinlay as a host sees it: the public header and the shared library, nothing else. */
#include <errno.h>
#include <inlay/bpf.h>
#include <stdint.h>
#include <unistd.h>

#include "test.h"

static int make_array(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 4,
	};

	return (int)inlay_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static void values_come_back(void)
{
	uint32_t key = 2;
	uint64_t value = 7, got = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)make_array(),
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&value,
	};

	CHECK((int)attr.map_fd >= 0);
	CHECK_EQ(inlay_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	attr.value = (uintptr_t)&got;
	CHECK_EQ(inlay_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)), 0);
	CHECK_EQ(got, 7);
	close((int)attr.map_fd);
}

static void errors_are_libcs(void)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 3};

	errno = 0;
	CHECK_EQ(inlay_bpf(BPF_MAP_CREATE, &attr, sizeof(attr)), -1);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(strlen(inlay_link_problem()), 0);
}

int main(void)
{
	RUN(values_come_back);
	RUN(errors_are_libcs);
	return test_done();
}
