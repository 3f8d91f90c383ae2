/* SPDX-License-Identifier: BSD-2-Clause */
/* Iterating over objects, and descriptors by id. */
#include <limits.h>

#include "object/command.h"

static long next_id(struct command *command, enum object_kind kind)
{
	u32 id = command->attr.start_id;

	if (id >= INT_MAX)
		return -EINVAL;
	id = registry_next(kind, id);
	if (!id)
		return -ENOENT;
	return COMMAND_RESULT(command, attr.next_id, id);
}

long prog_next_id_command(struct command *command)
{
	return next_id(command, OBJECT_PROG);
}

long map_next_id_command(struct command *command)
{
	return next_id(command, OBJECT_MAP);
}

long btf_next_id_command(struct command *command)
{
	return next_id(command, OBJECT_BTF);
}

long link_next_id_command(struct command *command)
{
	return next_id(command, OBJECT_LINK);
}

static long descriptor_of(enum object_kind kind, u32 id)
{
	struct object *object;
	long result = objects_get_id(kind, id, &object);

	if (result)
		return result;
	result = objects_client_fd(object);
	objects_put(object);
	return result;
}

long prog_by_id_command(struct command *command)
{
	return descriptor_of(OBJECT_PROG, command->attr.prog_id);
}

long map_by_id_command(struct command *command)
{
	u32 flags = command->attr.open_flags;

	if ((flags & ~(u32)(BPF_F_RDONLY | BPF_F_WRONLY)) ||
	    (flags & BPF_F_RDONLY && flags & BPF_F_WRONLY))
		return -EINVAL;
	return descriptor_of(OBJECT_MAP, command->attr.map_id);
}

long btf_by_id_command(struct command *command)
{
	return descriptor_of(OBJECT_BTF, command->attr.btf_id);
}

long link_by_id_command(struct command *command)
{
	return descriptor_of(OBJECT_LINK, command->attr.link_id);
}
