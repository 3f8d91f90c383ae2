/* SPDX-License-Identifier: BSD-2-Clause */
/* BTF: the kernel as the oracle for damaged data, and lookups on sound data. */
#include "test.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/sys.h"
#include "format/btf.h"

/* A small program's BTF, written by hand: types, then strings. */
#define STRINGS "\0int\0u64\0point\0x\0y\0main\0.bss\0total\0bpf_spin_lock\0val"
enum {
	S_INT = 1,
	S_U64 = 5,
	S_POINT = 9,
	S_X = 15,
	S_Y = 17,
	S_MAIN = 19,
	S_BSS = 24,
	S_TOTAL = 29,
	S_LOCK = 35,
	S_VAL = 49,
};

#define INFO(kind, vlen) ((u32)(kind) << 24 | (u32)(vlen))

static const u32 types[] = {
	/* 1 */ S_INT,
	INFO(BTF_KIND_INT, 0),
	4,
	BTF_INT_SIGNED << 24 | 32,
	/* 2 */ S_U64,
	INFO(BTF_KIND_TYPEDEF, 0),
	3,
	/* 3 */ S_INT,
	INFO(BTF_KIND_INT, 0),
	8,
	64,
	/* 4 */ S_POINT,
	INFO(BTF_KIND_STRUCT, 2),
	16,
	S_X,
	1,
	0,
	S_Y,
	2,
	64,
	/* 5 */ 0,
	INFO(BTF_KIND_PTR, 0),
	4,
	/* 6 */ 0,
	INFO(BTF_KIND_ARRAY, 0),
	0,
	4,
	1,
	10,
	/* 7 */ 0,
	INFO(BTF_KIND_FUNC_PROTO, 1),
	1,
	S_X,
	5,
	/* 8 */ S_MAIN,
	INFO(BTF_KIND_FUNC, BTF_FUNC_GLOBAL),
	7,
	/* 9 */ S_TOTAL,
	INFO(BTF_KIND_VAR, 0),
	1,
	BTF_VAR_GLOBAL_ALLOCATED,
	/* 10 */ S_BSS,
	INFO(BTF_KIND_DATASEC, 1),
	4,
	9,
	0,
	4,
	/* 11 */ S_LOCK,
	INFO(BTF_KIND_STRUCT, 1),
	4,
	S_VAL,
	1,
	0,
	/* 12 */ 0,
	INFO(BTF_KIND_STRUCT, 2),
	24,
	S_X,
	4,
	0,
	S_Y,
	11,
	128,
	/* 13 */ S_POINT,
	INFO(BTF_KIND_ENUM, 2),
	4,
	S_X,
	0,
	S_Y,
	1,
	/* 14 */ 0,
	INFO(BTF_KIND_CONST, 0),
	2,
	/* 15 */ S_POINT,
	INFO(BTF_KIND_FWD, 0),
	0,
	/* 16 */ S_X,
	INFO(BTF_KIND_FLOAT, 0),
	8,
	/* 17 */ S_Y,
	INFO(BTF_KIND_DECL_TAG, 0),
	4,
	1,
	/* 18 */ S_Y,
	INFO(BTF_KIND_ENUM64, 1),
	8,
	S_X,
	1,
	0,
	/* 19 */ S_Y,
	INFO(BTF_KIND_TYPE_TAG, 0),
	1,
};

static struct {
	struct btf_header header;
	u32 types[ARRAY_SIZE(types)];
	char strings[sizeof(STRINGS)];
} sample;

static void reset(void)
{
	memset(&sample, 0, sizeof(sample));
	sample.header = (struct btf_header){
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = sizeof(sample.header),
		.type_len = sizeof(types),
		.str_off = sizeof(types),
		.str_len = sizeof(STRINGS),
	};
	memcpy(sample.types, types, sizeof(types));
	memcpy(sample.strings, STRINGS, sizeof(STRINGS));
}

static u32 sample_size(void)
{
	return (u32)(sizeof(sample.header) + sizeof(types) + sizeof(STRINGS));
}

static int ours(const void *data, u32 size)
{
	struct btf *btf;
	int error = btf_parse_raw(data, size, NULL, &btf);

	if (!error)
		btf_release(btf);
	return error;
}

