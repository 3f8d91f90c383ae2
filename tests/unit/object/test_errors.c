/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel as the oracle: the same calls, good and bad, to bpf(2) and to object_bpf, and the same answers. Descriptors
 * count as success; everything else must be equal.
 */
#include "test.h"

#include <errno.h>
#include <linux/btf.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/sys.h"
#include "format/bpf_abi.h"
#include "object/object.h"

#define ROWS 1000

struct side {
	long (*bpf)(int cmd, union bpf_attr *attr, unsigned int size);
	struct {
		const char *label;
		long result;
	} rows[ROWS];
	int count;
};

static long kernel_bpf(int cmd, union bpf_attr *attr, unsigned int size)
{
	return sys_call3(__NR_bpf, cmd, attr, size);
}

static bool kernel_answers(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
	long fd = kernel_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));

	if (fd >= 0)
		sys_close((int)fd);
	return fd >= 0;
}

static long ask_size(struct side *side, const char *label, int cmd, void *attr, unsigned int size)
{
	long result = side->bpf(cmd, attr, size);

	if (side->count < ROWS) {
		side->rows[side->count].label = label;
		side->rows[side->count++].result = result;
	}
	return result;
}

static long ask(struct side *side, const char *label, int cmd, union bpf_attr attr)
{
	return ask_size(side, label, cmd, &attr, sizeof(attr));
}

/* Something that must be equal beside the result. */
static void note(struct side *side, const char *label, long value)
{
	if (side->count < ROWS) {
		side->rows[side->count].label = label;
		side->rows[side->count++].result = -1000000 - value;
	}
}

static void compare(void (*script)(struct side *side))
{
	static struct side kernel, ours;

	memset(&kernel, 0, sizeof(kernel));
	memset(&ours, 0, sizeof(ours));
	kernel.bpf = kernel_bpf;
	ours.bpf = object_bpf;
	script(&kernel);
	script(&ours);
	CHECK_EQ(ours.count, kernel.count);
	for (int i = 0; i < kernel.count && i < ours.count; i++) {
		long want = kernel.rows[i].result, got = ours.rows[i].result;

		if (want != got && (want < 0 || got < 0)) {
			printf("# %s: %ld, the kernel answers %ld\n", ours.rows[i].label, got,
			       want);
			test_failed_here++;
		}
	}
}

#define ATTR(...) ((union bpf_attr){__VA_ARGS__})
#define MAP(type, key, value, entries, ...)                                                        \
	ATTR(.map_type = (type), .key_size = (key), .value_size = (value),                         \
	     .max_entries = (entries), __VA_ARGS__)

static void creations(struct side *side)
{
	ask(side, "array", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4));
	ask(side, "array, key of 8", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_ARRAY, 8, 8, 4));
	ask(side, "array, no value", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_ARRAY, 4, 0, 4));
	ask(side, "array, no entries", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 0));
	ask(side, "array, huge value", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_ARRAY, 4, 0x80000001, 4));
	ask(side, "array, mmapable", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_flags = BPF_F_MMAPABLE));
	ask(side, "array, no_prealloc", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_flags = BPF_F_NO_PREALLOC));
	ask(side, "array, unknown flag", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_flags = 1u << 30));
	ask(side, "array, rdonly and wronly", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_flags = BPF_F_RDONLY | BPF_F_WRONLY));
	ask(side, "array, both prog flags", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_flags = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG));
	ask(side, "hash", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_HASH, 4, 8, 4));
	ask(side, "hash, no key", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_HASH, 0, 8, 4));
	ask(side, "hash, no value", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_HASH, 4, 0, 4));
	ask(side, "hash, mmapable", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_HASH, 4, 8, 4, .map_flags = BPF_F_MMAPABLE));
	ask(side, "hash, no_prealloc", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_HASH, 4, 8, 4, .map_flags = BPF_F_NO_PREALLOC));
	ask(side, "hash, key too large", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_HASH, 1u << 23, 8, 4));
	ask(side, "percpu array", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4));
	ask(side, "percpu array, mmapable", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, .map_flags = BPF_F_MMAPABLE));
	ask(side, "percpu array, value too large", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 1u << 20, 4));
	ask(side, "percpu hash", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 4));
	ask(side, "ringbuf", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096));
	ask(side, "ringbuf, not a power", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096 * 3));
	ask(side, "ringbuf, too small", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_RINGBUF, 0, 0, 2048));
	ask(side, "ringbuf, with key", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_RINGBUF, 4, 0, 4096));
	ask(side, "no such type", BPF_MAP_CREATE, MAP(9999, 4, 8, 4));
	ask(side, "type 0", BPF_MAP_CREATE, MAP(0, 4, 8, 4));
	ask(side, "name", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_name = "a_b.c9"));
	ask(side, "name with blank", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_name = "a b"));
	ask(side, "name without end", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_name = "1234567890123456"));
	ask(side, "key type only", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .btf_key_type_id = 1));
	ask(side, "no BTF there", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .btf_fd = 9999, .btf_key_type_id = 1,
		.btf_value_type_id = 1));
	ask(side, "map_extra", BPF_MAP_CREATE, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_extra = 1));
	ask(side, "numa node without flag", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .numa_node = 5));
	ask(side, "no such numa node", BPF_MAP_CREATE,
	    MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .numa_node = 1000, .map_flags = BPF_F_NUMA_NODE));
}

