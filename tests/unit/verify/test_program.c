/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole programs through verify_program with a fake host: verdict, message, log, rewriting. */
#include <errno.h>
#include <stdlib.h>

#include "format/bpf_abi.h"
#include "format/image.h"
#include "kernel_protos.h"
#include "test.h"
#include "verify/verify.h"

#define I(code_, dst, src, off_, imm_)                                                             \
	{                                                                                          \
		.code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_), .imm = (imm_)  \
	}
#define MOV(dst, imm)  I(0xb7, dst, 0, 0, imm)
#define COPY(dst, src) I(0xbf, dst, src, 0, 0)
#define ADD(dst, imm)  I(0x07, dst, 0, 0, imm)
#define EXIT	       I(0x95, 0, 0, 0, 0)
#define CALL(id)       I(0x85, 0, 0, 0, id)
#define MAP_PTR(dst)   I(0x18, dst, 1, 0, 5), I(0, 0, 0, 0, 0)
#define LOOKUP	       I(0x7a, 10, 0, -8, 0), COPY(2, 10), ADD(2, -8), MAP_PTR(1), CALL(1)

static const struct verify_map map = {
	.id = 77,
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 8,
	.value_size = 16,
	.max_entries = 4,
	.spin_lock_off = ~0u,
	.timer_off = ~0u,
};

static const struct verify_map ring = {
	.id = 78,
	.type = BPF_MAP_TYPE_RINGBUF,
	.max_entries = 4096,
	.spin_lock_off = ~0u,
	.timer_off = ~0u,
};

static const struct verify_map *map_by_fd(void *opaque, int fd)
{
	(void)opaque;
	return fd == 5 ? &map : fd == 6 ? &ring : NULL;
}

static const struct verify_host host = {kernel_proto, kernel_proto_allowed, map_by_fd, NULL};
static struct verify_result result;
static u32 prog_flags;
static char text[1 << 16];

static int verify_type(struct bpf_insn *insns, u32 count, u32 type, u32 level, bool privileged)
{
	struct verify_request request = {
		.insns = insns,
		.insn_cnt = count,
		.prog_type = type,
		.flags = prog_flags,
		.gpl = true,
		.privileged = privileged,
		.log_level = level,
		.refuse_uninit_stack = true,
	};
	struct verify_log log = {0};
	int err = verify_program(&request, &host, &log, &result);

	snprintf(text, sizeof(text), "%s", log.text ? log.text : "");
	verify_log_free(&log);
	return err;
}

#define VERIFY(insns) verify_type(insns, ARRAY_SIZE(insns), BPF_PROG_TYPE_KPROBE, 1, true)

static bool says(const char *part)
{
	if (!strstr(text, part))
		printf("# log: %s\n", text);
	return strstr(text, part);
}

static void straight_line_is_accepted(void)
{
	struct bpf_insn p[] = {MOV(0, 0), EXIT};

	CHECK_EQ(VERIFY(p), 0);
	CHECK_EQ(result.insn_processed, 2);
	CHECK_EQ(result.subprog_cnt, 1);
	CHECK_EQ(result.ctx_words, 0);
}

static void unwritten_registers_are_refused(void)
{
	struct bpf_insn p[] = {COPY(0, 3), EXIT}, q[] = {EXIT};

	CHECK_EQ(VERIFY(p), -EACCES);
	CHECK(says("R3 !read_ok"));
	CHECK(strstr(result.reason, "r3 is read before anything was written"));
	CHECK_EQ(VERIFY(q), -EACCES);
}

