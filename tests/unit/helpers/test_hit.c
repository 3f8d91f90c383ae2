/* SPDX-License-Identifier: BSD-2-Clause */
/* What helpers do with maps, rings, packets, memory that is not there, and the words in front of a context. */
#include "helpers/helpers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/trampoline.h"
#include "exec/fault.h"
#include "format/bpf_abi.h"
#include "maps/map.h"
#include "maps/ringbuf.h"
#include "sync/reader.h"
#include "test.h"

static u64 call(u32 id, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	return helper_address(id)(a, b, c, d, e);
}

static struct map *make_map(u32 type, u32 key_size, u32 value_size, u32 entries)
{
	struct map_spec spec = {.type = type,
				.key_size = key_size,
				.value_size = value_size,
				.max_entries = entries};
	struct map *map = NULL;

	return map_create(&spec, 1, &map) ? NULL : map;
}

static void map_elements(void)
{
	struct map *map = make_map(BPF_MAP_TYPE_HASH, 4, 8, 2);
	u64 handle = ptr_to_u64(map);
	u32 keys[] = {1, 2, 3};
	u64 value = 42;
	u64 *found;

	CHECK(map != NULL);
	if (!map)
		return;
	CHECK_EQ(call(1, handle, ptr_to_u64(&keys[0]), 0, 0, 0), 0);
	CHECK_EQ(call(2, handle, ptr_to_u64(&keys[0]), ptr_to_u64(&value), BPF_ANY, 0), 0);
	found = ptr_from_u64(call(1, handle, ptr_to_u64(&keys[0]), 0, 0, 0));
	CHECK(found && *found == 42);
	CHECK_EQ((s64)call(2, handle, ptr_to_u64(&keys[0]), ptr_to_u64(&value), BPF_NOEXIST, 0),
		 -EEXIST);
	CHECK_EQ((s64)call(2, handle, ptr_to_u64(&keys[1]), ptr_to_u64(&value), BPF_EXIST, 0),
		 -ENOENT);
	CHECK_EQ((s64)call(3, handle, ptr_to_u64(&keys[0]), 0, 0, 0), 0);
	CHECK_EQ((s64)call(3, handle, ptr_to_u64(&keys[0]), 0, 0, 0), -ENOENT);
	map_close(map);
}

static int collect(void *opaque, void *data, u32 size)
{
	char *out = opaque;
	struct printk_record *record = data;

	CHECK(size >= sizeof(*record) + record->length + 1);
	strncat(out, record->text, 500);
	strncat(out, "|", 2);
	CHECK_EQ(record->tid, (u32)gettid());
	CHECK(record->time_ns != 0);
	return 0;
}

static u64 print(const char *format, u64 a, u64 b, u64 c)
{
	return call(6, ptr_to_u64(format), strlen(format) + 1, a, b, c);
}

static void printk_goes_to_the_ring(void)
{
	struct map *ring = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
	u64 args[] = {4, 5, 6, 7}, before = helpers_printk_dropped();
	char text[1024] = "";

	CHECK_EQ((s64)print("nobody listens", 0, 0, 0), 14);
	CHECK_EQ(helpers_printk_dropped() - before, 1);
	CHECK(ring != NULL);
	if (!ring)
		return;
	helpers_set_printk_ring(ring);
	CHECK_EQ((s64)print("a=%d b=%x c=%s", 1, 255, ptr_to_u64("three")), 16);
	CHECK_EQ((s64)print("bad %f", 0, 0, 0), -EINVAL);
	CHECK_EQ((s64)print("four %d %d %d %d", 0, 0, 0), -EINVAL);
	CHECK_EQ((s64)call(177, ptr_to_u64("%d%d%d%d"), 9, ptr_to_u64(args), sizeof(args), 0), 4);
	CHECK_EQ((s64)call(177, ptr_to_u64("%d"), 3, ptr_to_u64(args), 7, 0), -EINVAL);
	CHECK_EQ((s64)call(177, ptr_to_u64("none"), 5, 0, 0, 0), 4);
	ringbuf_consume(ring, collect, text);
	CHECK(!strcmp(text, "a=1 b=ff c=three|4567|none|"));
	for (int i = 0; i < 100; i++)
		print("a line that is about fifty characters long, or more", 0, 0, 0);
	CHECK_EQ(ring->shared->dropped, helpers_printk_dropped() - before - 1);
	CHECK(ring->shared->dropped > 0);
	helpers_set_printk_ring(NULL);
	map_close(ring);
}

static void snprintf_tells_the_length(void)
{
	u64 args[] = {7, 8};
	char out[8];

	memset(out, '?', sizeof(out));
	CHECK_EQ((s64)call(165, ptr_to_u64(out), 4, ptr_to_u64("%d-%d-x"), ptr_to_u64(args), 16),
		 6);
	CHECK(!strcmp(out, "7-8"));
	CHECK_EQ(out[4], '?');
	CHECK_EQ((s64)call(165, 0, 0, ptr_to_u64("%d"), ptr_to_u64(args), 8), 2);
	CHECK_EQ((s64)call(165, ptr_to_u64(out), 8, ptr_to_u64("%d"), ptr_to_u64(args), 9),
		 -EINVAL);
	CHECK_EQ((s64)call(165, ptr_to_u64(out), 8, ptr_to_u64("%d"), ptr_to_u64(args), 13 * 8),
		 -EINVAL);
}