static void attributes(struct side *side)
{
	struct {
		union bpf_attr attr;
		char more[256];
	} longer = {.attr = MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4)};
	union bpf_attr attr = longer.attr;
	static char huge[8192];

	for (unsigned int size = 16; size <= 144; size += 4)
		ask_size(side, "attr of growing size", BPF_MAP_CREATE, &attr, size);
	ask_size(side, "attr of 8 bytes", BPF_MAP_CREATE, &attr, 8);
	ask_size(side, "attr of 0 bytes", BPF_MAP_CREATE, &attr, 0);
	ask_size(side, "longer attr of zeros", BPF_MAP_CREATE, &longer, sizeof(longer));
	longer.more[200] = 1;
	ask_size(side, "longer attr not of zeros", BPF_MAP_CREATE, &longer, sizeof(longer));
	memcpy(huge, &attr, sizeof(attr));
	ask_size(side, "attr of a page", BPF_MAP_CREATE, huge, 4096);
	ask_size(side, "attr of more than a page", BPF_MAP_CREATE, huge, 4097);
	ask_size(side, "bad attr pointer", BPF_MAP_CREATE, (void *)8, sizeof(attr));
	ask_size(side, "no such command", 9999, &attr, sizeof(attr));
	ask_size(side, "negative command", -1, &attr, sizeof(attr));
	attr = ATTR(.map_fd = 9999, .next_key = 1);
	attr.flags = 1;
	ask_size(side, "lookup flags", BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));
	memset(&attr, 0, sizeof(attr));
	((char *)&attr)[60] = 1;
	ask_size(side, "freeze with more", BPF_MAP_FREEZE, &attr, sizeof(attr));
	ask_size(side, "lookup with more", BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));
	ask_size(side, "info with more", BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	ask_size(side, "next id with more", BPF_PROG_GET_NEXT_ID, &attr, sizeof(attr));
	ask(side, "lookup in nothing", BPF_MAP_LOOKUP_ELEM, ATTR(.map_fd = 9999));
	ask(side, "lookup in stdin", BPF_MAP_LOOKUP_ELEM, ATTR(.map_fd = 0));
	ask(side, "info of nothing", BPF_OBJ_GET_INFO_BY_FD, ATTR(.info = {.bpf_fd = 9999}));
	ask(side, "info of stdin", BPF_OBJ_GET_INFO_BY_FD, ATTR(.info = {.bpf_fd = 0}));
	ask(side, "test run of nothing", BPF_PROG_TEST_RUN, ATTR(.test = {.prog_fd = 9999}));
	ask(side, "map by id, none", BPF_MAP_GET_FD_BY_ID, ATTR(.map_id = 0x7ffffff0));
	ask(side, "prog by id, none", BPF_PROG_GET_FD_BY_ID, ATTR(.prog_id = 0x7ffffff0));
	ask(side, "btf by id, none", BPF_BTF_GET_FD_BY_ID, ATTR(.btf_id = 0x7ffffff0));
	ask(side, "link by id, none", BPF_LINK_GET_FD_BY_ID, ATTR(.link_id = 0x7ffffff0));
	ask(side, "next id from the end", BPF_MAP_GET_NEXT_ID, ATTR(.start_id = 0x7ffffff0));
	ask(side, "next id from beyond", BPF_MAP_GET_NEXT_ID, ATTR(.start_id = 0xfffffff0));
	ask(side, "link update of nothing", BPF_LINK_UPDATE,
	    ATTR(.link_update = {.link_fd = 9999}));
	ask(side, "link detach of nothing", BPF_LINK_DETACH,
	    ATTR(.link_detach = {.link_fd = 9999}));
	ask(side, "bind nothing", BPF_PROG_BIND_MAP, ATTR(.prog_bind_map = {.prog_fd = 9999}));
	ask(side, "stats of no type", BPF_ENABLE_STATS, ATTR(.enable_stats = {.type = 7}));
}

