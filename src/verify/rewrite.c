/* SPDX-License-Identifier: BSD-2-Clause */
#include "verify/rewrite.h"

#include "format/bpf_abi.h"
#include "format/image.h"
#include "verify/ctx.h"
#include "verify/helper_map.h"
#include "verify/insn_table.h"
#include "verify/log.h"

static int add_map(struct verifier *env, u32 at, int fd, const struct verify_map *map)
{
	struct verify_result *result = env->result;
	u32 i = 0;
	int err;

	while (i < result->map_cnt && result->map_ids[i] != map->id)
		i++;
	if (i == result->map_cnt) {
		if (i == VERIFY_MAX_MAPS)
			return verify_reject(
				env, WHY_MAP_FD, -1, -E2BIG,
				"The total number of maps per program has reached the limit of %d",
				VERIFY_MAX_MAPS);
		err = helper_map_usable(env, map);
		if (err)
			return err;
		result->map_ids[i] = map->id;
		result->map_fds[i] = fd;
		result->map_cnt++;
	}
	if (map->type == BPF_MAP_TYPE_PERCPU_ARRAY || map->type == BPF_MAP_TYPE_PERCPU_HASH ||
	    map->type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
	    map->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE)
		result->facts |= IMAGE_FACT_PERCPU;
	env->facts[at].map = map;
	env->facts[at].map_index = i;
	return 0;
}

static int check_direct_value(struct verifier *env, const struct verify_map *map, s32 off)
{
	if (map->type != BPF_MAP_TYPE_ARRAY || map->max_entries != 1)
		return verify_reject(
			env, WHY_MAP_FD, -1, -EINVAL,
			map->type != BPF_MAP_TYPE_ARRAY
				? "no direct value access support for this map type"
				: "invalid access to map value pointer, value_size=%u off=%u",
			map->value_size, (u32)off);
	if ((u32)off >= MAX_VAR_OFF)
		return verify_reject(env, WHY_MAP_BOUNDS, -1, -EINVAL,
				     "direct value offset of %u is not allowed", (u32)off);
	if ((u32)off >= map->value_size)
		return verify_reject(env, WHY_MAP_BOUNDS, -1, -EINVAL,
				     "invalid access to map value pointer, value_size=%u off=%u",
				     map->value_size, (u32)off);
	return 0;
}

static int resolve_map(struct verifier *env, u32 at, const struct bpf_insn *insn)
{
	const struct verify_request *request = env->request;
	bool by_index =
		insn->src_reg == INSN_PSEUDO_MAP_IDX || insn->src_reg == INSN_PSEUDO_MAP_IDX_VALUE;
	bool value = insn->src_reg == INSN_PSEUDO_MAP_VALUE ||
		     insn->src_reg == INSN_PSEUDO_MAP_IDX_VALUE;
	const struct verify_map *map;
	int fd = insn->imm;

	if (!value && insn[1].imm)
		return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL,
				     "unrecognized bpf_ld_imm64 insn");
	if (by_index) {
		if (!request->fd_array ||
		    (request->fd_array_cnt && (u32)insn->imm >= request->fd_array_cnt))
			return verify_reject(env, WHY_MAP_FD, -1, -EPROTO,
					     "fd_idx without fd_array is invalid");
		fd = request->fd_array[(u32)insn->imm];
	}
	errno = 0;
	map = env->host->map_by_fd(env->host->opaque, fd);
	if (!map)
		return verify_reject(env, WHY_MAP_FD, -1, errno == EBADF ? -EBADF : -EINVAL,
				     "fd %d is not pointing to valid bpf_map", fd);
	if (value) {
		int err = check_direct_value(env, map, insn[1].imm);

		if (err)
			return err;
	}
	return add_map(env, at, fd, map);
}

static int resolve_imm64(struct verifier *env, u32 at)
{
	const struct bpf_insn *insn = &env->insns[at];

	if (at + 1 >= env->insn_cnt || insn[1].code || insn[1].dst_reg || insn[1].src_reg ||
	    insn[1].off)
		return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL, "invalid bpf_ld_imm64 insn");
	if (insn->off)
		return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL,
				     "BPF_LD_IMM64 uses reserved fields");
	switch (insn->src_reg) {
	case 0:
	case INSN_PSEUDO_FUNC:
		return 0;
	case INSN_PSEUDO_MAP_FD:
	case INSN_PSEUDO_MAP_VALUE:
	case INSN_PSEUDO_MAP_IDX:
	case INSN_PSEUDO_MAP_IDX_VALUE:
		return resolve_map(env, at, insn);
	case INSN_PSEUDO_BTF_ID:
		return verify_reject(env, WHY_UNSUPPORTED, -1, -EINVAL,
				     "pseudo btf_id %d is not a kernel variable here", insn->imm);
	default:
		return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL,
				     "unrecognized bpf_ld_imm64 insn");
	}
}

