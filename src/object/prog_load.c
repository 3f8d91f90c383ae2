/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BPF_PROG_LOAD: copy what the client points at, verify it, write the image, seal it.
 *
 * Everything a load holds is in struct load and is let go in one place, whatever step failed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "format/btf.h"
#include "format/insn.h"
#include "helpers/helpers.h"
#include "object/attach_target.h"
#include "object/command.h"
#include "object/log.h"
#include "object/map.h"
#include "object/object.h"
#include "object/prog.h"
#include "object/prog_array.h"
#include "object/prog_type.h"
#include "object/tag.h"
#include "verify/verify.h"

#define PROG_FLAGS                                                                                 \
	(BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT | BPF_F_TEST_STATE_FREQ | BPF_F_SLEEPABLE |  \
	 BPF_F_TEST_RND_HI32 | BPF_F_XDP_HAS_FRAGS | (1u << 6) | ABI_F_TEST_REG_INVARIANTS |       \
	 (1u << 16))
#define LICENSE_MAX  128
#define FUNC_REC_MIN 8
#define LINE_REC_MIN 16
#define REC_MAX	     256

struct load_map {
	int fd;
	struct object *object;
	struct verify_map facts;
};

struct load {
	struct command *command;
	char name[BPF_OBJ_NAME_LEN];
	struct bpf_insn *insns;
	u8 tag[BPF_TAG_SIZE];
	u32 attach_type;
	bool gpl;
	struct object *btf;
	struct attach_target target;
	void *func_info, *line_info;
	int *fd_array;
	u32 fd_array_cnt;
	struct load_map maps[VERIFY_MAX_MAPS];
	u32 map_cnt;
	struct verify_log log;
	struct verify_result result;
};

static object_verdict_fn verdict_hook;
static void *verdict_opaque;
static struct object_load_policy load_policy;

void object_set_load_policy(const struct object_load_policy *policy)
{
	load_policy = policy ? *policy : (struct object_load_policy){0};
}

void object_set_verdict_hook(object_verdict_fn hook, void *opaque)
{
	verdict_hook = hook;
	verdict_opaque = opaque;
}

static int check_attr(const struct command *command)
{
	const union bpf_attr *attr = &command->attr;

	if (attr->prog_flags & ~PROG_FLAGS)
		return -EINVAL;
	if (!attr->insn_cnt || attr->insn_cnt > INSN_MAX_COUNT)
		return -E2BIG;
	if (attr->attach_btf_id && !prog_type_takes_btf_id(attr->prog_type))
		return -EINVAL;
	if (attr->attach_prog_fd && !attr->attach_btf_id)
		return -EINVAL;
	return 0;
}

static bool is_gpl(const char *license)
{
	static const char *const names[] = {
		"GPL",		"GPL v2",	"GPL and additional rights",
		"Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(license, names[i]))
			return true;
	}
	return false;
}

static int read_license(struct load *load)
{
	char license[LICENSE_MAX] = "";
	int length = user_read_string(license, load->command->attr.license, sizeof(license) - 1);

	if (length == -EFAULT)
		return -EFAULT;
	load->gpl = length >= 0 && is_gpl(license);
	return 0;
}

/* Records of a table of the client's, whose size may be another than ours. */
static int read_records(u64 from, u32 count, u32 size, u32 size_min, void **ret_records)
{
	if (!count)
		return 0;
	if (count > INSN_MAX_COUNT || size < size_min || size >= REC_MAX || size % 4)
		return -EINVAL;
	return user_copy(from, (size_t)count * size, ret_records);
}

static int read_debug_info(struct load *load)
{
	const union bpf_attr *attr = &load->command->attr;
	int error;

	if (!attr->func_info_cnt && !attr->line_info_cnt)
		return 0;
	error = objects_get(OBJECT_BTF, (int)attr->prog_btf_fd, &load->btf);
	if (!error)
		error = read_records(attr->func_info, attr->func_info_cnt, attr->func_info_rec_size,
				     FUNC_REC_MIN, &load->func_info);
	if (!error)
		error = read_records(attr->line_info, attr->line_info_cnt, attr->line_info_rec_size,
				     LINE_REC_MIN, &load->line_info);
	return error;
}

