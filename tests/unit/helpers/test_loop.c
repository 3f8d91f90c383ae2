/* SPDX-License-Identifier: BSD-2-Clause */
/* Callbacks, the lock in a map's value, and packets that change their size. */
#include <errno.h>
#include <linux/if_ether.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format/bpf_abi.h"
#include "helpers/call.h"
#include "helpers/helpers.h"
#include "maps/map.h"
#include "test.h"

static u64 sum;

static u64 add_index(u64 index, u64 context, HELPER_REST r3, HELPER_REST r4, HELPER_REST r5)
{
	sum += index;
	return context && index == context;
}

static void loop_counts_its_rounds(void)
{
	u64 callback = (u64)(uintptr_t)add_index;

	sum = 0;
	CHECK_EQ(helper_loop(10, callback, 0, 0, 0), 10);
	CHECK_EQ(sum, 45);
	CHECK_EQ(helper_loop(10, callback, 3, 0, 0), 4);
	CHECK_EQ(helper_loop(10, callback, 0, 1, 0), (u64)-EINVAL);
	CHECK_EQ(helper_loop((1 << 23) + 1, callback, 0, 0, 0), (u64)-E2BIG);
	CHECK_EQ(helper_loop(10, 0, 0, 0, 0), (u64)-EOPNOTSUPP);
}

static u64 add_value(HELPER_REST map, HELPER_REST key, u64 value, u64 context, HELPER_REST r5)
{
	sum += *(u64 *)ptr_from_u64(value);
	return context && sum >= context;
}

static void elements_are_all_visited(u32 type)
{
	struct map_spec spec = {.type = type, .key_size = 4, .value_size = 8, .max_entries = 5};
	u64 callback = (u64)(uintptr_t)add_value;
	struct map *map;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	for (u32 key = 0; key < 5; key++) {
		u64 value = 1ull << key;

		CHECK_EQ(map->ops->update(map, &key, &value, 0), 0);
	}
	sum = 0;
	CHECK_EQ(helper_for_each_map_elem(ptr_to_u64(map), callback, 0, 0, 0), 5);
	CHECK_EQ(sum, 31);
	sum = 0;
	CHECK_EQ(helper_for_each_map_elem(ptr_to_u64(map), callback, 1, 0, 0), 1);
	CHECK_EQ(helper_for_each_map_elem(ptr_to_u64(map), callback, 0, 1, 0), (u64)-EINVAL);
	CHECK_EQ(helper_for_each_map_elem(ptr_to_u64(map), 0, 0, 0, 0), (u64)-EOPNOTSUPP);
	map_close(map);
}

static void elements_of_arrays_and_hashes_are_visited(void)
{
	elements_are_all_visited(BPF_MAP_TYPE_ARRAY);
	elements_are_all_visited(BPF_MAP_TYPE_HASH);
}