int rewrite_resolve(struct verifier *env)
{
	for (u32 i = 0; i < env->insn_cnt; i++) {
		const struct bpf_insn *insn = &env->insns[i];
		u8 class = insn_class(insn);
		int err = 0;

		env->insn = i;
		if (class == BPF_LDX &&
		    (insn_mode(insn) == BPF_MEM || insn_mode(insn) == INSN_MODE_MEMSX) && insn->imm)
			return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL,
					     "BPF_LDX uses reserved fields");
		if (class == BPF_LDX && insn_mode(insn) != BPF_MEM &&
		    insn_mode(insn) != INSN_MODE_MEMSX)
			return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL,
					     "BPF_LDX uses reserved fields");
		if (insn_is_ld_imm64(insn)) {
			err = resolve_imm64(env, i);
			i++;
		} else if (!insn_table_knows(insn->code)) {
			return verify_reject(env, WHY_BAD_INSN, -1, -EINVAL, "unknown opcode %02x",
					     insn->code);
		}
		if (err)
			return err;
	}
	env->insn = 0;
	return 0;
}

/* Loads of 32-bit packet fields become loads of the pointers behind the context (format/bpf_abi.h). */
static void rewrite_packet_load(struct bpf_insn *insn, u8 kind)
{
	size_t off = kind == CTX_PACKET + 1	  ? offsetof(struct abi_packet_context, data)
		     : kind == CTX_PACKET_END + 1 ? offsetof(struct abi_packet_context, data_end)
						  : offsetof(struct abi_packet_context, data_meta);

	insn->code = BPF_LDX | BPF_MEM | BPF_DW;
	insn->off = (s16)off;
}

static void rewrite_imm64(struct verifier *env, u32 at)
{
	struct bpf_insn *insn = &env->insns[at];

	switch (insn->src_reg) {
	case INSN_PSEUDO_MAP_IDX:
		insn->src_reg = INSN_PSEUDO_MAP_FD;
		break;
	case INSN_PSEUDO_MAP_IDX_VALUE:
		insn->src_reg = INSN_PSEUDO_MAP_VALUE;
		break;
	default:
		break;
	}
	if (insn->src_reg == INSN_PSEUDO_MAP_FD || insn->src_reg == INSN_PSEUDO_MAP_VALUE)
		insn->imm = (s32)env->facts[at].map_index;
}

/* Code that no path reaches is replaced by a jump to itself, which cannot do harm. */
static void neutralise(struct bpf_insn *insn)
{
	*insn = (struct bpf_insn){.code = BPF_JMP | BPF_JA, .off = -1};
}

static int list_tail_call(struct verifier *env, u32 at)
{
	struct verify_result *result = env->result;
	u32 map_index = 0;

	if (result->tail_cnt == VERIFY_MAX_TAILS)
		return -ENOSPC;
	while (result->map_ids[map_index] != env->facts[at].map->id)
		map_index++;
	result->tails[result->tail_cnt].insn = at;
	result->tails[result->tail_cnt].map_index = map_index;
	result->tails[result->tail_cnt].key = env->facts[at].tail_key;
	result->tail_cnt++;
	return 0;
}

int rewrite_program(struct verifier *env)
{
	struct verify_result *result = env->result;

	for (u32 i = 0; i < env->insn_cnt; i++) {
		struct bpf_insn *insn = &env->insns[i];
		bool wide = insn_is_ld_imm64(insn), seen = env->facts[i].seen;

		if (!seen) {
			neutralise(insn);
			if (wide)
				neutralise(&insn[1]);
		} else if (wide) {
			rewrite_imm64(env, i);
		} else if (env->facts[i].access_kind && insn_access_size(insn) == 4) {
			rewrite_packet_load(insn, env->facts[i].access_kind);
		} else if (env->facts[i].tail == TAIL_CONSTANT) {
			int err = list_tail_call(env, i);

			if (err)
				return err;
		}
		i += wide;
	}
	result->subprog_cnt = env->subprog_cnt;
	for (u32 i = 0; i < env->subprog_cnt; i++) {
		result->subprogs[i].start = env->subprogs[i].start;
		result->subprogs[i].stack_depth = ALIGN_UP(env->subprogs[i].stack_depth, 8u);
	}
	return 0;
}
