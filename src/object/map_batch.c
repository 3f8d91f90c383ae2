/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The batch commands. Arrays continue from the last key (the client's cursor has key_size bytes); for hash types the
 * cursor has four bytes, as the kernel's bucket number has: here it counts the elements that were passed over.
 */
#include <stdlib.h>
#include <string.h>

#include "object/command.h"
#include "object/map.h"

/* What the loops need: buffers for one element. */
struct batch {
	struct map *map;
	const union bpf_attr *attr;
	char *key, *last, *value;
	u32 key_size, value_size;
	u32 done;
};

static int batch_begin(struct batch *batch, struct map *map, const union bpf_attr *attr)
{
	u32 key_size = map->spec.key_size, value_size = map_value_bytes(map);

	*batch = (struct batch){
		.map = map, .attr = attr, .key_size = key_size, .value_size = value_size};
	batch->key = calloc(1, 2 * (size_t)key_size + value_size + 16);
	if (!batch->key)
		return -ENOMEM;
	batch->last = batch->key + key_size;
	batch->value = batch->last + key_size;
	return 0;
}

static int read_element(struct batch *batch, bool with_value)
{
	u64 keys = batch->attr->batch.keys + (u64)batch->done * batch->key_size;
	u64 values = batch->attr->batch.values + (u64)batch->done * batch->value_size;
	int error = user_read(batch->key, keys, batch->key_size);

	return error || !with_value ? error : user_read(batch->value, values, batch->value_size);
}

static int write_element(struct batch *batch)
{
	u64 keys = batch->attr->batch.keys + (u64)batch->done * batch->key_size;
	u64 values = batch->attr->batch.values + (u64)batch->done * batch->value_size;
	int error = user_write(keys, batch->key, batch->key_size);

	return error ? error : user_write(values, batch->value, batch->value_size);
}

/* Goes to where the last batch ended. -ENOENT: the elements end before. */
static int find_start(struct batch *batch, const void **last, u32 *ret_passed)
{
	u64 cursor = batch->attr->batch.in_batch;
	u32 skip;
	int error = 0;

	*last = NULL;
	*ret_passed = 0;
	if (!cursor)
		return 0;
	if (!map_is_hash(batch->map->spec.type)) {
		error = user_read(batch->last, cursor, batch->key_size);
		*last = batch->last;
		return error;
	}
	error = user_read(&skip, cursor, sizeof(skip));
	for (u32 i = 0; i < skip && !error; i++) {
		error = map_next_key(batch->map, *last, batch->key);
		memcpy(batch->last, batch->key, batch->key_size);
		*last = batch->last;
	}
	*ret_passed = skip;
	return error;
}

static int write_cursor(const struct batch *batch, u32 passed)
{
	if (map_is_hash(batch->map->spec.type))
		return user_write(batch->attr->batch.out_batch, &passed, sizeof(passed));
	return batch->done ? user_write(batch->attr->batch.out_batch, batch->last, batch->key_size)
			   : 0;
}

static int lookup_loop(struct batch *batch, bool take)
{
	struct map *map = batch->map;
	const void *last;
	u32 passed;
	int error = find_start(batch, &last, &passed);

	while (!error && batch->done < batch->attr->batch.count) {
		error = map_next_key(map, last, batch->key);
		if (error)
			break;
		error = take ? map_take_out(map, batch->key, batch->value)
			     : map_copy_out(map, batch->key, batch->value);
		if (!error) {
			error = write_element(batch);
			batch->done += !error;
		} else if (error == -ENOENT) {
			error = 0; /* deleted since next_key */
		}
		/* What was taken is gone: the next is the first again. */
		memcpy(batch->last, batch->key, batch->key_size);
		last = take ? NULL : batch->last;
		passed += !take;
	}
	if (error == -EFAULT)
		return error;
	return write_cursor(batch, passed) ? -EFAULT : error;
}

static int update_loop(struct batch *batch)
{
	int error = 0;

	while (!error && batch->done < batch->attr->batch.count) {
		error = read_element(batch, true);
		if (!error)
			error = map_copy_in(batch->map, batch->key, batch->value,
					    batch->attr->batch.elem_flags);
		batch->done += !error;
	}
	return error;
}

static int delete_loop(struct batch *batch)
{
	int error = 0;

	while (!error && batch->done < batch->attr->batch.count) {
		error = read_element(batch, false);
		if (!error)
			error = map_delete_key(batch->map, batch->key);
		batch->done += !error;
	}
	return error;
}

static int lookup_all(struct batch *batch)
{
	return lookup_loop(batch, false);
}

static int take_all(struct batch *batch)
{
	return lookup_loop(batch, true);
}

static int run_loop(struct command *command, struct map *map, int (*loop)(struct batch *batch))
{
	struct batch batch;
	int error;

	if (command->attr.batch.elem_flags)
		return -EINVAL;
	/* As the kernel's: only its hash tables look. */
	if (command->attr.batch.flags && (loop == lookup_all || loop == take_all) &&
	    map_is_hash(map->spec.type))
		return -EINVAL;
	if (!command->attr.batch.count)
		return 0;
	error = batch_begin(&batch, map, &command->attr);
	if (error)
		return error;
	error = COMMAND_RESULT(command, attr.batch.count, 0);
	if (!error)
		error = loop(&batch);
	if (error != -EFAULT && COMMAND_RESULT(command, attr.batch.count, batch.done))
		error = -EFAULT;
	free(batch.key);
	return error;
}

static long run_batch(struct command *command, u32 access, bool arrays_too,
		      int (*loop)(struct batch *batch))
{
	struct object *object;
	u32 type;
	int error = map_get((int)command->attr.batch.map_fd, access, &object);

	if (error)
		return error;
	type = object->map->spec.type;
	if (map_is_hash(type) ||
	    (arrays_too && (type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY)))
		error = run_loop(command, object->map, loop);
	else
		error = -ABI_ENOTSUPP;
	objects_put(object);
	return error;
}

long map_lookup_batch_command(struct command *command)
{
	return run_batch(command, MAP_READ, true, lookup_all);
}

long map_lookup_and_delete_batch_command(struct command *command)
{
	return run_batch(command, MAP_READ | MAP_WRITE, false, take_all);
}

long map_update_batch_command(struct command *command)
{
	return run_batch(command, MAP_WRITE, true, update_loop);
}

long map_delete_batch_command(struct command *command)
{
	return run_batch(command, MAP_WRITE, false, delete_loop);
}
