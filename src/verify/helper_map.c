/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/helper_map.h"

#include "verify/log.h"
#include "verify/state.h"

#define MAX_HELPERS_OF_TYPE 8

/* Map types that only these helpers take (0 ends the list). */
static const struct {
	u32 type;
	u32 helpers[MAX_HELPERS_OF_TYPE];
} only[] = {
	{BPF_MAP_TYPE_PROG_ARRAY, {BPF_FUNC_tail_call}},
	{BPF_MAP_TYPE_PERF_EVENT_ARRAY,
	 {BPF_FUNC_perf_event_read, BPF_FUNC_perf_event_output, BPF_FUNC_skb_output,
	  BPF_FUNC_perf_event_read_value, BPF_FUNC_xdp_output}},
	{BPF_MAP_TYPE_RINGBUF,
	 {BPF_FUNC_ringbuf_output, BPF_FUNC_ringbuf_reserve, BPF_FUNC_ringbuf_query,
	  BPF_FUNC_ringbuf_reserve_dynptr, BPF_FUNC_ringbuf_submit_dynptr,
	  BPF_FUNC_ringbuf_discard_dynptr}},
	{BPF_MAP_TYPE_USER_RINGBUF, {BPF_FUNC_user_ringbuf_drain}},
	{BPF_MAP_TYPE_STACK_TRACE, {BPF_FUNC_get_stackid}},
	{BPF_MAP_TYPE_CGROUP_ARRAY,
	 {BPF_FUNC_skb_under_cgroup, BPF_FUNC_current_task_under_cgroup}},
	{BPF_MAP_TYPE_CGROUP_STORAGE, {BPF_FUNC_get_local_storage}},
	{BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, {BPF_FUNC_get_local_storage}},
	{BPF_MAP_TYPE_DEVMAP, {BPF_FUNC_redirect_map, BPF_FUNC_map_lookup_elem}},
	{BPF_MAP_TYPE_DEVMAP_HASH, {BPF_FUNC_redirect_map, BPF_FUNC_map_lookup_elem}},
	{BPF_MAP_TYPE_CPUMAP, {BPF_FUNC_redirect_map}},
	{BPF_MAP_TYPE_XSKMAP, {BPF_FUNC_redirect_map, BPF_FUNC_map_lookup_elem}},
	{BPF_MAP_TYPE_ARRAY_OF_MAPS, {BPF_FUNC_map_lookup_elem}},
	{BPF_MAP_TYPE_HASH_OF_MAPS, {BPF_FUNC_map_lookup_elem}},
	{BPF_MAP_TYPE_SOCKMAP,
	 {BPF_FUNC_sk_redirect_map, BPF_FUNC_sock_map_update, BPF_FUNC_msg_redirect_map,
	  BPF_FUNC_map_lookup_elem, BPF_FUNC_sk_select_reuseport, BPF_FUNC_map_delete_elem}},
	{BPF_MAP_TYPE_SOCKHASH,
	 {BPF_FUNC_sk_redirect_hash, BPF_FUNC_sock_hash_update, BPF_FUNC_msg_redirect_hash,
	  BPF_FUNC_map_lookup_elem, BPF_FUNC_sk_select_reuseport, BPF_FUNC_map_delete_elem}},
	{BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, {BPF_FUNC_sk_select_reuseport}},
	{BPF_MAP_TYPE_QUEUE,
	 {BPF_FUNC_map_peek_elem, BPF_FUNC_map_pop_elem, BPF_FUNC_map_push_elem}},
	{BPF_MAP_TYPE_STACK,
	 {BPF_FUNC_map_peek_elem, BPF_FUNC_map_pop_elem, BPF_FUNC_map_push_elem}},
	{BPF_MAP_TYPE_BLOOM_FILTER, {BPF_FUNC_map_peek_elem, BPF_FUNC_map_push_elem}},
	{BPF_MAP_TYPE_SK_STORAGE, {BPF_FUNC_sk_storage_get, BPF_FUNC_sk_storage_delete}},
};