static void elements_of(struct side *side, union bpf_attr create)
{
	u32 key = 1, missing = 77, absent = 78, next = 0;
	u64 value[512] = {5}, out[512] = {0};
	int fd = (int)ask(side, "create", BPF_MAP_CREATE, create);
#define ELEM(k, v, f)                                                                              \
	ATTR(.map_fd = (u32)fd, .key = ptr_to_u64(k), .value = ptr_to_u64(v), .flags = (f))

	ask(side, "lookup before", BPF_MAP_LOOKUP_ELEM, ELEM(&key, out, 0));
	ask(side, "update, must exist", BPF_MAP_UPDATE_ELEM, ELEM(&key, value, BPF_EXIST));
	ask(side, "update, must not exist", BPF_MAP_UPDATE_ELEM, ELEM(&key, value, BPF_NOEXIST));
	ask(side, "update", BPF_MAP_UPDATE_ELEM, ELEM(&key, value, BPF_ANY));
	ask(side, "update, lock", BPF_MAP_UPDATE_ELEM, ELEM(&key, value, BPF_F_LOCK));
	ask(side, "update, unknown flag", BPF_MAP_UPDATE_ELEM, ELEM(&key, value, 8));
	ask(side, "update, bad key", BPF_MAP_UPDATE_ELEM, ELEM((void *)8, value, 0));
	ask(side, "update, bad value", BPF_MAP_UPDATE_ELEM, ELEM(&key, (void *)8, 0));
	ask(side, "update beyond", BPF_MAP_UPDATE_ELEM, ELEM(&missing, value, 0));
	ask(side, "lookup", BPF_MAP_LOOKUP_ELEM, ELEM(&key, out, 0));
	note(side, "value", (long)out[0]);
	ask(side, "lookup, lock", BPF_MAP_LOOKUP_ELEM, ELEM(&key, out, BPF_F_LOCK));
	ask(side, "lookup, unknown flag", BPF_MAP_LOOKUP_ELEM, ELEM(&key, out, 8));
	ask(side, "lookup, bad key", BPF_MAP_LOOKUP_ELEM, ELEM((void *)8, out, 0));
	ask(side, "lookup, bad value", BPF_MAP_LOOKUP_ELEM, ELEM(&key, (void *)8, 0));
	ask(side, "lookup beyond", BPF_MAP_LOOKUP_ELEM, ELEM(&missing, out, 0));
	ask(side, "first key", BPF_MAP_GET_NEXT_KEY, ELEM(NULL, &next, 0));
	ask(side, "next key", BPF_MAP_GET_NEXT_KEY, ELEM(&absent, &next, 0));
	ask(side, "next key, bad key", BPF_MAP_GET_NEXT_KEY, ELEM((void *)8, &next, 0));
	ask(side, "next key, bad next", BPF_MAP_GET_NEXT_KEY, ELEM(NULL, (void *)8, 0));
	ask(side, "take", BPF_MAP_LOOKUP_AND_DELETE_ELEM, ELEM(&key, out, 0));
	ask(side, "take again", BPF_MAP_LOOKUP_AND_DELETE_ELEM, ELEM(&key, out, 0));
	ask(side, "take, unknown flag", BPF_MAP_LOOKUP_AND_DELETE_ELEM, ELEM(&key, out, 8));
	ask(side, "delete", BPF_MAP_DELETE_ELEM, ATTR(.map_fd = (u32)fd, .key = ptr_to_u64(&key)));
	ask(side, "delete, bad key", BPF_MAP_DELETE_ELEM, ATTR(.map_fd = (u32)fd, .key = 8));
	ask(side, "update after", BPF_MAP_UPDATE_ELEM, ELEM(&key, value, BPF_ANY));
	ask(side, "freeze", BPF_MAP_FREEZE, ATTR(.map_fd = (u32)fd));
	ask(side, "freeze again", BPF_MAP_FREEZE, ATTR(.map_fd = (u32)fd));
	ask(side, "update frozen", BPF_MAP_UPDATE_ELEM, ELEM(&key, value, BPF_ANY));
	ask(side, "delete frozen", BPF_MAP_DELETE_ELEM,
	    ATTR(.map_fd = (u32)fd, .key = ptr_to_u64(&key)));
	ask(side, "lookup frozen", BPF_MAP_LOOKUP_ELEM, ELEM(&key, out, 0));
	close(fd);
}

static void array_elements(struct side *side)
{
	elements_of(side, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4));
	elements_of(side, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_flags = BPF_F_RDONLY));
	elements_of(side, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4, .map_flags = BPF_F_WRONLY));
	elements_of(side, MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4));
}

static void hash_elements(struct side *side)
{
	elements_of(side, MAP(BPF_MAP_TYPE_HASH, 4, 8, 2));
	elements_of(side, MAP(BPF_MAP_TYPE_HASH, 4, 8, 2, .map_flags = BPF_F_NO_PREALLOC));
	elements_of(side, MAP(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 2));
}

static void ringbuf_elements(struct side *side)
{
	elements_of(side, MAP(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096));
}

