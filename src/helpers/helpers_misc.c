/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers and the Internet checksum. */
#include "base/sys.h"
#include "helpers/call.h"

#include <errno.h>

/* splitmix64: a counter that threads advance without waiting for each other, and a mixing function of it. */
HELPER_0(get_prandom_u32)
{
	static u64 counter;
	u64 value = __atomic_fetch_add(&counter, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED);

	if (unlikely(!value)) {
		u64 seed = 1;

		sys_getrandom(&seed, sizeof(seed), 0);
		value = __atomic_fetch_add(&counter, seed, __ATOMIC_RELAXED) + seed;
	}
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ value >> 27) * 0x94d049bb133111ebull;
	return (u32)(value >> 32);
}

/* Sums are ones' complement: a carry comes back in at the bottom, and 0 has a second form, all ones, that is kept apart. */
static u32 fold_32(u64 sum)
{
	while (sum >> 32)
		sum = (u32)sum + (sum >> 32);
	return (u32)sum;
}

/* As bpf_csum_diff does since Linux 6.13 (earlier kernels' results differ between CPUs). */
static u64 fold_16(u32 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* size is a multiple of 4; words may lie anywhere. */
static u32 add_words(u32 seed, u64 address, u32 size)
{
	const u8 *words = ptr_from_u64(address);
	u64 sum = seed;

	for (u32 i = 0; i < size; i += 4) {
		u32 word;

		__builtin_memcpy(&word, words + i, 4);
		sum += word;
	}
	return fold_32(sum);
}

HELPER_5(csum_diff, from, from_size_word, to, to_size_word, seed_word)
{
	u32 from_size = (u32)from_size_word;
	u32 to_size = (u32)to_size_word;
	u32 seed = (u32)seed_word;

	if ((from_size | to_size) & 3)
		return helper_result(-EINVAL);
	if (from_size && to_size)
		return fold_16(fold_32((u64)add_words(seed, to, to_size) +
				       (u32)~add_words(0, from, from_size)));
	if (to_size)
		return fold_16(add_words(seed, to, to_size));
	if (from_size)
		return fold_16(~add_words(~seed, from, from_size));
	return fold_16(seed);
}
