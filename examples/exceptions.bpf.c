/* SPDX-License-Identifier: BSD-2-Clause */
/* Which C++ exceptions a process throws, by their (mangled) type: an SDT note of libstdc++, whose second argument is the type. */
#include <stdbool.h>

#include "probe.bpf.h"

#include <bpf/usdt.bpf.h>

#define NAME_SIZE 64

/* The beginning of std::type_info. */
struct type_info {
	void *virtual_table;
	const char *name;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, char[NAME_SIZE]);
	__type(value, __u64);
} exceptions SEC(".maps");

SEC("usdt/libstdc++:libstdcxx:throw")
int BPF_USDT(thrown, void *exception, struct type_info *type)
{
	char name[NAME_SIZE] = "";
	const char *where;
	__u64 one = 1, *count;

	if (bpf_probe_read_user(&where, sizeof(where), &type->name))
		return 0;
	bpf_probe_read_user_str(name, sizeof(name), where);
	count = bpf_map_lookup_elem(&exceptions, name);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&exceptions, name, &one, BPF_NOEXIST);
	return 0;
}