static void lookup_needs_a_null_check(void)
{
	struct bpf_insn bad[] = {LOOKUP, I(0x79, 0, 0, 0, 0), EXIT};
	struct bpf_insn good[] = {LOOKUP, I(0x15, 0, 0, 1, 0), I(0x79, 0, 0, 8, 0), EXIT};
	struct bpf_insn far[] = {LOOKUP, I(0x15, 0, 0, 1, 0), I(0x79, 0, 0, 12, 0), EXIT};

	CHECK_EQ(VERIFY(bad), -EACCES);
	CHECK(says("R0 invalid mem access 'map_value_or_null'"));
	CHECK_EQ(VERIFY(good), 0);
	CHECK_EQ(result.map_cnt, 1);
	CHECK_EQ(result.map_ids[0], 77);
	CHECK_EQ(result.map_fds[0], 5);
	CHECK_EQ(good[3].imm, 0); /* an index now */
	CHECK_EQ(result.subprogs[0].stack_depth, 8);
	CHECK_EQ(VERIFY(far), -EACCES);
	CHECK(says("invalid access to map value, value_size=16 off=12 size=8"));
}

static void stack_is_bounded_and_initialised(void)
{
	struct bpf_insn below[] = {I(0x7a, 10, 0, -520, 0), MOV(0, 0), EXIT};
	struct bpf_insn unwritten[] = {I(0x79, 0, 10, -16, 0), EXIT};
	struct bpf_insn spill[] = {I(0x7b, 10, 1, -8, 0), I(0x79, 2, 10, -8, 0),
				   I(0x79, 0, 2, 0, 0), EXIT};
	struct bpf_insn part[] = {I(0x7b, 10, 1, -8, 0), I(0x61, 2, 10, -8, 0), MOV(0, 0), EXIT};

	CHECK_EQ(VERIFY(below), -EACCES);
	CHECK(says("invalid write to stack R10 off=-520 size=8"));
	CHECK_EQ(VERIFY(unwritten), -EACCES);
	CHECK(says("invalid read from stack off -16+0 size 8"));
	CHECK_EQ(VERIFY(spill), 0);
	CHECK_EQ(result.ctx_words, 1);
	CHECK_EQ(VERIFY(part), -EACCES);
	CHECK(says("invalid size of register fill"));
}

static void loops_must_end(void)
{
	struct bpf_insn forever[] = {MOV(0, 0), I(0x05, 0, 0, -1, 0), EXIT};
	struct bpf_insn same[] = {MOV(0, 0), CALL(7), I(0x15, 0, 0, -2, 1), EXIT};
	struct bpf_insn bounded[] = {MOV(6, 0), ADD(6, 1), I(0xa5, 6, 0, -2, 1000), MOV(0, 0),
				     EXIT};

	CHECK_EQ(VERIFY(forever), -EINVAL);
	CHECK_EQ(VERIFY(same), -EINVAL);
	CHECK(says("infinite loop detected at insn"));
	CHECK_EQ(VERIFY(bounded), 0);
	CHECK(result.insn_processed >= 2000);
}

/* A counter that nothing depends on does not keep paths apart. */
static void dead_values_do_not_stop_pruning(void)
{
	struct bpf_insn p[50];
	u32 n = 0;

	p[n++] = (struct bpf_insn)MOV(6, 0);
	for (int i = 0; i < 16; i++) {
		p[n++] = (struct bpf_insn)CALL(7);
		p[n++] = (struct bpf_insn)I(0x15, 0, 0, 1, 0);
		p[n++] = (struct bpf_insn)ADD(6, 1 << (i % 8));
	}
	p[n - 1] = (struct bpf_insn)MOV(0, 0);
	p[n++] = (struct bpf_insn)EXIT;
	/* The last branch jumps over the initialisation of r0, which the call has written. */
	CHECK_EQ(verify_type(p, n, BPF_PROG_TYPE_KPROBE, 0, true), 0);
	CHECK(result.insn_processed < 500);
}

/* What is known of r8 decides what r9 may be behind their comparison, so a state with another r8 is not the same. */
static void compared_registers_matter_together(void)
{
	struct bpf_insn
		p[] =
			{
				I(0x79, 8, 1, 0, 0),
				I(0x79, 9, 1, 8, 0),
				I(0x45, 8, 0, 0, -2), /* falling through, r8 is 0 or 1 */
				I(0xdd, 8, 9, 2, 0),  /* behind it, r9 < r8 */
				I(0x75, 9, 0, 2, 2), /* so this is never taken, unless r8 is larger */
				MOV(0, 0),
				MOV(4, 0),
				COPY(0, 4),
				EXIT,
			};

	prog_flags = BPF_F_TEST_STATE_FREQ;
	CHECK_EQ(VERIFY(p), -EACCES);
	CHECK(says("R4 !read_ok"));
	prog_flags = 0;
}