/* The array has no stated length before 6.14: it is as long as the instructions say. */
static int read_fd_array(struct load *load)
{
	u32 count = load->command->prog_load.fd_array_cnt;

	if (!load->command->attr.fd_array)
		return 0;
	for (u32 i = 0; i + 1 < load->command->attr.insn_cnt; i++) {
		const struct bpf_insn *insn = &load->insns[i];

		if (!insn_is_ld_imm64(insn))
			continue;
		if ((insn->src_reg == INSN_PSEUDO_MAP_IDX ||
		     insn->src_reg == INSN_PSEUDO_MAP_IDX_VALUE) &&
		    insn->imm >= 0 && insn->imm < VERIFY_MAX_MAPS)
			count = MAX(count, (u32)insn->imm + 1);
		i++;
	}
	if (count > VERIFY_MAX_MAPS)
		return -E2BIG;
	load->fd_array_cnt = count;
	return user_copy(load->command->attr.fd_array, count * sizeof(int),
			 (void **)&load->fd_array);
}

static int read_all(struct load *load)
{
	const union bpf_attr *attr = &load->command->attr;
	int error = user_copy(attr->insns, attr->insn_cnt * sizeof(struct bpf_insn),
			      (void **)&load->insns);

	if (!error)
		error = read_license(load);
	if (!error)
		error = command_name(attr->prog_name, load->name);
	if (!error)
		error = tag_of_insns(load->insns, attr->insn_cnt, load->tag);
	if (!error)
		error = read_debug_info(load);
	return error ? error : read_fd_array(load);
}

static u32 field_offset(const struct map_spec *spec, const struct object *btf, const char *name)
{
	if (!btf || !spec->btf_value_type_id)
		return ~0u;
	return btf_find_field(btf->btf.types, spec->btf_value_type_id, name);
}

static struct verify_map facts_of(const struct object *object)
{
	struct map *map = object->map;
	const struct map_spec *spec = &map->spec;
	struct verify_map facts = {
		.id = object->id,
		.type = spec->type,
		.key_size = spec->key_size,
		.value_size = spec->value_size,
		.max_entries = spec->max_entries,
		.flags = spec->flags,
		.readonly_prog = spec->flags & BPF_F_RDONLY_PROG,
		.writeonly_prog = spec->flags & BPF_F_WRONLY_PROG,
		.frozen = map->shared->frozen,
		.value = map->ops->value_addr ? map->ops->value_addr(map, 0) : NULL,
		.spin_lock_off = field_offset(spec, object->map_btf, "bpf_spin_lock"),
		.timer_off = field_offset(spec, object->map_btf, "bpf_timer"),
	};

	memcpy(facts.name, spec->name, sizeof(facts.name));
	return facts;
}

static const struct verify_map *map_by_fd(void *opaque, int fd)
{
	struct load *load = opaque;
	struct load_map *entry;
	struct object *object;

	for (u32 i = 0; i < load->map_cnt; i++) {
		if (load->maps[i].fd == fd)
			return &load->maps[i].facts;
	}
	if (load->map_cnt == VERIFY_MAX_MAPS || objects_get(OBJECT_MAP, fd, &object))
		return NULL;
	entry = &load->maps[load->map_cnt++];
	entry->fd = fd;
	entry->object = object;
	entry->facts = facts_of(object);
	return &entry->facts;
}

static struct object *map_with_id(const struct load *load, u32 id)
{
	for (u32 i = 0; i < load->map_cnt; i++) {
		if (load->maps[i].object->id == id)
			return load->maps[i].object;
	}
	return NULL;
}

static int verify(struct load *load, u32 log_level)
{
	const union bpf_attr *attr = &load->command->attr;
	const struct btf *types = load->btf ? load->btf->btf.types : NULL;
	struct verify_request request = {
		.insns = load->insns,
		.insn_cnt = attr->insn_cnt,
		.prog_type = attr->prog_type,
		.attach_type = load->attach_type,
		.flags = attr->prog_flags,
		.gpl = load->gpl,
		.privileged = true,
		.fd_array = load->fd_array,
		.fd_array_cnt = load->fd_array_cnt,
		.btf = types,
		.func_info = load->func_info,
		.line_info = load->line_info,
		.func_info_cnt = attr->func_info_cnt,
		.func_info_rec = attr->func_info_rec_size,
		.line_info_cnt = attr->line_info_cnt,
		.line_info_rec = attr->line_info_rec_size,
		.strings = types ? types->strings : NULL,
		.typed_ctx = load->target.btf,
		.ctx_size = load->target.ctx_size,
		.log_level = log_level,
		.refuse_uninit_stack = load_policy.refuse_uninit_stack,
	};
	struct verify_host host = {
		.helper = helper_proto,
		.helper_allowed = helper_allowed,
		.map_by_fd = map_by_fd,
		.opaque = load,
	};

	return verify_program(&request, &host, &load->log, &load->result);
}

