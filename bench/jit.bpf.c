/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs of bench/jit: one function a kind of work, compiled to BPF and, with NATIVE, for this machine.
 *
 * Each works on the same 1 KiB of pseudo-random bytes (or on text made of them) and returns a number that depends on all
 * it did. Loops are of the kind that verifiers accept: bounded, indices masked.
 */
#ifdef NATIVE
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define PROGRAM(name)                                                                              \
	int jit_native_##name(void *ctx);                                                          \
	int jit_native_##name(void *ctx)
#else
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
#define PROGRAM(name)                                                                              \
	SEC("tc")                                                                                  \
	int name(struct __sk_buff *ctx)
char LICENSE[] SEC("license") = "GPL";
#endif

#define NOINLINE __attribute__((noinline))
#define ROLLED	 _Pragma("clang loop unroll(disable)")
#define SIZE	 1024

struct {
	u8 bytes[SIZE];
	u32 words[256];
	u32 sorted[256];
	u32 work[64];
	u32 crc[256];
	u32 a[64], b[64], c[64];
	u64 registers[8];
	u32 zero; /* which the verifier does not know */
} d;

PROGRAM(fill)
{
	u32 x = 2463534242u, sum = 0;

	ROLLED for (u32 i = 0; i < SIZE; i++)
	{
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		d.bytes[i] = (u8)x;
		d.words[i & 255] = x;
	}
	ROLLED for (u32 i = 0; i < 256; i++)
	{
		sum += 1 + (d.bytes[i] & 15);
		d.sorted[i] = sum;
		x = i;
		for (u32 k = 0; k < 8; k++)
			x = x & 1 ? x >> 1 ^ 0xedb88320u : x >> 1;
		d.crc[i] = x;
		d.a[i & 63] = d.words[i] & 0xff;
		d.b[i & 63] = d.words[i] >> 8 & 0xff;
	}
	return (int)sum;
}

PROGRAM(hash_fnv)
{
	u64 hash = 0xcbf29ce484222325ull;

	ROLLED for (u32 i = 0; i < SIZE; i++) hash = (hash ^ d.bytes[i]) * 0x100000001b3ull;
	return (int)(hash ^ hash >> 32);
}

#define ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

PROGRAM(hash_sip)
{
	u64 v0 = 0x736f6d6570736575ull, v1 = 0x646f72616e646f6dull;
	u64 v2 = 0x6c7967656e657261ull, v3 = 0x7465646279746573ull;

	ROLLED for (u32 i = 0; i < 256; i++)
	{
		u64 word = d.words[i];

		v3 ^= word;
		v0 += v1;
		v1 = ROTATE(v1, 13) ^ v0;
		v0 = ROTATE(v0, 32);
		v2 += v3;
		v3 = ROTATE(v3, 16) ^ v2;
		v0 += v3;
		v3 = ROTATE(v3, 21) ^ v0;
		v2 += v1;
		v1 = ROTATE(v1, 17) ^ v2;
		v2 = ROTATE(v2, 32);
		v0 ^= word;
	}
	v0 ^= v1 ^ v2 ^ v3;
	return (int)(v0 ^ v0 >> 32);
}

/* Numbers, words and blanks by a state machine. */
PROGRAM(parse)
{
	u32 state = 0, number = 0, sum = 0, words = 0;

	ROLLED for (u32 i = 0; i < SIZE; i++)
	{
		u8 c = d.bytes[i] & 0x7f;

		if (c >= '0' && c <= '9') {
			number = state == 1 ? number * 10 + (c - '0') : (u32)(c - '0');
			state = 1;
		} else if (c >= 'A') {
			words += state != 2;
			state = 2;
		} else {
			if (state == 1)
				sum += number;
			state = 0;
		}
	}
	return (int)(sum ^ words << 16);
}

PROGRAM(sort)
{
	u32 sum = 0;

	ROLLED for (u32 i = 0; i < 64; i++) d.work[i] = d.words[i];
	ROLLED for (u32 k = 2; k <= 64; k <<= 1) ROLLED for (u32 j = k >> 1; j > 0; j >>= 1)
		ROLLED for (u32 i = 0; i < 64; i++)
	{
		u32 other = (i ^ j) & 63, left = d.work[i], right = d.work[other];

		if (other > i && (i & k ? left < right : left > right)) {
			d.work[i] = right;
			d.work[other] = left;
		}
	}
	ROLLED for (u32 i = 0; i < 64; i++) sum = sum * 31 + d.work[i];
	return (int)sum;
}

PROGRAM(search)
{
	u32 found = 0;

	ROLLED for (u32 i = 0; i < SIZE - 4; i++)
	{
		if ((d.bytes[i] & 7) != 3)
			continue;
		if ((d.bytes[i + 1] & 7) == 1 && (d.bytes[i + 2] & 3) == 2)
			found += i;
	}
	return (int)found;
}