static void contexts_are_tables(void)
{
	struct bpf_insn inside[] = {I(0x79, 0, 1, 112, 0), EXIT};
	struct bpf_insn outside[] = {I(0x79, 0, 1, 168, 0), EXIT};
	struct bpf_insn write[] = {I(0x7a, 1, 0, 0, 0), MOV(0, 0), EXIT};

	CHECK_EQ(VERIFY(inside), 0);
	CHECK_EQ(result.ctx_words, 1u << 14);
	CHECK_EQ(VERIFY(outside), -EACCES);
	CHECK(says("invalid bpf_context access off=168 size=8"));
	CHECK_EQ(VERIFY(write), -EACCES);
}

static void packets_are_compared_first(void)
{
	struct bpf_insn good[] = {I(0x61, 2, 1, 0, 0), I(0x61, 3, 1, 4, 0), COPY(4, 2), ADD(4, 8),
				  I(0x2d, 4, 3, 1, 0), I(0x79, 0, 2, 0, 0), MOV(0, 2),	EXIT};
	struct bpf_insn bad[] = {I(0x61, 2, 1, 0, 0), I(0x79, 0, 2, 0, 0), EXIT};

	CHECK_EQ(verify_type(good, ARRAY_SIZE(good), BPF_PROG_TYPE_XDP, 1, true), 0);
	/* 32-bit fields became 64-bit pointers behind the context. */
	CHECK_EQ(good[0].code, 0x79);
	CHECK_EQ(good[0].off, offsetof(struct abi_packet_context, data));
	CHECK_EQ(good[1].off, offsetof(struct abi_packet_context, data_end));
	CHECK_EQ(verify_type(bad, ARRAY_SIZE(bad), BPF_PROG_TYPE_XDP, 1, true), -EACCES);
	CHECK(says("R2 offset is outside of the packet"));
}

#define RESERVE                                                                                    \
	I(0x18, 1, 1, 0, 6), I(0, 0, 0, 0, 0), MOV(2, 8), MOV(3, 0), CALL(131),                    \
		I(0x55, 0, 0, 1, 0), EXIT

static void references_are_released(void)
{
	struct bpf_insn leak[] = {RESERVE, MOV(0, 0), EXIT};
	struct bpf_insn good[] = {RESERVE,   I(0x7a, 0, 0, 0, 1), COPY(1, 0), MOV(2, 0),
				  CALL(132), MOV(0, 0),		  EXIT};
	struct bpf_insn past[] = {RESERVE,   I(0x7a, 0, 0, 8, 1), COPY(1, 0), MOV(2, 0),
				  CALL(132), MOV(0, 0),		  EXIT};
	struct bpf_insn after[] = {RESERVE,   COPY(6, 0),	   COPY(1, 0), MOV(2, 0),
				   CALL(132), I(0x7a, 6, 0, 0, 1), EXIT};
	struct bpf_insn wrong[] = {LOOKUP,    COPY(1, 0), MOV(2, 0), MOV(3, 0),
				   CALL(131), MOV(0, 0),  EXIT};

	CHECK_EQ(VERIFY(leak), -EINVAL);
	CHECK(says("Unreleased reference id=2 alloc_insn=4"));
	CHECK_EQ(VERIFY(good), 0);
	CHECK_EQ(VERIFY(past), -EACCES);
	CHECK_EQ(VERIFY(after), -EACCES);
	CHECK(says("R6 invalid mem access 'scalar'"));
	CHECK_EQ(VERIFY(wrong), -EACCES);
	CHECK(says("expected=map_ptr"));
}

static void unprivileged_programs_leak_nothing(void)
{
	struct bpf_insn address[] = {COPY(0, 10), EXIT};

	CHECK_EQ(verify_type(address, ARRAY_SIZE(address), BPF_PROG_TYPE_SOCKET_FILTER, 1, false),
		 -EACCES);
	CHECK(says("R0 leaks addr as return value"));
	CHECK_EQ(verify_type(address, ARRAY_SIZE(address), BPF_PROG_TYPE_SOCKET_FILTER, 1, true),
		 0);
}