/* Where each part lies in the image. */
static u32 lay_out(const struct load *load, struct image_header *header)
{
	const union bpf_attr *attr = &load->command->attr;
	u32 at = ALIGN_UP((u32)sizeof(*header), 8u);

	header->insns_off = at;
	at += header->insn_cnt * (u32)sizeof(struct bpf_insn);
	header->subprogs_off = at;
	at += header->subprog_cnt * (u32)sizeof(struct image_subprog);
	header->tails_off = at;
	at += header->tail_cnt * (u32)sizeof(struct image_tail);
	header->maps_off = at;
	at += header->map_cnt * (u32)sizeof(struct image_map_ref);
	if (load->func_info) {
		header->func_info_off = at;
		header->func_info_cnt = attr->func_info_cnt;
		header->func_info_rec = attr->func_info_rec_size;
		at += header->func_info_cnt * header->func_info_rec;
	}
	if (load->line_info) {
		header->line_info_off = at;
		header->line_info_cnt = attr->line_info_cnt;
		header->line_info_rec = attr->line_info_rec_size;
		at += header->line_info_cnt * header->line_info_rec;
	}
	return ALIGN_UP(at, 8u);
}

static void fill_header(const struct load *load, u32 id, struct image_header *header)
{
	const union bpf_attr *attr = &load->command->attr;
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	*header = (struct image_header){
		.magic = IMAGE_MAGIC,
		.prog_id = id,
		.prog_type = attr->prog_type,
		.attach_type = load->attach_type,
		.prog_flags = attr->prog_flags,
		.insn_cnt = attr->insn_cnt,
		.subprog_cnt = load->result.subprog_cnt,
		.map_cnt = load->result.map_cnt,
		.tail_cnt = load->result.tail_cnt,
		.ctx_words = load->result.ctx_words,
		.facts = load->result.facts,
		.load_time_ns = (u64)now.tv_sec * 1000000000u + (u64)now.tv_nsec,
		.verified_insns = load->result.insn_processed,
		.created_by_uid = geteuid(),
		.btf_id = load->btf ? load->btf->id : 0,
		.xlated_orig_cnt = attr->insn_cnt,
		.license_gpl = load->gpl,
	};
	if (load_policy.blinded)
		header->facts |= IMAGE_FACT_BLIND;
	if (load_policy.retpolines)
		header->facts |= IMAGE_FACT_RETPOLINE;
	/* What comes behind a tail call may want anything. */
	if (header->facts & IMAGE_FACT_TAIL_CALL) {
		header->facts |= IMAGE_FACT_FUNC_IP | IMAGE_FACT_COOKIE | IMAGE_FACT_PERCPU |
				 IMAGE_FACT_STACK;
		header->ctx_words = ~0u;
	}
	memcpy(header->tag, load->tag, sizeof(header->tag));
	memcpy(header->name, load->name, sizeof(header->name));
	header->total_size = lay_out(load, header);
}

static void fill_tables(const struct load *load, char *image)
{
	const struct image_header *header = (const void *)image;
	struct image_subprog *subprogs = (void *)(image + header->subprogs_off);
	struct image_map_ref *maps = (void *)(image + header->maps_off);
	struct image_tail *tails = (void *)(image + header->tails_off);

	memcpy(image + header->insns_off, load->insns, header->insn_cnt * sizeof(struct bpf_insn));
	for (u32 i = 0; i < header->subprog_cnt; i++) {
		subprogs[i].start = load->result.subprogs[i].start;
		subprogs[i].stack_depth = load->result.subprogs[i].stack_depth;
	}
	for (u32 i = 0; i < header->tail_cnt; i++) {
		tails[i] = (struct image_tail){.insn = load->result.tails[i].insn,
					       .map_index = load->result.tails[i].map_index,
					       .key = load->result.tails[i].key};
	}
	for (u32 i = 0; i < header->map_cnt; i++) {
		const struct object *map = map_with_id(load, load->result.map_ids[i]);

		maps[i].map_id = load->result.map_ids[i];
		maps[i].map_type = map ? map->map->spec.type : 0;
	}
	if (header->func_info_off)
		memcpy(image + header->func_info_off, load->func_info,
		       header->func_info_cnt * header->func_info_rec);
	if (header->line_info_off)
		memcpy(image + header->line_info_off, load->line_info,
		       header->line_info_cnt * header->line_info_rec);
}