static void batches_of(struct side *side, union bpf_attr create)
{
	u32 keys[8] = {0, 1, 2, 3, 4, 5, 6, 7}, got[8];
	u64 values[512] = {10, 11, 12, 13}, cursor = 0;
	int fd = (int)ask(side, "create", BPF_MAP_CREATE, create);
	union bpf_attr attr = {.batch = {.map_fd = (u32)fd,
					 .keys = ptr_to_u64(keys),
					 .values = ptr_to_u64(values),
					 .count = 3}};
	union bpf_attr again;
	static u64 out[512];

	again = attr;
	ask_size(side, "update batch", BPF_MAP_UPDATE_BATCH, &again, sizeof(again));
	note(side, "updated", again.batch.count);
	again = attr;
	again.batch.count = 6;
	ask_size(side, "update batch beyond", BPF_MAP_UPDATE_BATCH, &again, sizeof(again));
	note(side, "updated beyond", again.batch.count);
	again = attr;
	again.batch.keys = ptr_to_u64(got);
	again.batch.values = ptr_to_u64(out);
	again.batch.out_batch = ptr_to_u64(&cursor);
	again.batch.count = 8;
	ask_size(side, "lookup batch", BPF_MAP_LOOKUP_BATCH, &again, sizeof(again));
	note(side, "looked up", again.batch.count);
	again.batch.count = 0;
	ask_size(side, "lookup batch of none", BPF_MAP_LOOKUP_BATCH, &again, sizeof(again));
	again.batch.count = 8;
	again.batch.flags = 1;
	ask_size(side, "lookup batch, flags", BPF_MAP_LOOKUP_BATCH, &again, sizeof(again));
	again.batch.flags = 0;
	again.batch.elem_flags = 1;
	ask_size(side, "lookup batch, element flags", BPF_MAP_LOOKUP_BATCH, &again, sizeof(again));
	again.batch.elem_flags = 0;
	again.batch.keys = 8;
	ask_size(side, "lookup batch, bad keys", BPF_MAP_LOOKUP_BATCH, &again, sizeof(again));
	again = attr;
	again.batch.count = 1;
	ask_size(side, "delete batch", BPF_MAP_DELETE_BATCH, &again, sizeof(again));
	note(side, "deleted", again.batch.count);
	again = attr;
	ask_size(side, "delete batch again", BPF_MAP_DELETE_BATCH, &again, sizeof(again));
	note(side, "deleted again", again.batch.count);
	again = attr;
	again.batch.keys = ptr_to_u64(got);
	again.batch.values = ptr_to_u64(out);
	again.batch.out_batch = ptr_to_u64(&cursor);
	again.batch.count = 8;
	ask_size(side, "take batch", BPF_MAP_LOOKUP_AND_DELETE_BATCH, &again, sizeof(again));
	note(side, "taken", again.batch.count);
	close(fd);
}

static void batches(struct side *side)
{
	batches_of(side, MAP(BPF_MAP_TYPE_ARRAY, 4, 8, 4));
	batches_of(side, MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4));
	batches_of(side, MAP(BPF_MAP_TYPE_HASH, 4, 8, 4));
	batches_of(side, MAP(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 4));
	batches_of(side, MAP(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096));
}

static const struct bpf_insn two[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 3},
	{.code = BPF_JMP | BPF_EXIT},
};
static char license[] = "GPL";

#define PROG(type, ...)                                                                            \
	ATTR(.prog_type = (type), .insns = ptr_to_u64(two), .insn_cnt = 2,                         \
	     .license = ptr_to_u64(license), ##__VA_ARGS__)

/* The same with one field changed. */
#define PROG_BUT(type, field, value)                                                               \
	({                                                                                         \
		union bpf_attr but_ = PROG(type);                                                  \
		but_.field = (value);                                                              \
		but_;                                                                              \
	})

static void loads(struct side *side)
{
	static char log[4096];

	ask(side, "socket filter", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_SOCKET_FILTER));
	ask(side, "kprobe", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_KPROBE));
	ask(side, "kprobe, multi", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_KPROBE, .expected_attach_type = 48));
	ask(side, "tracepoint", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_TRACEPOINT));
	ask(side, "xdp", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_XDP));
	ask(side, "raw tracepoint", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_RAW_TRACEPOINT));
	ask(side, "perf event", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_PERF_EVENT));
	ask(side, "no such type", BPF_PROG_LOAD, PROG(9999));
	ask(side, "type 0", BPF_PROG_LOAD, PROG(0));
	ask(side, "no instructions", BPF_PROG_LOAD,
	    PROG_BUT(BPF_PROG_TYPE_SOCKET_FILTER, insn_cnt, 0));
	ask(side, "too many instructions", BPF_PROG_LOAD,
	    PROG_BUT(BPF_PROG_TYPE_SOCKET_FILTER, insn_cnt, 1000001));
	ask(side, "bad instructions", BPF_PROG_LOAD,
	    PROG_BUT(BPF_PROG_TYPE_SOCKET_FILTER, insns, 8));
	ask(side, "bad license", BPF_PROG_LOAD, PROG_BUT(BPF_PROG_TYPE_SOCKET_FILTER, license, 8));
	ask(side, "no license", BPF_PROG_LOAD, PROG_BUT(BPF_PROG_TYPE_SOCKET_FILTER, license, 0));
	ask(side, "bad name", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_SOCKET_FILTER, .prog_name = "a b"));
	ask(side, "unknown flags", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .prog_flags = 1u << 20));
	ask(side, "strict alignment", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .prog_flags = BPF_F_STRICT_ALIGNMENT));
	ask(side, "attach type of another", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_CGROUP_SKB, .expected_attach_type = BPF_CGROUP_INET4_BIND));
	ask(side, "btf id for a socket filter", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .attach_btf_id = 1));
	ask(side, "attach program without id", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .attach_prog_fd = 1));
	ask(side, "func info without BTF", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .prog_btf_fd = 9999, .func_info_cnt = 1,
		 .func_info_rec_size = 8));
	ask(side, "log without level", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_buf = ptr_to_u64(log), .log_size = sizeof(log)));
	ask(side, "log without size", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_buf = ptr_to_u64(log), .log_level = 1));
	ask(side, "log without buffer", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_size = sizeof(log), .log_level = 1));
	ask(side, "level without buffer", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_level = 1));
	ask(side, "unknown level", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_buf = ptr_to_u64(log), .log_size = sizeof(log),
		 .log_level = 16));
	ask(side, "bad log", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_buf = 8, .log_size = 4096, .log_level = 2));
	ask(side, "short log", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_buf = ptr_to_u64(log), .log_size = 8,
		 .log_level = 2));
	ask(side, "log", BPF_PROG_LOAD,
	    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_buf = ptr_to_u64(log), .log_size = sizeof(log),
		 .log_level = 2));
}

