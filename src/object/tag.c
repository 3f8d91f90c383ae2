/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/tag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/insn.h"

struct sha1 {
	u32 state[5];
};

static u32 rotate(u32 value, u32 by)
{
	return value << by | value >> (32 - by);
}

static u32 mix(u32 round, u32 b, u32 c, u32 d)
{
	if (round < 20)
		return ((b & c) | (~b & d)) + 0x5a827999;
	if (round < 40)
		return (b ^ c ^ d) + 0x6ed9eba1;
	if (round < 60)
		return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
	return (b ^ c ^ d) + 0xca62c1d6;
}

static void hash_block(struct sha1 *sha, const u8 *block)
{
	u32 words[80], v[5];

	for (u32 i = 0; i < 16; i++)
		words[i] = (u32)block[4 * i] << 24 | (u32)block[4 * i + 1] << 16 |
			   (u32)block[4 * i + 2] << 8 | block[4 * i + 3];
	for (u32 i = 16; i < 80; i++)
		words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
	memcpy(v, sha->state, sizeof(v));
	for (u32 i = 0; i < 80; i++) {
		u32 sum = rotate(v[0], 5) + mix(i, v[1], v[2], v[3]) + v[4] + words[i];

		v[4] = v[3];
		v[3] = v[2];
		v[2] = rotate(v[1], 30);
		v[1] = v[0];
		v[0] = sum;
	}
	for (u32 i = 0; i < 5; i++)
		sha->state[i] += v[i];
}

/* Descriptor numbers differ from load to load; the program does not. */
static void forget_descriptors(struct bpf_insn *insns, u32 count)
{
	for (u32 i = 0; i + 1 < count; i++) {
		if (!insn_is_ld_imm64(&insns[i]))
			continue;
		if (insns[i].src_reg == INSN_PSEUDO_MAP_FD ||
		    insns[i].src_reg == INSN_PSEUDO_MAP_VALUE) {
			insns[i].imm = 0;
			insns[i + 1].imm = 0;
		}
		i++;
	}
}

int tag_of_insns(const struct bpf_insn *insns, u32 count, u8 ret_tag[BPF_TAG_SIZE])
{
	struct sha1 sha = {{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}};
	size_t bytes = (size_t)count * sizeof(*insns), padded = ALIGN_UP(bytes + 9, (size_t)64);
	u8 *data = calloc(1, padded);

	if (!data)
		return -ENOMEM;
	memcpy(data, insns, bytes);
	forget_descriptors((struct bpf_insn *)(void *)data, count);
	data[bytes] = 0x80;
	for (u32 i = 0; i < 8; i++)
		data[padded - 1 - i] = (u8)((u64)bytes * 8 >> (8 * i));
	for (size_t i = 0; i < padded; i += 64)
		hash_block(&sha, data + i);
	for (u32 i = 0; i < BPF_TAG_SIZE; i++)
		ret_tag[i] = (u8)(sha.state[i / 4] >> (24 - 8 * (i % 4)));
	free(data);
	return 0;
}