static void lock_of_a_dead_holder_is_taken(void)
{
	u32 *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = fork();

	if (!child) {
		helper_spin_lock(ptr_to_u64(word), 0, 0, 0, 0);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	CHECK_EQ(*word, (u32)child);
	helper_spin_lock(ptr_to_u64(word), 0, 0, 0, 0);
	CHECK_EQ(*word, (u32)gettid());
	helper_spin_unlock(ptr_to_u64(word), 0, 0, 0, 0);
	CHECK_EQ(*word, 0);
	munmap(word, 4096);
}

static void cgroup_storage_is_one_value(void)
{
	struct map_spec spec = {
		.type = BPF_MAP_TYPE_CGROUP_STORAGE, .key_size = 16, .value_size = 24};
	u64 *value;
	struct map *map;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	value = ptr_from_u64(helper_get_local_storage(ptr_to_u64(map), 0, 0, 0, 0));
	CHECK_EQ(value[0] | value[1] | value[2], 0);
	value[2] = 5;
	CHECK_EQ(helper_get_local_storage(ptr_to_u64(map), 0, 0, 0, 0), ptr_to_u64(value));
	map_close(map);
	spec.max_entries = 1;
	CHECK_EQ(map_create(&spec, 1, &map), -EINVAL);
}

static void maps_of_the_kernels_things_are_empty(void)
{
	struct map_spec spec = {
		.type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 4, .max_entries = 3};
	u32 key = 0;
	struct map *map;

	CHECK_EQ(map_create(&spec, 1, &map), 0);
	CHECK_EQ(helper_map_lookup_elem(ptr_to_u64(map), ptr_to_u64(&key), 0, 0, 0), 0);
	CHECK_EQ(helper_map_update_elem(ptr_to_u64(map), ptr_to_u64(&key), ptr_to_u64(&key), 0, 0),
		 (u64)-EOPNOTSUPP);
	map_close(map);
}

static struct abi_packet_context packet_in(u8 *buffer, u32 size, u32 start, u32 length)
{
	struct abi_packet_context ctx = {0};

	for (u32 i = 0; i < length; i++)
		buffer[start + i] = (u8)i;
	ctx.room = ptr_to_u64(buffer);
	ctx.room_end = ptr_to_u64(buffer + size);
	ctx.data = ctx.data_meta = ctx.link_header = ptr_to_u64(buffer + start);
	ctx.data_end = ctx.data + length;
	ctx.network_header = ctx.data + ETH_HLEN;
	ctx.skb.len = length;
	ctx.skb.protocol = 0x0d0c;
	return ctx;
}

static void vlan_tags_come_back_off(void)
{
	u8 buffer[1024] = {0};
	struct abi_packet_context ctx = packet_in(buffer, sizeof(buffer), 8, 64);
	u64 word = ptr_to_u64(&ctx);

	for (u64 i = 0; i < 100; i++)
		CHECK_EQ(helper_skb_vlan_push(word, __builtin_bswap16(ETH_P_8021AD), 0x100 + i, 0,
					      0),
			 0);
	CHECK_EQ(ctx.skb.len, 64 + 99 * 4);
	CHECK_EQ(ctx.data_end - ctx.data, 64 + 99 * 4);
	CHECK_EQ(((u8 *)ptr_from_u64(ctx.data))[12], 0x88);
	CHECK_EQ(((u8 *)ptr_from_u64(ctx.data))[15], 0x62); /* the last but one */
	for (u64 i = 0; i < 100; i++) {
		CHECK_EQ(ctx.skb.vlan_tci, 0x100 + 99 - i);
		CHECK_EQ(helper_skb_vlan_pop(word, 0, 0, 0, 0), 0);
	}
	CHECK_EQ(helper_skb_vlan_pop(word, 0, 0, 0, 0), 0);
	CHECK_EQ(ctx.skb.len, 64);
	CHECK_EQ(ctx.skb.vlan_present, 0);
	for (u32 i = 0; i < 64; i++)
		CHECK_EQ(((u8 *)ptr_from_u64(ctx.data))[i], i);
}

static void packets_do_not_outgrow_their_room(void)
{
	u8 buffer[256] = {0};
	struct abi_packet_context ctx = packet_in(buffer, sizeof(buffer), 100, 64);
	u64 word = ptr_to_u64(&ctx);

	CHECK_EQ(helper_skb_change_head(word, 192, 0, 0, 0), 0);
	CHECK_EQ(ctx.data, ctx.room);
	CHECK_EQ(ctx.data_end, ctx.room_end);
	CHECK_EQ(buffer[191], 0);
	CHECK_EQ(buffer[193], 1);
	CHECK_EQ(helper_skb_change_head(word, 1, 0, 0, 0), (u64)-ENOMEM);
	CHECK_EQ(helper_skb_change_head(word, 1, 1, 0, 0), (u64)-EINVAL);
	ctx.room = ctx.room_end = 0;
	CHECK_EQ(helper_skb_change_head(word, 1, 0, 0, 0), (u64)-ENOMEM);
	CHECK_EQ(helper_skb_store_bytes(word, 255, word, 1, 0), 0);
	CHECK_EQ(helper_skb_store_bytes(word, 255, word, 2, 0), (u64)-EFAULT);
	CHECK_EQ(helper_skb_store_bytes(word, 0, word, 1, 4), (u64)-EINVAL);
}

static void xdp_ends_move_within_bounds(void)
{
	u8 buffer[512] = {0};
	struct abi_packet_context ctx = packet_in(buffer, sizeof(buffer), 256, 64);
	u64 word = ptr_to_u64(&ctx);

	CHECK_EQ(helper_xdp_adjust_meta(word, (u64)-4, 0, 0, 0), 0);
	CHECK_EQ(ctx.data - ctx.data_meta, 4);
	buffer[252] = 7;
	CHECK_EQ(helper_xdp_adjust_head(word, 10, 0, 0, 0), 0);
	CHECK_EQ(*(u8 *)ptr_from_u64(ctx.data_meta), 7);
	CHECK_EQ(*(u8 *)ptr_from_u64(ctx.data), 10);
	CHECK_EQ(helper_xdp_adjust_head(word, 64, 0, 0, 0), (u64)-EINVAL);
	CHECK_EQ(helper_xdp_adjust_head(word, (u64)-300, 0, 0, 0), (u64)-EINVAL);
	CHECK_EQ(helper_xdp_adjust_meta(word, (u64)-2, 0, 0, 0), (u64)-EACCES);
	CHECK_EQ(helper_xdp_adjust_meta(word, 100, 0, 0, 0), (u64)-EINVAL);
}

int main(void)
{
	RUN(loop_counts_its_rounds);
	RUN(elements_of_arrays_and_hashes_are_visited);
	RUN(lock_of_a_dead_holder_is_taken);
	RUN(cgroup_storage_is_one_value);
	RUN(maps_of_the_kernels_things_are_empty);
	RUN(vlan_tags_come_back_off);
	RUN(packets_do_not_outgrow_their_room);
	RUN(xdp_ends_move_within_bounds);
	return test_done();
}