/* Returns the sealed memfd or -errno. */
static int write_image(const struct load *load, u32 id)
{
	struct image_header header;
	char *image;
	int fd;

	fill_header(load, id, &header);
	image = calloc(1, header.total_size);
	if (!image)
		return -ENOMEM;
	memcpy(image, &header, sizeof(header));
	fill_tables(load, image);
	fd = sys_memfd_create("inlay-prog", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0 && sys_pwrite(fd, image, header.total_size, 0) != (long)header.total_size) {
		sys_close(fd);
		fd = -ENOMEM;
	}
	free(image);
	if (fd >= 0)
		sys_fcntl(fd, F_ADD_SEALS,
			  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	return fd;
}

static int fill_object(struct load *load, struct object *object, int fd)
{
	struct object_program *program = &object->program;
	int error = prog_map_image(object, fd);

	if (error)
		return error;
	program->maps = calloc(load->result.map_cnt + 1, sizeof(struct object *));
	if (!program->maps)
		return -ENOMEM;
	program->map_cnt = load->result.map_cnt;
	for (u32 i = 0; i < program->map_cnt; i++) {
		struct object *map = map_with_id(load, load->result.map_ids[i]);

		program->maps[i] = map ? objects_ref(map) : NULL;
	}
	program->btf = load->btf ? objects_ref(load->btf) : NULL;
	program->traced = load->target.btf ? objects_ref(load->target.btf) : NULL;
	program->traced_id = load->target.id;
	program->signature = load->target.signature;
	/* A stated length asks to keep everything in the array; BTF in it is for kernel functions and is not kept. */
	for (u32 i = 0; i < load->command->prog_load.fd_array_cnt && !error; i++) {
		const struct verify_map *facts = map_by_fd(load, load->fd_array[i]);

		if (facts)
			error = prog_bind(object, map_with_id(load, facts->id));
	}
	return error;
}

static long enter_program(struct load *load)
{
	int id = registry_new_id(OBJECT_PROG), fd, error;
	struct object *object;

	if (id < 0)
		return id;
	object = calloc(1, sizeof(*object));
	if (!object)
		return -ENOMEM;
	object->kind = OBJECT_PROG;
	object->id = (u32)id;
	fd = write_image(load, object->id);
	if (fd < 0) {
		free(object);
		return fd;
	}
	object->fd = fd;
	error = fill_object(load, object, fd);
	if (!error)
		error = prog_array_check_user(object);
	if (!error)
		error = objects_enter(object, fd, load->name);
	if (error) {
		objects_discard(object);
		return error;
	}
	fd = objects_client_fd(object);
	objects_put(object);
	return fd;
}

static void tell_verdict(const struct load *load, int verdict)
{
	struct object_verdict told = {
		.name = load->name,
		.error = verdict,
		.insns = load->result.insn_processed,
		.states = load->result.total_states,
		.time_ns = load->result.time_ns,
		.reason = load->result.reason,
		.source = load->result.reason_source,
		.line = load->result.reason_line,
		.column = load->result.reason_column,
		.log = load->log.text ? load->log.text : "",
		.log_length = load->log.length,
	};

	if (verdict_hook)
		verdict_hook(&told, verdict_opaque);
}

static long load_program(struct load *load)
{
	const union bpf_attr *attr = &load->command->attr;
	struct log_request request = {attr->log_level, attr->log_size, attr->log_buf};
	u32 true_size = 0;
	int error, verdict;

	error = check_attr(load->command);
	if (error)
		return error;
	load->attach_type = prog_type_fix_attach(attr->prog_type, attr->expected_attach_type);
	error = prog_type_check_attach(attr->prog_type, load->attach_type);
	if (!error)
		error = read_all(load);
	if (!error)
		error = log_check(&request);
	if (error)
		return error;
	verdict = attach_target_find(attr, &load->target, load->result.reason,
				     sizeof(load->result.reason));
	if (!verdict)
		verdict = verify(load, attr->log_level);
	tell_verdict(load, verdict);
	error = log_finish(&request, load->log.text ? load->log.text : "", load->log.length,
			   &true_size);
	if (COMMAND_RESULT(load->command, prog_load.log_true_size, true_size))
		error = -EFAULT;
	if (error || verdict)
		return error ? error : verdict;
	return enter_program(load);
}

long prog_load_command(struct command *command)
{
	struct load *load = calloc(1, sizeof(*load));
	long result;

	if (!load)
		return -ENOMEM;
	load->command = command;
	result = load_program(load);
	for (u32 i = 0; i < load->map_cnt; i++)
		objects_put(load->maps[i].object);
	objects_put(load->btf);
	objects_put(load->target.btf);
	verify_log_free(&load->log);
	free(load->insns);
	free(load->func_info);
	free(load->line_info);
	free(load->fd_array);
	free(load);
	return result;
}
