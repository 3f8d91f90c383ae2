/* SPDX-License-Identifier: BSD-2-Clause */
/* Maps: creation and the commands on one element. */
#include "object/map.h"

#include <stdlib.h>
#include <string.h>

#include "format/btf.h"
#include "object/command.h"
#include "object/object.h"
#include "object/prog_array.h"

int object_import_map(struct object *object, int fd, int event_fd)
{
	return map_open(fd, event_fd, &object->map);
}

void object_release_map(struct object *object)
{
	prog_array_gone(object);
	map_close(object->map);
	objects_put(object->map_btf);
}

int map_get(int fd, u32 access, struct object **ret_object)
{
	struct object *object;
	int error = objects_get(OBJECT_MAP, fd, &object);
	u32 flags;

	if (error)
		return error;
	flags = object->map->spec.flags;
	if (((access & MAP_READ) && (flags & BPF_F_WRONLY)) ||
	    ((access & MAP_WRITE) && ((flags & BPF_F_RDONLY) || object->map->shared->frozen))) {
		objects_put(object);
		return -EPERM;
	}
	*ret_object = object;
	return 0;
}

struct map *object_map_view(int map_fd)
{
	struct object *object;
	struct map *map;

	if (objects_get(OBJECT_MAP, map_fd, &object))
		return NULL;
	map = object->map;
	objects_put(object);
	return map;
}

/* Do the types that the client names describe keys and values of these sizes? */
static int check_types(const struct btf *btf, const struct map_spec *spec, u32 key_id, u32 value_id)
{
	const struct btf_type *value = btf_type_at(btf, value_id);

	if (!value || btf_size_of(btf, value_id) != spec->value_size)
		return -EINVAL;
	if (key_id)
		return btf_size_of(btf, key_id) == spec->key_size ? 0 : -EINVAL;
	/* A key of type void: a data section in an array of one. */
	if (spec->type != BPF_MAP_TYPE_ARRAY || spec->max_entries != 1 ||
	    BTF_INFO_KIND(value->info) != BTF_KIND_DATASEC)
		return -EINVAL;
	return 0;
}

static int check_btf(const struct command *command, struct map_spec *spec)
{
	u32 key_id = command->attr.btf_key_type_id, value_id = command->attr.btf_value_type_id;
	struct object *btf;
	int error;

	if (!key_id && !value_id)
		return 0;
	error = objects_get(OBJECT_BTF, (int)command->attr.btf_fd, &btf);
	if (error)
		return error;
	error = check_types(btf->btf.types, spec, key_id, value_id);
	if (!error) {
		spec->btf_id = btf->id;
		spec->btf_key_type_id = key_id;
		spec->btf_value_type_id = value_id;
	}
	objects_put(btf);
	return error;
}

static int check_create(const struct command *command)
{
	const union bpf_attr *attr = &command->attr;

	if (attr->btf_vmlinux_value_type_id)
		return -EINVAL;
	if (attr->btf_key_type_id && !attr->btf_value_type_id)
		return -EINVAL;
	if (attr->map_type != BPF_MAP_TYPE_BLOOM_FILTER && attr->map_extra)
		return -EINVAL;
	if ((attr->map_flags & BPF_F_RDONLY) && (attr->map_flags & BPF_F_WRONLY))
		return -EINVAL;
	if ((attr->map_flags & BPF_F_NUMA_NODE) && attr->numa_node)
		return -EINVAL;
	return 0;
}

/* The BTF must outlive the map as far as this process goes: its id is looked up again for info. */
static struct object *keep_btf(const struct map_spec *spec)
{
	struct object *btf = NULL;

	if (spec->btf_id)
		objects_get_id(OBJECT_BTF, spec->btf_id, &btf);
	return btf;
}

static long enter_map(const struct map_spec *spec, u32 id)
{
	struct object *object = calloc(1, sizeof(*object));
	int error, fd;

	if (!object)
		return -ENOMEM;
	error = map_create(spec, id, &object->map);
	if (error) {
		free(object);
		return error;
	}
	object->kind = OBJECT_MAP;
	object->id = id;
	error = objects_enter(object, object->map->fd, spec->name);
	if (error) {
		objects_discard(object);
		return error;
	}
	object->map_btf = keep_btf(spec);
	prog_array_appeared(object);
	fd = objects_client_fd(object);
	objects_put(object);
	return fd;
}

long map_create_command(struct command *command)
{
	const union bpf_attr *attr = &command->attr;
	const struct map_ops *ops;
	struct map_spec spec = {
		.type = attr->map_type,
		.key_size = attr->key_size,
		.value_size = attr->value_size,
		.max_entries = attr->max_entries,
		.flags = attr->map_flags,
	};
	int error = check_create(command), id;

	if (error)
		return error;
	ops = map_ops_of(spec.type);
	if (!ops)
		return -EINVAL;
	error = ops->check ? ops->check(&spec) : 0;
	if (!error)
		error = command_name(attr->map_name, spec.name);
	if (!error)
		error = check_btf(command, &spec);
	if (error)
		return error;
	id = registry_new_id(OBJECT_MAP);
	return id < 0 ? id : enter_map(&spec, (u32)id);
}