/* Every size of the buffer: what is kept of the log, whether it fits, and how large it should have been. */
static void logs(struct side *side)
{
	static const u32 levels[] = {1, 1 | 8}; /* more detailed ones differ between versions */
	struct {
		union bpf_attr attr;
		u32 more[8];
	} load;
	u32 *true_size = (u32 *)(void *)((char *)&load + 140);

	for (u32 i = 0; i < ARRAY_SIZE(levels); i++) {
		for (u32 size = 1; size < 200; size += 3) {
			char log[200];
			long sum = 0;

			memset(log, '#', sizeof(log));
			memset(&load, 0, sizeof(load));
			load.attr = PROG(BPF_PROG_TYPE_SOCKET_FILTER, .log_buf = ptr_to_u64(log),
					 .log_size = size, .log_level = levels[i]);
			*true_size = 0;
			ask_size(side, "logged load", BPF_PROG_LOAD, &load, 144);
			note(side, "true size", *true_size);
			for (u32 j = 0; j < sizeof(log); j++)
				sum = sum * 31 % 1000003 + (u8)log[j];
			note(side, "text", sum);
		}
	}
}

static void runs(struct side *side)
{
	int filter = (int)ask(side, "load", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_SOCKET_FILTER));
	int kprobe = (int)ask(side, "load kprobe", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_KPROBE));
	int xdp = (int)ask(side, "load xdp", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_XDP));
	int raw = (int)ask(side, "load raw", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_RAW_TRACEPOINT));
	static u8 data[64], out[64];
	struct __sk_buff skb = {.mark = 6, .priority = 2};
	u64 args[16] = {1};