/* Helpers that take only these map types (bit = type, all below 64). */
static const struct {
	u32 helper;
	u64 types;
} wants[] = {
#define M(type) (1ull << BPF_MAP_TYPE_##type)
	{BPF_FUNC_tail_call, M(PROG_ARRAY)},
	{BPF_FUNC_perf_event_read, M(PERF_EVENT_ARRAY)},
	{BPF_FUNC_perf_event_output, M(PERF_EVENT_ARRAY)},
	{BPF_FUNC_perf_event_read_value, M(PERF_EVENT_ARRAY)},
	{BPF_FUNC_skb_output, M(PERF_EVENT_ARRAY)},
	{BPF_FUNC_ringbuf_output, M(RINGBUF)},
	{BPF_FUNC_ringbuf_reserve, M(RINGBUF)},
	{BPF_FUNC_ringbuf_query, M(RINGBUF)},
	{BPF_FUNC_user_ringbuf_drain, M(USER_RINGBUF)},
	{BPF_FUNC_get_stackid, M(STACK_TRACE)},
	{BPF_FUNC_current_task_under_cgroup, M(CGROUP_ARRAY)},
	{BPF_FUNC_skb_under_cgroup, M(CGROUP_ARRAY)},
	{BPF_FUNC_redirect_map, M(DEVMAP) | M(DEVMAP_HASH) | M(CPUMAP) | M(XSKMAP)},
	{BPF_FUNC_sk_redirect_map, M(SOCKMAP)},
	{BPF_FUNC_msg_redirect_map, M(SOCKMAP)},
	{BPF_FUNC_sock_map_update, M(SOCKMAP)},
	{BPF_FUNC_sk_redirect_hash, M(SOCKHASH)},
	{BPF_FUNC_msg_redirect_hash, M(SOCKHASH)},
	{BPF_FUNC_sock_hash_update, M(SOCKHASH)},
	{BPF_FUNC_get_local_storage, M(CGROUP_STORAGE) | M(PERCPU_CGROUP_STORAGE)},
	{BPF_FUNC_sk_select_reuseport, M(REUSEPORT_SOCKARRAY) | M(SOCKMAP) | M(SOCKHASH)},
	{BPF_FUNC_map_pop_elem, M(QUEUE) | M(STACK)},
	{BPF_FUNC_map_peek_elem, M(QUEUE) | M(STACK) | M(BLOOM_FILTER)},
	{BPF_FUNC_map_push_elem, M(QUEUE) | M(STACK) | M(BLOOM_FILTER)},
	{BPF_FUNC_map_lookup_percpu_elem, M(PERCPU_ARRAY) | M(PERCPU_HASH) | M(LRU_PERCPU_HASH)},
	{BPF_FUNC_sk_storage_get, M(SK_STORAGE)},
	{BPF_FUNC_sk_storage_delete, M(SK_STORAGE)},
#undef M
};

static bool type_admits(u32 type, u32 helper)
{
	for (u32 i = 0; i < ARRAY_SIZE(only); i++) {
		if (only[i].type != type)
			continue;
		for (u32 k = 0; k < MAX_HELPERS_OF_TYPE && only[i].helpers[k]; k++) {
			if (only[i].helpers[k] == helper)
				return true;
		}
		return false;
	}
	return true;
}

static bool helper_admits(u32 helper, u32 type)
{
	for (u32 i = 0; i < ARRAY_SIZE(wants); i++) {
		if (wants[i].helper == helper)
			return type < 64 && (wants[i].types >> type & 1);
	}
	return true;
}

int helper_map_compatible(struct verifier *env, const struct verify_map *map,
			  const struct helper_proto *proto)
{
	if (!map || (type_admits(map->type, proto->id) && helper_admits(proto->id, map->type)))
		return 0;
	return verify_reject(env, WHY_HELPER_MAP, 1, -EINVAL,
			     "cannot pass map_type %u into func %s#%u", map->type, proto->name,
			     proto->id);
}

int helper_map_lock(struct verifier *env, int regno, bool lock)
{
	const struct reg *reg = &running_regs(env)[regno];
	struct state *state = env->state;
	s64 off = reg->off + (s64)reg->s.bits.value;

	if (!scalar_is_const(&reg->s))
		return verify_reject(
			env, WHY_LOCK, regno, -EINVAL,
			"R%d doesn't have constant offset. bpf_spin_lock has to be at the constant offset",
			regno);
	if (reg->map->spin_lock_off == UINT32_MAX && !reg->map->has_btf)
		return verify_reject(env, WHY_LOCK, regno, -EINVAL,
				     "map '%s' has to have BTF in order to use bpf_spin_lock",
				     reg->map->name);
	if (reg->map->spin_lock_off == UINT32_MAX)
		return verify_reject(env, WHY_LOCK, regno, -EINVAL,
				     "map '%s' has no valid bpf_spin_lock", reg->map->name);
	if (off != reg->map->spin_lock_off)
		return verify_reject(
			env, WHY_LOCK, regno, -EINVAL,
			"off %lld doesn't point to 'struct bpf_spin_lock' that is at %u",
			(long long)off, reg->map->spin_lock_off);
	if (lock) {
		if (state->lock_map)
			return verify_reject(env, WHY_LOCK, regno, -EINVAL,
					     "Locking two bpf_spin_locks are not allowed");
		state->lock_map = reg->map;
		state->lock_uid = reg->map_uid;
		return 0;
	}
	if (!state->lock_map)
		return verify_reject(env, WHY_LOCK, regno, -EINVAL,
				     "bpf_spin_unlock without taking a lock");
	if (state->lock_map != reg->map || state->lock_uid != reg->map_uid)
		return verify_reject(env, WHY_LOCK, regno, -EINVAL,
				     "bpf_spin_unlock of different lock");
	state->lock_map = NULL;
	state->lock_uid = 0;
	return 0;
}