int map_read_key(const struct map *map, u64 from, void **ret_key)
{
	u32 size = map->spec.key_size;

	if (!size && from)
		return -EINVAL;
	return user_copy(from, size, ret_key);
}

/* No map of ours has a spin lock in its values, so nothing can be asked to be done under it. */
static int check_element_flags(u64 flags)
{
	return flags ? -EINVAL : 0;
}

static int lookup_to_client(struct map *map, u64 key_at, u64 value_at)
{
	u32 size = map_value_bytes(map);
	void *key, *value;
	int error = map_read_key(map, key_at, &key);

	if (error)
		return error;
	value = calloc(1, size ? size : 1);
	error = value ? map_copy_out(map, key, value) : -ENOMEM;
	if (!error)
		error = user_write(value_at, value, size);
	free(value);
	free(key);
	return error;
}

long map_lookup_command(struct command *command)
{
	struct object *object;
	int error;

	if (command->attr.flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	error = map_get((int)command->attr.map_fd, MAP_READ, &object);
	if (error)
		return error;
	error = check_element_flags(command->attr.flags);
	if (!error)
		error = lookup_to_client(object->map, command->attr.key, command->attr.value);
	objects_put(object);
	return error;
}

static int update_from_client(struct object *object, const union bpf_attr *attr)
{
	struct map *map = object->map;
	void *key, *value;
	int error = map_read_key(map, attr->key, &key);

	if (error)
		return error;
	error = user_copy(attr->value, map_value_bytes(map), &value);
	if (!error) {
		error = map->spec.type == BPF_MAP_TYPE_PROG_ARRAY
				? prog_array_update(object, key, value, attr->flags)
				: map_copy_in(map, key, value, attr->flags);
		free(value);
	}
	free(key);
	return error;
}

long map_update_command(struct command *command)
{
	struct object *object;
	int error = map_get((int)command->attr.map_fd, MAP_WRITE, &object);

	if (error)
		return error;
	error = command->attr.flags & BPF_F_LOCK ? -EINVAL
						 : update_from_client(object, &command->attr);
	objects_put(object);
	return error;
}

long map_delete_command(struct command *command)
{
	struct object *object;
	void *key;
	int error = map_get((int)command->attr.map_fd, MAP_WRITE, &object);

	if (error)
		return error;
	error = map_read_key(object->map, command->attr.key, &key);
	if (!error) {
		error = object->map->spec.type == BPF_MAP_TYPE_PROG_ARRAY
				? prog_array_delete(object, key)
				: map_delete_key(object->map, key);
		free(key);
	}
	objects_put(object);
	return error;
}

static int next_key_to_client(struct map *map, u64 key_at, u64 next_at)
{
	u32 size = map->spec.key_size;
	void *key = NULL, *next;
	int error = key_at ? map_read_key(map, key_at, &key) : 0;

	if (error)
		return error;
	next = calloc(1, size ? size : 1);
	error = next ? map_next_key(map, key, next) : -ENOMEM;
	if (!error)
		error = user_write(next_at, next, size);
	free(next);
	free(key);
	return error;
}

long map_next_key_command(struct command *command)
{
	struct object *object;
	int error = map_get((int)command->attr.map_fd, MAP_READ, &object);

	if (error)
		return error;
	error = next_key_to_client(object->map, command->attr.key, command->attr.next_key);
	objects_put(object);
	return error;
}

static int take_to_client(struct map *map, u64 key_at, u64 value_at)
{
	u32 size = map_value_bytes(map);
	void *key, *value;
	int error = map_read_key(map, key_at, &key);

	if (error)
		return error;
	value = calloc(1, size ? size : 1);
	error = value ? map_take_out(map, key, value) : -ENOMEM;
	if (!error)
		error = user_write(value_at, value, size);
	free(value);
	free(key);
	return error;
}

long map_lookup_and_delete_command(struct command *command)
{
	struct object *object;
	int error;

	if (command->attr.flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	error = map_get((int)command->attr.map_fd, MAP_READ | MAP_WRITE, &object);
	if (error)
		return error;
	error = check_element_flags(command->attr.flags);
	if (!error)
		error = take_to_client(object->map, command->attr.key, command->attr.value);
	objects_put(object);
	return error;
}

long map_freeze_command(struct command *command)
{
	struct object *object;
	u32 thawed = 0;
	int error = map_get((int)command->attr.map_fd, MAP_WRITE, &object);

	if (error)
		return error;
	if (!__atomic_compare_exchange_n(&object->map->shared->frozen, &thawed, 1, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		error = -EBUSY;
	objects_put(object);
	return error;
}