#define RUN_ATTR(fd, ...) ATTR(.test = {.prog_fd = (u32)(fd), __VA_ARGS__})
#define DATA		  .data_in = ptr_to_u64(data), .data_size_in = sizeof(data)
	union bpf_attr attr = RUN_ATTR(filter, DATA, .data_out = ptr_to_u64(out),
				       .data_size_out = sizeof(out), .repeat = 3);

	ask_size(side, "filter", BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	note(side, "retval", attr.test.retval);
	note(side, "size out", attr.test.data_size_out);
	attr = RUN_ATTR(filter, DATA, .data_out = ptr_to_u64(out), .data_size_out = 7);
	ask_size(side, "filter, little room", BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	note(side, "size out", attr.test.data_size_out);
	ask(side, "filter, no data", BPF_PROG_TEST_RUN, RUN_ATTR(filter));
	ask(side, "filter, short data", BPF_PROG_TEST_RUN,
	    RUN_ATTR(filter, .data_in = ptr_to_u64(data), .data_size_in = 13));
	ask(side, "filter, bad data", BPF_PROG_TEST_RUN,
	    RUN_ATTR(filter, .data_in = 8, .data_size_in = 64));
	ask(side, "filter, bad out", BPF_PROG_TEST_RUN,
	    RUN_ATTR(filter, DATA, .data_out = 8, .data_size_out = 64));
	ask(side, "filter, long data", BPF_PROG_TEST_RUN,
	    RUN_ATTR(filter, .data_in = ptr_to_u64(data), .data_size_in = 1u << 20));
	ask(side, "filter, flags", BPF_PROG_TEST_RUN, RUN_ATTR(filter, DATA, .flags = 1));
	ask(side, "filter, cpu", BPF_PROG_TEST_RUN, RUN_ATTR(filter, DATA, .cpu = 1));
	ask(side, "filter, context", BPF_PROG_TEST_RUN,
	    RUN_ATTR(filter, DATA, .ctx_in = ptr_to_u64(&skb), .ctx_size_in = sizeof(skb)));
	ask(side, "filter, context without size", BPF_PROG_TEST_RUN,
	    RUN_ATTR(filter, DATA, .ctx_in = ptr_to_u64(&skb)));
	skb.len = 5;
	ask(side, "filter, context with len", BPF_PROG_TEST_RUN,
	    RUN_ATTR(filter, DATA, .ctx_in = ptr_to_u64(&skb), .ctx_size_in = sizeof(skb)));
	attr = RUN_ATTR(xdp, DATA, .data_out = ptr_to_u64(out), .data_size_out = sizeof(out));
	ask_size(side, "xdp", BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	note(side, "xdp retval", attr.test.retval);
	note(side, "xdp size out", attr.test.data_size_out);
	ask(side, "xdp, no data", BPF_PROG_TEST_RUN, RUN_ATTR(xdp));
	ask(side, "kprobe", BPF_PROG_TEST_RUN, RUN_ATTR(kprobe));
	attr = RUN_ATTR(raw);
	ask_size(side, "raw", BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	note(side, "raw retval", attr.test.retval);
	ask(side, "raw, context", BPF_PROG_TEST_RUN,
	    RUN_ATTR(raw, .ctx_in = ptr_to_u64(args), .ctx_size_in = 16));
	ask(side, "raw, long context", BPF_PROG_TEST_RUN,
	    RUN_ATTR(raw, .ctx_in = ptr_to_u64(args), .ctx_size_in = 128));
	ask(side, "raw, repeat", BPF_PROG_TEST_RUN, RUN_ATTR(raw, .repeat = 1));
	ask(side, "raw, data", BPF_PROG_TEST_RUN, RUN_ATTR(raw, DATA));
	ask(side, "raw, on cpu", BPF_PROG_TEST_RUN, RUN_ATTR(raw, .flags = BPF_F_TEST_RUN_ON_CPU));
	ask(side, "raw, on no cpu", BPF_PROG_TEST_RUN,
	    RUN_ATTR(raw, .flags = BPF_F_TEST_RUN_ON_CPU, .cpu = 100000));
	ask(side, "raw, cpu without flag", BPF_PROG_TEST_RUN, RUN_ATTR(raw, .cpu = 1));
	close(filter);
	close(kprobe);
	close(xdp);
	close(raw);
}

/* r0 = the packet's bytes at offset, as BPF_ABS and BPF_IND give them. */
static void peek(struct side *side, u32 type, u8 mode, u8 size, s32 offset, s32 index)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 7, .imm = index},
		{.code = (u8)(BPF_LD | mode | size),
		 .src_reg = mode == BPF_IND ? 7 : 0,
		 .imm = offset},
		{.code = BPF_JMP | BPF_EXIT},
	};
	static u8 data[64];
	union bpf_attr attr = {.prog_type = type,
			       .insns = ptr_to_u64(insns),
			       .insn_cnt = 4,
			       .license = ptr_to_u64(license)};
	int fd = (int)ask_size(side, "load", BPF_PROG_LOAD, &attr, sizeof(attr));

	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 7 + 1);
	attr = (union bpf_attr){.test = {.prog_fd = (u32)fd,
					 .data_in = ptr_to_u64(data),
					 .data_size_in = sizeof(data)}};
	ask_size(side, "peek", BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	note(side, "peeked", attr.test.retval);
	close(fd);
}

static void peeks(struct side *side)
{
	static const s32 offsets[] = {0,
				      1,
				      12,
				      47,
				      49,
				      50,
				      51,
				      60,
				      61,
				      63,
				      64,
				      -1,
				      SKF_NET_OFF,
				      SKF_NET_OFF + 3,
				      SKF_LL_OFF,
				      SKF_LL_OFF + 12,
				      SKF_LL_OFF + 62,
				      SKF_LL_OFF - 1};
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W};

	for (u32 i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (u32 j = 0; j < ARRAY_SIZE(sizes); j++) {
			peek(side, BPF_PROG_TYPE_SOCKET_FILTER, BPF_ABS, sizes[j], offsets[i], 0);
			peek(side, BPF_PROG_TYPE_SCHED_CLS, BPF_ABS, sizes[j], offsets[i], 0);
			peek(side, BPF_PROG_TYPE_SOCKET_FILTER, BPF_IND, sizes[j], 2, offsets[i]);
		}
	}
}