int helper_map_timer(struct verifier *env, int regno)
{
	const struct reg *reg = &running_regs(env)[regno];
	s64 off = reg->off + (s64)reg->s.bits.value;

	if (!scalar_is_const(&reg->s))
		return verify_reject(
			env, WHY_LOCK, regno, -EINVAL,
			"R%d doesn't have constant offset. bpf_timer has to be at the constant offset",
			regno);
	if (reg->map->timer_off == UINT32_MAX && !reg->map->has_btf)
		return verify_reject(env, WHY_LOCK, regno, -EINVAL,
				     "map '%s' has to have BTF in order to use bpf_timer",
				     reg->map->name);
	if (reg->map->timer_off == UINT32_MAX)
		return verify_reject(env, WHY_LOCK, regno, -EINVAL,
				     "map '%s' has no valid bpf_timer", reg->map->name);
	if (off != reg->map->timer_off)
		return verify_reject(env, WHY_LOCK, regno, -EINVAL,
				     "off %lld doesn't point to 'struct bpf_timer' that is at %u",
				     (long long)off, reg->map->timer_off);
	return 0;
}

bool helper_map_key_known(struct verifier *env, const struct verify_map *map, int regno)
{
	const struct reg *reg = &running_regs(env)[regno];
	const struct frame *frame;
	const struct slot *slot;
	s64 off;
	u32 index, first;

	if ((map->type != BPF_MAP_TYPE_ARRAY && map->type != BPF_MAP_TYPE_PERCPU_ARRAY) ||
	    map->key_size != 4)
		return false;
	if (reg->type != PTR_STACK || !scalar_is_const(&reg->s))
		return false;
	frame = env->state->frames[reg->frame];
	off = reg->off + (s64)reg->s.bits.value;
	index = (u32)((-off - 1) / SLOT_SIZE);
	first = (u32)(off + SLOT_SIZE * (s64)(index + 1));
	if (off >= 0 || index >= frame->slot_cnt || first > 4)
		return false;
	slot = &frame->slots[index];
	for (u32 i = first; i < first + 4; i++) {
		if (slot->kind[i] != BYTE_ZERO)
			goto spilled;
	}
	return map->max_entries > 0;
spilled:
	if (first || slot->spill.type != REG_SCALAR)
		return false;
	for (u32 i = 0; i < 4; i++) {
		if (slot->kind[i] != BYTE_SPILL)
			return false;
	}
	return scalar_is_const(&slot->spill.s) &&
	       (u32)slot->spill.s.bits.value < map->max_entries &&
	       (slot->kind[4] == BYTE_SPILL || slot->spill.s.bits.value <= UINT32_MAX);
}

static bool is_tracing(u32 type)
{
	return type == BPF_PROG_TYPE_KPROBE || type == BPF_PROG_TYPE_TRACEPOINT ||
	       type == BPF_PROG_TYPE_PERF_EVENT || type == BPF_PROG_TYPE_RAW_TRACEPOINT ||
	       type == BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE;
}

int helper_map_usable(struct verifier *env, const struct verify_map *map)
{
	u32 type = env->request->prog_type;

	if (map->spin_lock_off != UINT32_MAX) {
		if (type == BPF_PROG_TYPE_SOCKET_FILTER)
			return verify_reject(env, WHY_LOCK, -1, -EINVAL,
					     "socket filter progs cannot use bpf_spin_lock yet");
		if (is_tracing(type))
			return verify_reject(env, WHY_LOCK, -1, -EINVAL,
					     "tracing progs cannot use bpf_spin_lock yet");
	}
	if (map->timer_off != UINT32_MAX && is_tracing(type))
		return verify_reject(env, WHY_LOCK, -1, -EINVAL,
				     "tracing progs cannot use bpf_timer yet");
	return 0;
}
