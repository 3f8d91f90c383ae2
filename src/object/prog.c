/* SPDX-License-Identifier: BSD-2-Clause */
/* Program objects: a sealed memfd with the image, and what this process needs to run it. */
#include "object/prog.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "helpers/helpers.h"
#include "maps/map.h"
#include "object/command.h"
#include "object/object.h"
#include "object/prog_array.h"
#include "sync/reader.h"

/* Importing a program may import prog arrays, whose programs are imported in turn: hence recursive. */
static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void prog_lock(void)
{
	pthread_mutex_lock(&mutex);
}

void prog_unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

int prog_map_image(struct object *object, int fd)
{
	struct object_program *program = &object->program;
	const void *memory;
	int error = objects_map_memory(fd, &memory, &program->size);

	if (error)
		return error;
	if (image_check(memory, program->size)) {
		munmap((void *)(uintptr_t)memory, program->size);
		return -EINVAL;
	}
	program->image = memory;
	return 0;
}

int object_import_program(struct object *object, int fd)
{
	struct object_program *program = &object->program;
	const struct image_map_ref *refs;
	int error = prog_map_image(object, fd);

	if (error)
		return error;
	program->map_cnt = program->image->map_cnt;
	program->maps = calloc(program->map_cnt + 1, sizeof(struct object *));
	if (!program->maps) {
		munmap((void *)(uintptr_t)program->image, program->size);
		return -ENOMEM;
	}
	/* Whatever cannot be had (its holder died) stays NULL: then the program can be looked at, not run. */
	refs = image_maps(program->image);
	for (u32 i = 0; i < program->map_cnt; i++)
		objects_get_id(OBJECT_MAP, refs[i].map_id, &program->maps[i]);
	if (program->image->btf_id)
		objects_get_id(OBJECT_BTF, program->image->btf_id, &program->btf);
	return 0;
}

void object_release_program(struct object *object)
{
	struct object_program *program = &object->program;

	prog_array_untrack(object);
	/* Threads that a slot led into it may be inside. Where that cannot be told, its memory is kept. */
	if (program->unsettled && sync_grace(-1)) {
		program->code = NULL;
		program->image = NULL;
	}
	for (u32 i = 0; i < program->map_cnt; i++)
		objects_put(program->maps[i]);
	for (u32 i = 0; i < program->bound_cnt; i++)
		objects_put(program->bound[i]);
	objects_put(program->btf);
	objects_put(program->traced);
	free(program->maps);
	free(program->bound);
	if (program->code)
		exec_free(program->code);
	if (program->image)
		munmap((void *)(uintptr_t)program->image, program->size);
}

static void *map_handle(void *opaque, u32 index)
{
	struct object *object = opaque;
	struct object *map = index < object->program.map_cnt ? object->program.maps[index] : NULL;

	return map ? map->map : NULL;
}

static void *map_value(void *opaque, u32 index, u32 offset)
{
	struct map *map = map_handle(opaque, index);

	return map && map->ops->value_addr ? map->ops->value_addr(map, offset) : NULL;
}

static bool in_place(void *opaque, u32 id, u32 map_index, struct jit_in_place *ret_how)
{
	return helper_in_place(id, map_handle(opaque, map_index), ret_how);
}

/*
 * Programs are compiled near each other, so that direct tail calls reach. anchor: where one of them is or was.
 */
static int compile(struct object_program *program)
{
	static u64 anchor;
	int error = exec_compile(program->image, &program->env, anchor, true, &program->code);

	if (!error)
		anchor = ptr_to_u64(program->code->text);
	return error;
}

struct exec_code *prog_code(struct object *object)
{
	struct object_program *program = &object->program;

	pthread_mutex_lock(&mutex);
	if (!program->env.helper) {
		program->env = (struct exec_env){
			.helper = helper_address,
			.map_handle = map_handle,
			.map_value = map_value,
			.in_place = in_place,
			.opaque = object,
			.tail_slots = offsetof(struct map, type_view),
		};
		program->target.image = program->image;
		program->target.env = &program->env;
		if (compile(program))
			program->code = NULL;
		if (program->code) {
			program->target.entry = program->code->tail_entry;
			prog_array_track(object);
		}
	}
	pthread_mutex_unlock(&mutex);
	return program->code;
}

static bool is_bound(const struct object_program *program, const struct object *map)
{
	for (u32 i = 0; i < program->map_cnt; i++) {
		if (program->maps[i] == map)
			return true;
	}
	for (u32 i = 0; i < program->bound_cnt; i++) {
		if (program->bound[i] == map)
			return true;
	}
	return false;
}

int prog_bind(struct object *object, struct object *map)
{
	struct object_program *program = &object->program;
	struct object **bound;
	int error = 0;

	pthread_mutex_lock(&mutex);
	if (!is_bound(program, map)) {
		bound = realloc(program->bound, (program->bound_cnt + 1) * sizeof(struct object *));
		if (bound) {
			program->bound = bound;
			bound[program->bound_cnt++] = objects_ref(map);
		} else {
			error = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&mutex);
	return error;
}

long prog_bind_map_command(struct command *command)
{
	const union bpf_attr *attr = &command->attr;
	struct object *program, *map;
	int error;

	if (attr->prog_bind_map.flags)
		return -EINVAL;
	error = objects_get(OBJECT_PROG, (int)attr->prog_bind_map.prog_fd, &program);
	if (error)
		return error;
	error = objects_get(OBJECT_MAP, (int)attr->prog_bind_map.map_fd, &map);
	if (!error) {
		error = prog_bind(program, map);
		objects_put(map);
	}
	objects_put(program);
	return error;
}

int object_prog_maps(int prog_fd, struct map **maps, u32 max)
{
	struct object *object;
	int error = objects_get(OBJECT_PROG, prog_fd, &object), count;

	if (error)
		return error;
	count = object->program.map_cnt > max ? -E2BIG : (int)object->program.map_cnt;
	for (int i = 0; i < count; i++) {
		if (!object->program.maps[i]) {
			count = -ENOENT;
			break;
		}
		maps[i] = object->program.maps[i]->map;
	}
	objects_put(object);
	return count;
}
