/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BPF_OBJ_GET_INFO_BY_FD. The info structures are in and out: the client says how much room its arrays have, and learns how
 * much there is.
 */
#include <stdlib.h>
#include <string.h>

#include "format/btf.h"
#include "format/insn.h"
#include "maps/map.h"
#include "object/command.h"
#include "object/prog.h"

#define INFO_MAX 4096

/* Reads the client's structure, zero-extended to size. Longer ones must end in zeros. */
static int read_info(const struct command *command, void *info, u32 size)
{
	u32 given = command->attr.info.info_len;
	u8 rest[INFO_MAX];

	if (given > INFO_MAX)
		return -E2BIG;
	if (given > size) {
		if (user_read(rest, command->attr.info.info + size, given - size))
			return -EFAULT;
		for (u32 i = 0; i < given - size; i++) {
			if (rest[i])
				return -E2BIG;
		}
	}
	memset(info, 0, size);
	return user_read(info, command->attr.info.info, MIN(given, size));
}

static int write_info(const struct command *command, const void *info, u32 size)
{
	u32 length = MIN(command->attr.info.info_len, size);
	int error = user_write(command->attr.info.info, info, length);

	return error ? error : COMMAND_RESULT(command, attr.info.info_len, length);
}

/* An array of the client's: *count is its room before, what there is after. */
static int give_array(u64 to, u32 *count, u32 there, u32 each, const void *from)
{
	u32 given = MIN(*count, there);

	*count = there;
	return given && from ? user_write(to, from, (size_t)given * each) : 0;
}

static int give_map_ids(const struct object_program *program, struct bpf_prog_info *info)
{
	u32 ids[IMAGE_MAX_MAPS], count = 0;
	const struct image_map_ref *refs = image_maps(program->image);

	for (u32 i = 0; i < program->map_cnt && count < IMAGE_MAX_MAPS; i++)
		ids[count++] = refs[i].map_id;
	for (u32 i = 0; i < program->bound_cnt && count < IMAGE_MAX_MAPS; i++)
		ids[count++] = program->bound[i]->id;
	return give_array(info->map_ids, &info->nr_map_ids, count, sizeof(u32), ids);
}

/* As the kernel shows them: a map is named by its id. */
static int give_xlated(const struct object_program *program, struct bpf_prog_info *info)
{
	const struct image_header *image = program->image;
	const struct image_map_ref *refs = image_maps(image);
	u32 bytes = image->insn_cnt * (u32)sizeof(struct bpf_insn);
	struct bpf_insn *insns;
	int error;

	insns = malloc(bytes);
	if (!insns)
		return -ENOMEM;
	memcpy(insns, image_insns(image), bytes);
	for (u32 i = 0; i < image->insn_cnt; i++) {
		if (!insn_is_ld_imm64(&insns[i]))
			continue;
		if (insns[i].src_reg == INSN_PSEUDO_MAP_FD ||
		    insns[i].src_reg == INSN_PSEUDO_MAP_VALUE)
			insns[i].imm = (s32)refs[insns[i].imm].map_id;
		i++;
	}
	error = give_array(info->xlated_prog_insns, &info->xlated_prog_len, bytes, 1, insns);
	free(insns);
	return error;
}

/* The whole program is one function of machine code. Compiled here on request: programs are loaded, not compiled, at load. */
static int give_jited(struct object *object, struct bpf_prog_info *info)
{
	struct exec_code *code = prog_code(object);
	u64 address = code ? ptr_to_u64(code->text) : 0;
	int error;

	if (!code) {
		info->jited_prog_len = 0;
		info->nr_jited_ksyms = 0;
		info->nr_jited_func_lens = 0;
		return 0;
	}
	error = give_array(info->jited_prog_insns, &info->jited_prog_len, code->size, 1,
			   code->text);
	if (!error)
		error = give_array(info->jited_ksyms, &info->nr_jited_ksyms, 1, sizeof(u64),
				   &address);
	if (!error)
		error = give_array(info->jited_func_lens, &info->nr_jited_func_lens, 1, sizeof(u32),
				   &code->size);
	return error;
}

static int give_debug_info(const struct object_program *program, struct bpf_prog_info *info)
{
	const struct image_header *image = program->image;
	const char *base = (const char *)image;
	u32 none = 0;
	int error;

	info->btf_id = image->btf_id;
	error = give_array(info->func_info, &info->nr_func_info, image->func_info_cnt,
			   image->func_info_rec, base + image->func_info_off);
	if (!error)
		error = give_array(info->line_info, &info->nr_line_info, image->line_info_cnt,
				   image->line_info_rec, base + image->line_info_off);
	info->func_info_rec_size =
		image->func_info_cnt ? image->func_info_rec : sizeof(struct bpf_func_info);
	info->line_info_rec_size =
		image->line_info_cnt ? image->line_info_rec : sizeof(struct bpf_line_info);
	info->jited_line_info_rec_size = sizeof(u64);
	give_array(info->jited_line_info, &info->nr_jited_line_info, none, sizeof(u64), NULL);
	return error;
}