static int kernels(const void *data, u32 size)
{
	union bpf_attr attr = {.btf = ptr_to_u64(data), .btf_size = size};
	long fd = sys_call3(__NR_bpf, BPF_BTF_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		return (int)fd;
	sys_close((int)fd);
	return 0;
}

static void sound_types_are_found(void)
{
	struct btf *btf = NULL;

	reset();
	CHECK_EQ(btf_parse_raw(&sample, sample_size(), NULL, &btf), 0);
	if (!btf)
		return;
	CHECK_EQ(btf->type_cnt, 19);
	CHECK_EQ(btf_find_kind(btf, BTF_KIND_FUNC, "main"), 8);
	CHECK_EQ(btf_find_kind(btf, BTF_KIND_FUNC, "point"), 0);
	CHECK_EQ(btf_size_of(btf, 6), 160);
	CHECK_EQ(btf_size_of(btf, 14), 8);
	CHECK_EQ(btf_size_of(btf, 8), -EINVAL);
	CHECK_EQ(btf_skip_modifiers(btf, 14), 3);
	CHECK_EQ(btf_find_field(btf, 12, "bpf_spin_lock"), 16);
	CHECK_EQ(btf_find_field(btf, 4, "bpf_spin_lock"), ~0u);
	CHECK(!strcmp(btf_type_name(btf, btf_type_at(btf, 4)), "point"));
	CHECK(!strcmp(btf_string_at(btf, 9999), ""));
	btf_release(btf);
}

/* Every word of the types set to a few values in turn: whatever the kernel answers, and nothing worse than it. */
static void damaged_types_are_judged_as_by_the_kernel(void)
{
	static const u32 values[] = {0,
				     1,
				     2,
				     4,
				     9,
				     12,
				     20,
				     0x20,
				     0x7fffffff,
				     0xffffffff,
				     INFO(BTF_KIND_PTR, 0),
				     INFO(BTF_KIND_STRUCT, 1),
				     INFO(BTF_KIND_ARRAY, 0),
				     INFO(BTF_KIND_TYPEDEF, 0),
				     INFO(BTF_KIND_INT, 0),
				     INFO(BTF_KIND_FUNC, 0),
				     INFO(20, 0),
				     INFO(31, 0)};
	u32 verdicts = 0, differ = 0, accepted_only_here = 0;

	reset();
	if (kernels(&sample, sample_size()))
		SKIP("BPF_BTF_LOAD of the kernel is not to be had");
	for (u32 word = 0; word < ARRAY_SIZE(types); word++) {
		for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
			int want, got;

			reset();
			sample.types[word] = values[i];
			want = kernels(&sample, sample_size());
			got = ours(&sample, sample_size());
			verdicts++;
			if (!want == !got)
				continue;
			differ++;
			accepted_only_here += !got;
			if (getenv("VERBOSE") || !got)
				printf("# word %u = %#x: %d, the kernel answers %d\n", word,
				       values[i], got, want);
		}
	}
	printf("# %u verdicts, %u differ\n", verdicts, differ);
	CHECK_EQ(accepted_only_here, 0);
	CHECK(differ * 100 <= verdicts);
}

static void damaged_headers_are_judged_as_by_the_kernel(void)
{
	u32 *words = (u32 *)(void *)&sample;

	reset();
	if (kernels(&sample, sample_size()))
		SKIP("BPF_BTF_LOAD of the kernel is not to be had");
	for (u32 word = 0; word < sizeof(sample.header) / 4; word++) {
		static const u32 values[] = {0, 1, 4, 24, 28, 0x7fffffff, 0xffffffff};

		for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
			reset();
			words[word] = values[i];
			CHECK_EQ(ours(&sample, sample_size()), kernels(&sample, sample_size()));
		}
	}
	reset();
	for (u32 size = 0; size < sample_size(); size++)
		CHECK_EQ(ours(&sample, size), kernels(&sample, size));
}

int main(void)
{
	RUN(sound_types_are_found);
	RUN(damaged_types_are_judged_as_by_the_kernel);
	RUN(damaged_headers_are_judged_as_by_the_kernel);
	return test_done();
}
