/* SPDX-License-Identifier: BSD-2-Clause */
/* image_check accepts what PROG_LOAD writes and nothing that points outside of it. */
#include "test.h"

#include <errno.h>

#include "format/image.h"
#include "format/insn.h"

static struct {
	struct image_header header;
	struct bpf_insn insns[4];
	struct image_subprog subprogs[1];
	struct image_map_ref maps[1];
} sample;

static void reset(void)
{
	memset(&sample, 0, sizeof(sample));
	sample.header.magic = IMAGE_MAGIC;
	sample.header.total_size = sizeof(sample);
	sample.header.insn_cnt = 4;
	sample.header.subprog_cnt = 1;
	sample.header.map_cnt = 1;
	sample.header.insns_off = (u32)((char *)sample.insns - (char *)&sample);
	sample.header.subprogs_off = (u32)((char *)sample.subprogs - (char *)&sample);
	sample.header.maps_off = (u32)((char *)sample.maps - (char *)&sample);
	sample.insns[0] = (struct bpf_insn){
		.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 1, .src_reg = INSN_PSEUDO_MAP_FD};
	sample.insns[2] = (struct bpf_insn){.code = BPF_JMP | BPF_JA, .off = 0};
	sample.insns[3] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
}

static int check(void)
{
	return image_check(&sample.header, sizeof(sample));
}

static void sound_image_passes(void)
{
	reset();
	CHECK_EQ(check(), 0);
}

static void truncated_image_is_refused(void)
{
	reset();
	CHECK_EQ(image_check(&sample.header, sizeof(sample) - 1), -EINVAL);
	CHECK_EQ(image_check(&sample.header, sizeof(sample.header) - 1), -EINVAL);
	sample.header.magic++;
	CHECK_EQ(check(), -EINVAL);
}

static void tables_outside_are_refused(void)
{
	reset();
	sample.header.insns_off = sample.header.total_size - 8;
	CHECK_EQ(check(), -EINVAL);
	reset();
	sample.header.insns_off = ~0u - 7;
	CHECK_EQ(check(), -EINVAL);
	reset();
	sample.header.map_cnt = IMAGE_MAX_MAPS + 1;
	CHECK_EQ(check(), -EINVAL);
	reset();
	sample.header.func_info_cnt = ~0u;
	sample.header.func_info_rec = ~0u;
	sample.header.func_info_off = sizeof(sample.header);
	CHECK_EQ(check(), -EINVAL);
}

static void instructions_that_leave_are_refused(void)
{
	reset();
	sample.insns[2].off = 1;
	CHECK_EQ(check(), -EINVAL);
	sample.insns[2].off = -4;
	CHECK_EQ(check(), -EINVAL);
	reset();
	sample.insns[0].imm = 1;
	CHECK_EQ(check(), -EINVAL);
	reset();
	sample.insns[3] = sample.insns[0];
	CHECK_EQ(check(), -EINVAL);
	reset();
	sample.subprogs[0].start = 1;
	CHECK_EQ(check(), -EINVAL);
}

int main(void)
{
	RUN(sound_image_passes);
	RUN(truncated_image_is_refused);
	RUN(tables_outside_are_refused);
	RUN(instructions_that_leave_are_refused);
	return test_done();
}
