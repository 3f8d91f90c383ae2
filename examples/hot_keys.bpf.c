/* SPDX-License-Identifier: BSD-2-Clause */
/* Which keys of a redis-server are asked for most: lookupKey(redisDb *db, robj *key, int flags). */
#include "probe.bpf.h"

#define NAME_SIZE 32

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 17);
	__type(key, char[NAME_SIZE]);
	__type(value, __u64);
} hot_keys SEC(".maps");

/* redis's robj, as far as it matters here: the key's string is behind ptr. */
struct robj {
	__u64 type_and_refcount;
	const char *ptr;
};

IN_EXECUTABLE("lookupKey")
int count_key(struct pt_regs *ctx)
{
	char name[NAME_SIZE] = {};
	struct robj key;
	__u64 one = 1;
	__u64 *count;

	if (bpf_probe_read_user(&key, sizeof(key), (void *)PT_REGS_PARM2(ctx)))
		return 0;
	if (bpf_probe_read_user_str(name, sizeof(name), key.ptr) < 0)
		return 0;
	count = bpf_map_lookup_elem(&hot_keys, name);
	if (!count && !bpf_map_update_elem(&hot_keys, name, &one, BPF_NOEXIST))
		return 0;
	/* Another thread may have put it there in the meantime. */
	if (!count)
		count = bpf_map_lookup_elem(&hot_keys, name);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