PROGRAM(checksum)
{
	u64 sum = 0;

	ROLLED for (u32 i = 0; i < SIZE; i += 2) sum += *(u16 *)&d.bytes[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (int)(~sum & 0xffff);
}

PROGRAM(crc32)
{
	u32 crc = ~0u;

	ROLLED for (u32 i = 0; i < SIZE; i++) crc = crc >> 8 ^ d.crc[(crc ^ d.bytes[i]) & 255];
	return (int)~crc;
}

PROGRAM(matrix)
{
	u32 sum = 0;

	ROLLED for (u32 i = 0; i < 8; i++) ROLLED for (u32 j = 0; j < 8; j++)
	{
		u32 cell = 0;

		ROLLED for (u32 k = 0; k < 8; k++) cell += d.a[i * 8 + k] * d.b[k * 8 + j];
		d.c[i * 8 + j] = cell;
		sum ^= cell + i;
	}
	return (int)sum;
}

/* A machine of eight registers and eight instructions; its program is the input. */
PROGRAM(bytecode)
{
	ROLLED for (u32 i = 0; i < 8; i++) d.registers[i] = i * 77;
	ROLLED for (u32 pc = 0; pc < 256; pc++)
	{
		u32 word = d.words[pc];
		u64 *to = &d.registers[word >> 8 & 7], from = d.registers[word >> 16 & 7];

		switch (word & 7) {
		case 0:
			*to += from;
			break;
		case 1:
			*to -= from;
			break;
		case 2:
			*to *= from | 1;
			break;
		case 3:
			*to ^= from;
			break;
		case 4:
			*to = from << (word >> 24 & 31);
			break;
		case 5:
			*to >>= from & 7;
			break;
		case 6:
			*to = *to > from;
			break;
		default:
			*to = from + word;
			break;
		}
	}
	return (int)(d.registers[0] ^ d.registers[1] ^ d.registers[2] ^ d.registers[7]);
}

PROGRAM(divide)
{
	u32 sum = 0;
	u64 wide = 0;

	ROLLED for (u32 i = 0; i < 255; i++)
	{
		u32 divisor = d.bytes[i] | 1;

		sum += d.words[i] / divisor + d.words[i + 1] % divisor;
		wide += ((u64)d.words[i] << 20) / (d.words[i + 1] | 1) + d.words[i] / 10;
	}
	return (int)(sum ^ wide);
}

static NOINLINE u32 third(u32 a, u32 b)
{
	return (a ^ b) * 2654435761u;
}

static NOINLINE u32 second(u32 a, u32 b, u32 c)
{
	u32 x = third(a, b);

	return x + third(x, c);
}

static NOINLINE u32 first(u32 a, u32 b)
{
	u32 x = second(a, b, 7);

	return b & 1 ? x ^ third(x, a) : x;
}

PROGRAM(calls)
{
	u32 x = 1;

	ROLLED for (u32 i = 0; i < 256; i++) x = first(x, d.words[i]);
	return (int)x;
}

PROGRAM(stack)
{
	u32 counts[32], sum = 0;

	ROLLED for (u32 i = 0; i < 32; i++) counts[i] = 0;
	ROLLED for (u32 i = 0; i < SIZE; i++) counts[d.bytes[i] & 31]++;
	ROLLED for (u32 i = 0; i < 32; i++) sum = sum * 33 + counts[i];
	return (int)sum;
}

PROGRAM(bsearch)
{
	u32 sum = 0;

	ROLLED for (u32 i = 0; i < 64; i++)
	{
		u32 wanted = d.words[i] & 2047, low = d.zero;

		ROLLED for (u32 step = 128; step; step >>= 1)
		{
			u32 at = (low + step) & 255;

			low = d.sorted[at] <= wanted ? at : low;
		}
		sum += low;
	}
	return (int)sum;
}

PROGRAM(bits)
{
	u64 sum = 0;

	ROLLED for (u32 i = 0; i < 256; i++)
	{
		u64 x = d.words[i] * 0x9e3779b97f4a7c15ull, count, lowest;

		lowest = x & -x;
		count = x - (x >> 1 & 0x5555555555555555ull);
		count = (count & 0x3333333333333333ull) + (count >> 2 & 0x3333333333333333ull);
		count = (count + (count >> 4)) & 0x0f0f0f0f0f0f0f0full;
		sum += (count * 0x0101010101010101ull) >> 56;
		sum ^= x << (i & 63) | x >> (-i & 63);
		sum += __builtin_bswap64(lowest) >> (sum & 7);
	}
	return (int)(sum ^ sum >> 32);
}