static void rings_of_programs(void)
{
	struct map *ring = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
	u64 handle = ptr_to_u64(ring), record;

	CHECK(ring != NULL);
	if (!ring)
		return;
	CHECK_EQ(call(134, handle, BPF_RB_RING_SIZE, 0, 0, 0), 4096);
	record = call(131, handle, 16, 0, 0, 0);
	CHECK(record != 0);
	call(132, record, 0, 0, 0, 0);
	CHECK_EQ(call(134, handle, BPF_RB_AVAIL_DATA, 0, 0, 0), 24);
	record = call(131, handle, 16, 0, 0, 0);
	call(133, record, 0, 0, 0, 0);
	CHECK_EQ((s64)call(130, handle, ptr_to_u64("data"), 4, 0, 0), 0);
	CHECK_EQ(call(131, handle, 5000, 0, 0, 0), 0);
	CHECK_EQ((s64)call(130, handle, ptr_to_u64("data"), 4, 1ull << 40, 0), -EINVAL);
	map_close(ring);
}

static void reads_that_fault_leave_zeros(void)
{
	static const u32 readers[] = {4, 112, 113}, string_readers[] = {45, 114, 115};
	long page = sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *edge = memory + page - 4;
	char to[16];

	memcpy(edge, "abcd", 4);
	munmap(memory + page, (size_t)page);
	for (size_t i = 0; i < 3; i++) {
		memset(to, '?', sizeof(to));
		CHECK_EQ((s64)call(readers[i], ptr_to_u64(to), 4, ptr_to_u64(edge), 0, 0), 0);
		CHECK(!memcmp(to, "abcd????", 8));
		CHECK_EQ((s64)call(readers[i], ptr_to_u64(to), 8, ptr_to_u64(edge), 0, 0), -EFAULT);
		CHECK(!memcmp(to, "\0\0\0\0\0\0\0\0?", 9));
		CHECK_EQ((s64)call(readers[i], ptr_to_u64(to), 8, 0xffff888000000000ull, 0, 0),
			 -EFAULT);
		CHECK_EQ((s64)call(readers[i], ptr_to_u64(to), 0, 0, 0, 0), 0);
		memset(to, '?', sizeof(to));
		CHECK_EQ((s64)call(string_readers[i], ptr_to_u64(to), 16, ptr_to_u64("text"), 0, 0),
			 5);
		CHECK(!memcmp(to, "text\0", 5));
		CHECK_EQ((s64)call(string_readers[i], ptr_to_u64(to), 3, ptr_to_u64("text"), 0, 0),
			 3);
		CHECK(!memcmp(to, "te\0", 3));
		CHECK_EQ((s64)call(string_readers[i], ptr_to_u64(to), 16, ptr_to_u64(edge), 0, 0),
			 -EFAULT);
		CHECK_EQ(to[0], 0);
		CHECK_EQ(to[15], 0);
	}
	munmap(memory, (size_t)page);
}

static void packets(void)
{
	struct abi_packet_context ctx = {0};
	char packet[64], to[16];

	for (int i = 0; i < 64; i++)
		packet[i] = (char)i;
	ctx.data = ptr_to_u64(packet);
	ctx.data_end = ctx.data + 64;
	CHECK_EQ((s64)call(26, ptr_to_u64(&ctx), 60, ptr_to_u64(to), 4, 0), 0);
	CHECK_EQ(to[3], 63);
	CHECK_EQ((s64)call(26, ptr_to_u64(&ctx), 61, ptr_to_u64(to), 4, 0), -EFAULT);
	CHECK_EQ(to[3], 0);
	CHECK_EQ((s64)call(26, ptr_to_u64(&ctx), (u64)-1, ptr_to_u64(to), 4, 0), -EFAULT);
	CHECK_EQ(call(188, ptr_to_u64(&ctx), 0, 0, 0, 0), 64);
	CHECK_EQ((s64)call(189, ptr_to_u64(&ctx), 8, ptr_to_u64(to), 16, 0), 0);
	CHECK_EQ(to[15], 23);
	CHECK_EQ((s64)call(189, ptr_to_u64(&ctx), 60, ptr_to_u64(to), 16, 0), -EINVAL);
	CHECK_EQ((s64)call(189, ptr_to_u64(&ctx), 0x10000, ptr_to_u64(to), 1, 0), -EFAULT);
}

static void words_in_front_of_the_context(void)
{
	struct hit hit = {.cookie = 77, .func_ip = 0x401000};

	CHECK_EQ(call(173, ptr_to_u64(hit.regs), 0, 0, 0, 0), 0x401000);
	CHECK_EQ(call(174, ptr_to_u64(hit.regs), 0, 0, 0, 0), 77);
}

int main(void)
{
	if (reader_init() || fault_init())
		return 1;
	RUN(map_elements);
	RUN(printk_goes_to_the_ring);
	RUN(snprintf_tells_the_length);
	RUN(rings_of_programs);
	RUN(reads_that_fault_leave_zeros);
	RUN(packets);
	RUN(words_in_front_of_the_context);
	return test_done();
}
