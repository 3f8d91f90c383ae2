/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions as the kernel's log and bpftool print them. */
#include "format/disasm.h"
#include "test.h"

static const char *name_of(u32 id)
{
	return id == 1 ? "bpf_map_lookup_elem" : NULL;
}

static bool prints(struct bpf_insn insn, const char *want)
{
	struct bpf_insn pair[2] = {insn, {.imm = 2}};
	char text[DISASM_MAX];

	disasm_insn_named(pair, name_of, text, sizeof(text));
	if (strcmp(text, want))
		printf("# have: %s\n# want: %s\n", text, want);
	return !strcmp(text, want);
}

#define I(code_, dst, src, off_, imm_)                                                             \
	((struct bpf_insn){.code = (code_),                                                        \
			   .dst_reg = (dst),                                                       \
			   .src_reg = (src),                                                       \
			   .off = (off_),                                                          \
			   .imm = (imm_)})

static void alu(void)
{
	CHECK(prints(I(0xb7, 0, 0, 0, 0), "(b7) r0 = 0"));
	CHECK(prints(I(0xbf, 6, 1, 0, 0), "(bf) r6 = r1"));
	CHECK(prints(I(0xbc, 1, 9, 8, 0), "(bc) w1 = (s8)w9"));
	CHECK(prints(I(0x07, 2, 0, 0, -8), "(07) r2 += -8"));
	CHECK(prints(I(0x0c, 0, 9, 0, 0), "(0c) w0 += w9"));
	CHECK(prints(I(0xc7, 3, 0, 0, 55), "(c7) r3 s>>= 55"));
	CHECK(prints(I(0x87, 9, 0, 0, 0), "(87) r9 = -r9"));
	CHECK(prints(I(0x34, 1, 0, 1, 7), "(34) w1 s/= 7"));
	CHECK(prints(I(0xdc, 1, 0, 0, 16), "(dc) r1 = be16 r1"));
	CHECK(prints(I(0xd7, 1, 0, 0, 32), "(d7) r1 = bswap32 r1"));
}

static void memory(void)
{
	CHECK(prints(I(0x61, 0, 1, 8, 0), "(61) r0 = *(u32 *)(r1 +8)"));
	CHECK(prints(I(0x91, 0, 10, -8, 0), "(91) r0 = *(s8 *)(r10 -8)"));
	CHECK(prints(I(0x7b, 10, 1, -16, 0), "(7b) *(u64 *)(r10 -16) = r1"));
	CHECK(prints(I(0x7a, 10, 0, -8, 0), "(7a) *(u64 *)(r10 -8) = 0"));
	CHECK(prints(I(0xdb, 1, 2, 0, BPF_ADD), "(db) lock *(u64 *)(r1 +0) += r2"));
	CHECK(prints(I(0xdb, 1, 2, 0, BPF_ADD | BPF_FETCH),
		     "(db) r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)"));
	CHECK(prints(I(0xc3, 1, 2, 4, BPF_CMPXCHG),
		     "(c3) r0 = atomic_cmpxchg((u32 *)(r1 +4), r0, r2)"));
	CHECK(prints(I(0x30, 0, 0, 0, 14), "(30) r0 = *(u8 *)skb[14]"));
}

static void jumps(void)
{
	CHECK(prints(I(0x55, 0, 0, 1, 0), "(55) if r0 != 0x0 goto pc+1"));
	CHECK(prints(I(0x2e, 3, 9, -2, 0), "(2e) if w3 > w9 goto pc-2"));
	CHECK(prints(I(0xc5, 9, 0, 3, -2), "(c5) if r9 s< 0xfffffffe goto pc+3"));
	CHECK(prints(I(0x05, 0, 0, -1, 0), "(05) goto pc-1"));
	CHECK(prints(I(0x85, 0, 1, 0, 2), "(85) call pc+2"));
	CHECK(prints(I(0x85, 0, 0, 0, 1), "(85) call bpf_map_lookup_elem#1"));
	CHECK(prints(I(0x85, 0, 0, 0, 999), "(85) call unknown#999"));
	CHECK(prints(I(0x95, 0, 0, 0, 0), "(95) exit"));
}

static void constants(void)
{
	CHECK(prints(I(0x18, 1, 0, 0, 1), "(18) r1 = 0x200000001"));
	CHECK(prints(I(0x18, 1, 1, 0, 7), "(18) r1 = map[id:7]"));
	CHECK(prints(I(0x18, 1, 2, 0, 7), "(18) r1 = map[id:7][0]+2"));
}

int main(void)
{
	RUN(alu);
	RUN(memory);
	RUN(jumps);
	RUN(constants);
	return test_done();
}