/* r0 = a field of the context as a test run sets it. */
static void fields(struct side *side)
{
	for (s16 offset = 0; offset < (s16)sizeof(struct __sk_buff); offset += 4) {
		struct bpf_insn insns[] = {
			{.code = BPF_LDX | BPF_MEM | BPF_W,
			 .dst_reg = 0,
			 .src_reg = 1,
			 .off = offset},
			{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
			{.code = BPF_JMP | BPF_EXIT},
		};
		u8 data[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0};
		bool pointer = offset == offsetof(struct __sk_buff, data) ||
			       offset == offsetof(struct __sk_buff, data_end) ||
			       offset == offsetof(struct __sk_buff, data_meta);
		union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
				       .insns = ptr_to_u64(insns),
				       .insn_cnt = 3,
				       .license = ptr_to_u64(license)};
		long fd;

		if (!pointer)
			insns[1] = (struct bpf_insn){
				.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 0, .src_reg = 0};
		fd = ask_size(side, "load field", BPF_PROG_LOAD, &attr, sizeof(attr));
		if (fd < 0)
			continue;
		attr = (union bpf_attr){.test = {.prog_fd = (u32)fd,
						 .data_in = ptr_to_u64(data),
						 .data_size_in = sizeof(data)}};
		ask_size(side, "run field", BPF_PROG_TEST_RUN, &attr, sizeof(attr));
		note(side, "field at", offset);
		note(side, "field", attr.test.retval);
		close((int)fd);
	}
}

static void links(struct side *side)
{
	int kprobe = (int)ask(side, "load", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_KPROBE));
	int multi = (int)ask(side, "load multi", BPF_PROG_LOAD,
			     PROG(BPF_PROG_TYPE_KPROBE, .expected_attach_type = 48));
	int tracepoint =
		(int)ask(side, "load tracepoint", BPF_PROG_LOAD, PROG(BPF_PROG_TYPE_TRACEPOINT));
	u64 offset = 4096;
	struct abi_link_create_uprobe_multi attr = {.prog_fd = (u32)multi,
						    .attach_type = ABI_TRACE_UPROBE_MULTI,
						    .path = ptr_to_u64("/"),
						    .offsets = ptr_to_u64(&offset),
						    .cnt = 1};
#define LINK(fd, target, type)                                                                     \
	ATTR(.link_create = {.prog_fd = (u32)(fd), .target_fd = (target), .attach_type = (type)})

	ask(side, "of nothing", BPF_LINK_CREATE, LINK(9999, 0, BPF_PERF_EVENT));
	ask(side, "tracepoint, no event", BPF_LINK_CREATE,
	    LINK(tracepoint, (u32)-1, BPF_PERF_EVENT));
	ask(side, "kprobe, no event", BPF_LINK_CREATE, LINK(kprobe, (u32)-1, BPF_PERF_EVENT));
	ask(side, "tracepoint, other type", BPF_LINK_CREATE, LINK(tracepoint, 0, BPF_XDP));
	ask(side, "kprobe, other type", BPF_LINK_CREATE, LINK(kprobe, 0, BPF_XDP));
	ask_size(side, "multi, a directory", BPF_LINK_CREATE, &attr, sizeof(attr));
	attr.path = ptr_to_u64("/no/such/file");
	ask_size(side, "multi, no file", BPF_LINK_CREATE, &attr, sizeof(attr));
	attr.path = 0;
	ask_size(side, "multi, no path", BPF_LINK_CREATE, &attr, sizeof(attr));
	attr.path = ptr_to_u64("/bin/true");
	attr.cnt = 0;
	ask_size(side, "multi, none", BPF_LINK_CREATE, &attr, sizeof(attr));
	attr.cnt = 1u << 21;
	ask_size(side, "multi, too many", BPF_LINK_CREATE, &attr, sizeof(attr));
	attr.cnt = 1;
	attr.offsets = 8;
	ask_size(side, "multi, bad offsets", BPF_LINK_CREATE, &attr, sizeof(attr));
	attr.offsets = ptr_to_u64(&offset);
	attr.multi_flags = 4;
	ask_size(side, "multi, unknown flags", BPF_LINK_CREATE, &attr, sizeof(attr));
	attr.multi_flags = 0;
	attr.flags = 1;
	ask_size(side, "multi, link flags", BPF_LINK_CREATE, &attr, sizeof(attr));
	close(kprobe);
	close(multi);
	close(tracepoint);
}

