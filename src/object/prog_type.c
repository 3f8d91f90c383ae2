/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/prog_type.h"

#include <errno.h>
#include <linux/bpf.h>

#define PROG_TYPE_NETFILTER 32
#define ATTACH_NETFILTER    45
#define ATTACH_UNIX_FIRST   49 /* BPF_CGROUP_UNIX_CONNECT .. BPF_CGROUP_UNIX_GETSOCKNAME, 6.7 */
#define ATTACH_UNIX_LAST    53

static const struct row {
	u32 prog_type;
	u32 attach_types[16]; /* ends at count */
	u32 count;
} restricted[] = {
	{BPF_PROG_TYPE_CGROUP_SOCK,
	 {BPF_CGROUP_INET_SOCK_CREATE, BPF_CGROUP_INET_SOCK_RELEASE, BPF_CGROUP_INET4_POST_BIND,
	  BPF_CGROUP_INET6_POST_BIND},
	 4},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	 {BPF_CGROUP_INET4_BIND, BPF_CGROUP_INET6_BIND, BPF_CGROUP_INET4_CONNECT,
	  BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME,
	  BPF_CGROUP_INET4_GETSOCKNAME, BPF_CGROUP_INET6_GETSOCKNAME, BPF_CGROUP_UDP4_SENDMSG,
	  BPF_CGROUP_UDP6_SENDMSG, BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_UDP6_RECVMSG},
	 12},
	{BPF_PROG_TYPE_CGROUP_SKB, {BPF_CGROUP_INET_INGRESS, BPF_CGROUP_INET_EGRESS}, 2},
	{BPF_PROG_TYPE_CGROUP_SOCKOPT, {BPF_CGROUP_SETSOCKOPT, BPF_CGROUP_GETSOCKOPT}, 2},
	{BPF_PROG_TYPE_SK_LOOKUP, {BPF_SK_LOOKUP}, 1},
	{BPF_PROG_TYPE_SK_REUSEPORT,
	 {BPF_SK_REUSEPORT_SELECT, BPF_SK_REUSEPORT_SELECT_OR_MIGRATE},
	 2},
	{PROG_TYPE_NETFILTER, {ATTACH_NETFILTER}, 1},
	{BPF_PROG_TYPE_SYSCALL, {0}, 1},
	{BPF_PROG_TYPE_EXT, {0}, 1},
};

u32 prog_type_fix_attach(u32 prog_type, u32 attach_type)
{
	if (attach_type)
		return attach_type;
	if (prog_type == BPF_PROG_TYPE_CGROUP_SOCK)
		return BPF_CGROUP_INET_SOCK_CREATE;
	if (prog_type == BPF_PROG_TYPE_SK_REUSEPORT)
		return BPF_SK_REUSEPORT_SELECT;
	return 0;
}

int prog_type_check_attach(u32 prog_type, u32 attach_type)
{
	if (prog_type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR && attach_type >= ATTACH_UNIX_FIRST &&
	    attach_type <= ATTACH_UNIX_LAST)
		return 0;
	for (u32 i = 0; i < ARRAY_SIZE(restricted); i++) {
		if (restricted[i].prog_type != prog_type)
			continue;
		for (u32 j = 0; j < restricted[i].count; j++) {
			if (restricted[i].attach_types[j] == attach_type)
				return 0;
		}
		return -EINVAL;
	}
	return 0;
}

bool prog_type_takes_btf_id(u32 prog_type)
{
	return prog_type == BPF_PROG_TYPE_TRACING || prog_type == BPF_PROG_TYPE_LSM ||
	       prog_type == BPF_PROG_TYPE_STRUCT_OPS || prog_type == BPF_PROG_TYPE_EXT;
}