static void subprograms_get_their_frames(void)
{
	struct bpf_insn p[] = {I(0x85, 0, 1, 0, 1), EXIT, I(0x7a, 10, 0, -24, 1),
			       I(0x79, 0, 10, -24, 0), EXIT};
	struct bpf_insn self[] = {I(0x85, 0, 1, 0, -1), EXIT};

	CHECK_EQ(VERIFY(p), 0);
	CHECK_EQ(result.subprog_cnt, 2);
	CHECK_EQ(result.subprogs[1].start, 2);
	CHECK_EQ(result.subprogs[1].stack_depth, 24);
	CHECK(VERIFY(self) < 0);
}

static void log_has_the_kernel_format(void)
{
	struct bpf_insn p[] = {MOV(0, 0), EXIT};

	CHECK_EQ(verify_type(p, ARRAY_SIZE(p), BPF_PROG_TYPE_KPROBE, 2, true), 0);
	CHECK(says(
		"0: R1=ctx() R10=fp0\n0: (b7) r0 = 0                        ; R0=0\n1: (95) exit\n"));
	CHECK(says(
		"processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"));
	CHECK_EQ(verify_type(p, ARRAY_SIZE(p), BPF_PROG_TYPE_KPROBE, 4, true), 0);
	CHECK(says("stack depth 0\n"));
}

static void unseen_code_is_harmless(void)
{
	struct bpf_insn p[] = {MOV(0, 0), I(0x15, 0, 0, 1, 0), I(0x79, 0, 3, 0, 0), EXIT};

	CHECK_EQ(VERIFY(p), 0);
	CHECK_EQ(p[2].code, 0x05);
	CHECK_EQ(p[2].off, -1);
}

/* Whatever the bytes, an answer comes back: sanitizers watch. */
static void random_bytes_get_an_answer(void)
{
	static const u8 codes[] = {0x85, 0x18, 0x95, 0x05, 0x06, 0x15, 0x1d, 0xbf, 0xb7,
				   0x0f, 0x1f, 0x79, 0x61, 0x7b, 0x73, 0x7a, 0xdb, 0xc3,
				   0x30, 0x50, 0xb4, 0xbc, 0xd7, 0xdc, 0x87, 0x91};
	static struct bpf_insn insns[24];
	u32 accepted = 0;

	srand(7);
	for (int round = 0; round < 100000; round++) {
		u32 count = 1 + (u32)rand() % ARRAY_SIZE(insns);

		for (u32 i = 0; i < count; i++) {
			u8 *bytes = (u8 *)&insns[i];

			for (u32 k = 0; k < sizeof(insns[i]); k++)
				bytes[k] = (u8)(rand() % 3 ? 0 : rand());
			if (rand() % 16)
				bytes[0] = codes[(u32)rand() % sizeof(codes)];
			if (rand() % 8)
				bytes[1] = (u8)(rand() % 11 | (rand() % 11) << 4);
		}
		insns[count - 1] = (struct bpf_insn)EXIT;
		accepted += !verify_type(insns, count, 1 + (u32)rand() % 26, (u32)rand() % 8,
					 rand() % 2);
	}
	CHECK(accepted > 0);
}

int main(void)
{
	RUN(random_bytes_get_an_answer);
	RUN(straight_line_is_accepted);
	RUN(unwritten_registers_are_refused);
	RUN(lookup_needs_a_null_check);
	RUN(stack_is_bounded_and_initialised);
	RUN(loops_must_end);
	RUN(dead_values_do_not_stop_pruning);
	RUN(compared_registers_matter_together);
	RUN(contexts_are_tables);
	RUN(packets_are_compared_first);
	RUN(references_are_released);
	RUN(unprivileged_programs_leak_nothing);
	RUN(subprograms_get_their_frames);
	RUN(log_has_the_kernel_format);
	RUN(unseen_code_is_harmless);
	return test_done();
}