static void infos(struct side *side)
{
	int prog = (int)ask(side, "load", BPF_PROG_LOAD,
			    PROG(BPF_PROG_TYPE_SOCKET_FILTER, .prog_name = "two"));
	int map = (int)ask(side, "create", BPF_MAP_CREATE,
			   MAP(BPF_MAP_TYPE_HASH, 4, 8, 3, .map_name = "m"));
	struct {
		struct bpf_prog_info info;
		char more[512];
	} longer = {0};
	struct bpf_insn insns[4] = {0};
	struct bpf_prog_info info = {.xlated_prog_insns = ptr_to_u64(insns),
				     .xlated_prog_len = sizeof(insns)};
	struct bpf_map_info map_info = {0};
	union bpf_attr attr;
#define INFO(fd, at, length)                                                                       \
	ATTR(.info = {.bpf_fd = (u32)(fd), .info_len = (u32)(length), .info = ptr_to_u64(at)})

	attr = INFO(prog, &info, sizeof(info));
	ask_size(side, "program", BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	note(side, "info length", attr.info.info_len);
	note(side, "type", info.type);
	note(side, "xlated length", info.xlated_prog_len);
	note(side, "first insn", insns[0].code);
	note(side, "map count", info.nr_map_ids);
	note(side, "name", !strcmp(info.name, "two"));
	note(side, "gpl", info.gpl_compatible);
	note(side, "verified", info.verified_insns);
	note(side, "func infos", info.nr_func_info);
	note(side, "func info size", info.func_info_rec_size);
	note(side, "line info size", info.line_info_rec_size);
	note(side, "tags", info.nr_prog_tags);
	note(side, "ksyms", info.nr_jited_ksyms);
	ask(side, "program, short", BPF_OBJ_GET_INFO_BY_FD,
	    INFO(prog, &(struct bpf_prog_info){0}, 16));
	ask(side, "program, none", BPF_OBJ_GET_INFO_BY_FD,
	    INFO(prog, &(struct bpf_prog_info){0}, 0));
	ask(side, "program, bad", BPF_OBJ_GET_INFO_BY_FD, INFO(prog, (void *)8, sizeof(info)));
	ask(side, "program, longer", BPF_OBJ_GET_INFO_BY_FD, INFO(prog, &longer, sizeof(longer)));
	memset(&longer, 0, sizeof(longer));
	longer.more[100] = 1;
	ask(side, "program, longer not zero", BPF_OBJ_GET_INFO_BY_FD,
	    INFO(prog, &longer, sizeof(longer)));
	info = (struct bpf_prog_info){.nr_func_info = 1, .func_info_rec_size = 12};
	ask(side, "program, other record size", BPF_OBJ_GET_INFO_BY_FD,
	    INFO(prog, &info, sizeof(info)));
	info = (struct bpf_prog_info){.xlated_prog_insns = 8, .xlated_prog_len = 64};
	ask(side, "program, bad xlated", BPF_OBJ_GET_INFO_BY_FD, INFO(prog, &info, sizeof(info)));
	attr = INFO(map, &map_info, sizeof(map_info));
	ask_size(side, "map", BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	note(side, "map type", map_info.type);
	note(side, "map sizes",
	     map_info.key_size * 1000 + map_info.value_size * 10 + map_info.max_entries);
	note(side, "map name", !strcmp(map_info.name, "m"));
	ask(side, "map, bad", BPF_OBJ_GET_INFO_BY_FD, INFO(map, (void *)8, sizeof(map_info)));
	ask(side, "bind", BPF_PROG_BIND_MAP,
	    ATTR(.prog_bind_map = {.prog_fd = (u32)prog, .map_fd = (u32)map}));
	ask(side, "bind, flags", BPF_PROG_BIND_MAP,
	    ATTR(.prog_bind_map = {.prog_fd = (u32)prog, .map_fd = (u32)map, .flags = 1}));
	ask(side, "bind, no map", BPF_PROG_BIND_MAP,
	    ATTR(.prog_bind_map = {.prog_fd = (u32)prog, .map_fd = (u32)prog}));
	info = (struct bpf_prog_info){0};
	ask(side, "program, bound", BPF_OBJ_GET_INFO_BY_FD, INFO(prog, &info, sizeof(info)));
	note(side, "bound maps", info.nr_map_ids);
	ask(side, "map of a program", BPF_MAP_LOOKUP_ELEM, ATTR(.map_fd = (u32)prog));
	ask(side, "program of a map", BPF_PROG_TEST_RUN, ATTR(.test = {.prog_fd = (u32)map}));
	close(prog);
	close(map);
}

#define AS_KERNEL(script)                                                                          \
	static void script##_as_kernel(void)                                                       \
	{                                                                                          \
		if (!kernel_answers())                                                             \
			SKIP("bpf(2) of the kernel is not to be had");                             \
		compare(script);                                                                   \
	}

AS_KERNEL(creations)
AS_KERNEL(attributes)
AS_KERNEL(array_elements)
AS_KERNEL(hash_elements)
AS_KERNEL(ringbuf_elements)
AS_KERNEL(batches)
AS_KERNEL(loads)
AS_KERNEL(logs)
AS_KERNEL(runs)
AS_KERNEL(peeks)
AS_KERNEL(fields)
AS_KERNEL(links)
AS_KERNEL(infos)

int main(void)
{
	RUN(creations_as_kernel);
	RUN(attributes_as_kernel);
	RUN(array_elements_as_kernel);
	RUN(hash_elements_as_kernel);
	RUN(ringbuf_elements_as_kernel);
	RUN(batches_as_kernel);
	RUN(loads_as_kernel);
	RUN(logs_as_kernel);
	RUN(runs_as_kernel);
	RUN(peeks_as_kernel);
	RUN(fields_as_kernel);
	RUN(links_as_kernel);
	RUN(infos_as_kernel);
	return test_done();
}
