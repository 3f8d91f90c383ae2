/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf(2): the command table, and the rules about attributes that hold for every command. */
#include "object/command.h"

#include <ctype.h>
#include <string.h>

#include "base/sys.h"
#include "object/object.h"

#define MAX_ATTR_BYTES	  4096

#define END(field)	  (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))
#define TAIL(type, field) (offsetof(struct type, field) + sizeof(((struct type *)0)->field))

static long answer_unsupported(struct command *command)
{
	(void)command;
	return -EOPNOTSUPP;
}

static long answer_invalid(struct command *command)
{
	(void)command;
	return -EINVAL;
}

/* Without the kernel nothing can be pinned into a BPF file system, and a path cannot lead to one. */
static long answer_pin(struct command *command)
{
	struct object *object;
	int error = objects_get_any((int)command->attr.bpf_fd, &object);

	if (error)
		return error;
	objects_put(object);
	return -EPERM;
}

static long answer_pinned(struct command *command)
{
	char path[4096];
	int error = user_read_string(path, command->attr.pathname, sizeof(path));

	return error < 0 ? error : -ENOENT;
}

/* Program run times are always kept; the client gets a descriptor to close, as it expects. */
static long answer_stats(struct command *command)
{
	if (command->attr.enable_stats.type != BPF_STATS_RUN_TIME)
		return -EINVAL;
	return sys_eventfd2(0, O_CLOEXEC);
}

/*
 * known: where the command's last field ends; what lies behind it must be zero (-EINVAL).
 */
static const struct row {
	long (*run)(struct command *command);
	u32 known;
} table[] = {
	[BPF_MAP_CREATE] = {map_create_command, TAIL(attr_map_create_tail, excl_prog_hash_size)},
	[BPF_MAP_LOOKUP_ELEM] = {map_lookup_command, END(flags)},
	[BPF_MAP_UPDATE_ELEM] = {map_update_command, END(flags)},
	[BPF_MAP_DELETE_ELEM] = {map_delete_command, END(key)},
	[BPF_MAP_GET_NEXT_KEY] = {map_next_key_command, END(next_key)},
	[BPF_PROG_LOAD] = {prog_load_command, TAIL(attr_prog_load_tail, keyring_id)},
	[BPF_OBJ_PIN] = {answer_pin, 20},
	[BPF_OBJ_GET] = {answer_pinned, 20},
	[BPF_PROG_ATTACH] = {answer_invalid, ATTR_SIZE},
	[BPF_PROG_DETACH] = {answer_invalid, ATTR_SIZE},
	[BPF_PROG_TEST_RUN] = {prog_test_run_command, END(test.batch_size)},
	[BPF_PROG_GET_NEXT_ID] = {prog_next_id_command, END(next_id)},
	[BPF_MAP_GET_NEXT_ID] = {map_next_id_command, END(next_id)},
	[BPF_PROG_GET_FD_BY_ID] = {prog_by_id_command, END(prog_id)},
	[BPF_MAP_GET_FD_BY_ID] = {map_by_id_command, END(open_flags)},
	[BPF_OBJ_GET_INFO_BY_FD] = {info_command, END(info.info)},
	[BPF_PROG_QUERY] = {answer_invalid, ATTR_SIZE},
	[BPF_RAW_TRACEPOINT_OPEN] = {raw_tracepoint_command, 24},
	[BPF_BTF_LOAD] = {btf_load_command, TAIL(attr_btf_load_tail, token_fd)},
	[BPF_BTF_GET_FD_BY_ID] = {btf_by_id_command, 16},
	[BPF_TASK_FD_QUERY] = {answer_unsupported, ATTR_SIZE},
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = {map_lookup_and_delete_command, END(flags)},
	[BPF_MAP_FREEZE] = {map_freeze_command, END(map_fd)},
	[BPF_BTF_GET_NEXT_ID] = {btf_next_id_command, END(next_id)},
	[BPF_MAP_LOOKUP_BATCH] = {map_lookup_batch_command, END(batch.flags)},
	[BPF_MAP_LOOKUP_AND_DELETE_BATCH] = {map_lookup_and_delete_batch_command, END(batch.flags)},
	[BPF_MAP_UPDATE_BATCH] = {map_update_batch_command, END(batch.flags)},
	[BPF_MAP_DELETE_BATCH] = {map_delete_batch_command, END(batch.flags)},
	[BPF_LINK_CREATE] = {link_create_command, TAIL(abi_link_create_uprobe_multi, pid)},
	[BPF_LINK_UPDATE] = {link_update_command, END(link_update.old_prog_fd)},
	[BPF_LINK_GET_FD_BY_ID] = {link_by_id_command, END(link_id)},
	[BPF_LINK_GET_NEXT_ID] = {link_next_id_command, END(next_id)},
	[BPF_ENABLE_STATS] = {answer_stats, END(enable_stats.type)},
	[BPF_ITER_CREATE] = {answer_invalid, END(iter_create.flags)},
	[BPF_LINK_DETACH] = {link_detach_command, END(link_detach.link_fd)},
	[BPF_PROG_BIND_MAP] = {prog_bind_map_command, END(prog_bind_map.flags)},
};

static bool is_zero(const u8 *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

/* A client newer than us sends a longer attr: fine while it does not use what we do not know. */
static int read_attr(struct command *command, u64 client, u32 size)
{
	u8 rest[MAX_ATTR_BYTES];
	u32 known = MIN(size, ATTR_SIZE);
	int error;

	if (size > MAX_ATTR_BYTES)
		return -E2BIG;
	if (size > ATTR_SIZE) {
		error = user_read(rest, client + ATTR_SIZE, size - ATTR_SIZE);
		if (error)
			return error;
		if (!is_zero(rest, size - ATTR_SIZE))
			return -E2BIG;
	}
	memset(command, 0, sizeof(*command));
	command->client = client;
	command->client_size = known;
	return user_read(command->bytes, client, known);
}

int command_result(const struct command *command, size_t offset, const void *value, size_t size)
{
	if (offset + size > command->client_size)
		return 0;
	return user_write(command->client + offset, value, size);
}

int command_name(const char *from, char *ret_name)
{
	char name[BPF_OBJ_NAME_LEN] = {0};
	size_t i;

	for (i = 0; i < BPF_OBJ_NAME_LEN && from[i]; i++) {
		if (!isalnum((unsigned char)from[i]) && from[i] != '_' && from[i] != '.')
			return -EINVAL;
		name[i] = from[i];
	}
	if (i == BPF_OBJ_NAME_LEN)
		return -EINVAL;
	memcpy(ret_name, name, sizeof(name));
	return 0;
}

long object_bpf(int cmd, union bpf_attr *attr, unsigned int size)
{
	struct command command;
	const struct row *row;
	int error;

	error = read_attr(&command, ptr_to_u64(attr), size);
	if (error)
		return error;
	if (cmd < 0 || (size_t)cmd >= ARRAY_SIZE(table) || !table[cmd].run)
		return -EINVAL;
	row = &table[cmd];
	if (!is_zero(command.bytes + row->known, ATTR_SIZE - row->known))
		return -EINVAL;
	error = registry_open();
	if (error)
		return error;
	objects_adopt();
	return row->run(&command);
}