static int check_record_sizes(const struct bpf_prog_info *info)
{
	if ((info->nr_func_info || info->func_info_rec_size) &&
	    info->func_info_rec_size != sizeof(struct bpf_func_info))
		return -EINVAL;
	if ((info->nr_line_info || info->line_info_rec_size) &&
	    info->line_info_rec_size != sizeof(struct bpf_line_info))
		return -EINVAL;
	if ((info->nr_jited_line_info || info->jited_line_info_rec_size) &&
	    info->jited_line_info_rec_size != sizeof(u64))
		return -EINVAL;
	return 0;
}

static int give_prog(const struct command *command, struct object *object)
{
	const struct object_program *program = &object->program;
	const struct image_header *image = program->image;
	struct bpf_prog_info info;
	int error = read_info(command, &info, sizeof(info));

	if (!error)
		error = check_record_sizes(&info);
	if (error)
		return error;
	info.type = image->prog_type;
	info.id = object->id;
	memcpy(info.tag, image->tag, sizeof(info.tag));
	memcpy(info.name, image->name, sizeof(info.name));
	info.load_time = image->load_time_ns;
	info.created_by_uid = image->created_by_uid;
	info.gpl_compatible = image->license_gpl != 0;
	info.verified_insns = image->verified_insns;
	info.run_cnt = __atomic_load_n(&program->runs, __ATOMIC_RELAXED);
	info.run_time_ns = __atomic_load_n(&program->run_time_ns, __ATOMIC_RELAXED);
	error = give_map_ids(program, &info);
	if (!error)
		error = give_xlated(program, &info);
	if (!error)
		error = give_jited(object, &info);
	if (!error)
		error = give_debug_info(program, &info);
	if (!error)
		error = give_array(info.prog_tags, &info.nr_prog_tags, 1, BPF_TAG_SIZE, image->tag);
	return error ? error : write_info(command, &info, sizeof(info));
}

static int give_map(const struct command *command, struct object *object)
{
	const struct map_spec *spec = &object->map->spec;
	struct bpf_map_info info;
	int error = read_info(command, &info, sizeof(info));

	if (error)
		return error;
	info = (struct bpf_map_info){
		.type = spec->type,
		.id = object->id,
		.key_size = spec->key_size,
		.value_size = spec->value_size,
		.max_entries = spec->max_entries,
		.map_flags = spec->flags,
		.btf_id = spec->btf_id,
		.btf_key_type_id = spec->btf_key_type_id,
		.btf_value_type_id = spec->btf_value_type_id,
	};
	memcpy(info.name, spec->name, sizeof(info.name));
	return write_info(command, &info, sizeof(info));
}

/*
 * A binary whose functions programs may be attached to stands for the program that has them:
 * bpf_program__set_attach_target asks that for its BTF.
 */
static int give_target(const struct command *command, const struct object *object)
{
	struct bpf_prog_info info;
	int error = read_info(command, &info, sizeof(info));

	if (error)
		return error;
	memset(&info, 0, sizeof(info));
	info.id = object->id;
	info.btf_id = object->id;
	return write_info(command, &info, sizeof(info));
}

static int give_btf(const struct command *command, struct object *object)
{
	const struct object_header *header = object->btf.header;
	struct bpf_btf_info info;
	int error;

	if (object->btf.target && command->attr.info.info_len > sizeof(info))
		return give_target(command, object);
	error = read_info(command, &info, sizeof(info));
	if (error)
		return error;
	info.id = object->id;
	error = give_array(info.btf, &info.btf_size, header->size, 1, header + 1);
	if (error)
		return error;
	info.kernel_btf = 0;
	if (!info.name != !info.name_len)
		return -EINVAL;
	if (info.name_len) {
		if (user_write(info.name, "", 1))
			return -EFAULT;
		info.name_len = 0;
	}
	return write_info(command, &info, sizeof(info));
}

static int give_link(const struct command *command, struct object *object)
{
	const struct link_info *link = (const void *)(object->link.header + 1);
	struct bpf_link_info info;
	int error = read_info(command, &info, sizeof(info));

	if (error)
		return error;
	info.type = link->type;
	info.id = object->id;
	info.prog_id = link->prog_id;
	return write_info(command, &info, sizeof(info));
}

long info_command(struct command *command)
{
	static int (*const give[OBJECT_KINDS])(const struct command *command,
					       struct object *object) = {
		[OBJECT_MAP] = give_map,
		[OBJECT_PROG] = give_prog,
		[OBJECT_BTF] = give_btf,
		[OBJECT_LINK] = give_link,
	};
	struct object *object;
	int error = objects_get_any((int)command->attr.info.bpf_fd, &object);

	if (error)
		return error == -EBADF ? -EBADFD : error;
	error = give[object->kind](command, object);
	objects_put(object);
	return error;
}
