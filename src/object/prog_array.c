/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/prog_array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maps/prog_array.h"
#include "object/link.h"
#include "object/object.h"
#include "object/prog.h"
#include "sync/participant.h"
#include "sync/reader.h"

/* Under prog_lock(): the prog arrays of this process, and its programs with direct tail calls. */
static struct object *arrays;
static struct object *users;

static bool is_prog_array(const struct object *map)
{
	return map->map->spec.type == BPF_MAP_TYPE_PROG_ARRAY;
}

static struct object *program_of(struct tail_target *target)
{
	return target ? (struct object *)((char *)target - offsetof(struct object, program.target))
		      : NULL;
}

static struct object *program_in(const struct object *map, u32 index)
{
	return program_of(prog_array_slots(map->map)->slots[index]);
}

/* -- Slots and the calls that follow them -- */

static struct link_slot slot_with(u32 index, const struct object *program)
{
	return (struct link_slot){index, program ? program->id : 0, program ? program->fd : -1};
}

struct link_slot object_prog_array_slot(const struct map *map, u32 index)
{
	return slot_with(index, program_of(prog_array_slots(map)->slots[index]));
}

/* Direct tail calls to change, collected over slots. */
struct changes {
	struct exec_tail_change *list;
	u32 count, room;
};

static int add_change(struct changes *changes, struct exec_code *code, u32 tail, u64 entry)
{
	if (changes->count == changes->room) {
		u32 room = changes->room ? changes->room * 2 : 16;
		void *list = realloc(changes->list, room * sizeof(*changes->list));

		if (!list)
			return -ENOMEM;
		changes->list = list;
		changes->room = room;
	}
	changes->list[changes->count++] = (struct exec_tail_change){code, tail, entry};
	return 0;
}

/* Every direct tail call of this process to that slot. */
static int collect(struct changes *changes, const struct object *map, u32 index, u64 entry)
{
	for (struct object *user = users; user; user = user->program.next_tails) {
		struct exec_code *code = user->program.code;

		for (u32 i = 0; i < code->tail_cnt; i++) {
			int error = 0;

			if (code->tails[i].key == index &&
			    user->program.maps[code->tails[i].map_index] == map)
				error = add_change(changes, code, i, entry);
			if (error)
				return error;
		}
	}
	return 0;
}

/* The old program may be run by threads that found it before; a grace period in between settles that. */
static void let_go(struct object *old, u64 graces_before)
{
	if (!old)
		return;
	if (sync_grace_count() == graces_before)
		old->program.unsettled = true;
	objects_put(old);
}

/* Programs in other processes go where this process's slot is to lead; what could not be done is undone. */
static int set_elsewhere(const struct object *map, u32 index, const struct object *program,
			 const struct object *old)
{
	struct link_slot now = slot_with(index, program), before = slot_with(index, old);
	int error = link_set_slots(map->map, &now, 1);

	if (error)
		link_set_slots(map->map, &before, 1);
	return error;
}

/* Takes the reference of program (NULL: none) over when it succeeds. */
static int set_slot(struct object *map, u32 index, struct object *program)
{
	struct tail_slots *slots = prog_array_slots(map->map);
	struct tail_target *target = program ? &program->program.target : NULL;
	struct tail_target *old = slots->slots[index];
	u64 graces = sync_grace_count();
	struct changes changes = {0};
	int error = collect(&changes, map, index, target ? target->entry : 0);

	if (!error)
		error = set_elsewhere(map, index, program, program_of(old));
	if (!error) {
		__atomic_store_n(&slots->slots[index], target, __ATOMIC_RELEASE);
		error = exec_tail_update(changes.list, changes.count, -1);
		if (error) {
			__atomic_store_n(&slots->slots[index], old, __ATOMIC_RELEASE);
			set_elsewhere(map, index, program_of(old), program_of(old));
		}
	}
	free(changes.list);
	if (error)
		return error;
	let_go(program_of(old), graces);
	return 0;
}

/* -- Commands -- */

/* FNV-1a. A typed program reads the arguments of its own function's signature: those of another would be misread. */
static u64 signature_number(const struct signature *signature)
{
	const u8 *bytes = (const u8 *)signature;
	u64 number = 0xcbf29ce484222325ull;

	if (!signature->known)
		return 0;
	for (size_t i = 0; i < sizeof(*signature); i++)
		number = (number ^ bytes[i]) * 0x100000001b3ull;
	return number;
}

static struct prog_array_owner owner_of(const struct object *program)
{
	const struct image_header *image = program->program.image;

	return (struct prog_array_owner){
		.type = image->prog_type + 1,
		.compiled = program->program.code != NULL,
		.attach_type = image->attach_type,
		.xdp_frags = !!(image->prog_flags & BPF_F_XDP_HAS_FRAGS),
		.signature = signature_number(&program->program.signature),
	};
}

static int check_program(struct object *map, struct object *program)
{
	struct prog_array_owner owner;

	prog_code(program);
	owner = owner_of(program);
	if (program->program.image->prog_type == BPF_PROG_TYPE_EXT)
		return -EINVAL;
	return prog_array_compatible(map->map, &owner) ? 0 : -EINVAL;
}

static int install(struct object *map, u32 index, struct object *program)
{
	int error;

	prog_lock();
	error = check_program(map, program);
	if (!error)
		error = set_slot(map, index, objects_ref(program));
	if (!error)
		prog_array_set_id(map->map, index, program->id);
	prog_unlock();
	if (!error)
		prog_array_wait_followed(map->map);
	return error;
}

int prog_array_update(struct object *map, const void *key, const void *value, u64 flags)
{
	struct object *program;
	int error, fd;
	u32 index;

	memcpy(&index, key, sizeof(index));
	memcpy(&fd, value, sizeof(fd));
	if (flags != BPF_ANY)
		return -EINVAL;
	if (index >= map->map->spec.max_entries)
		return -E2BIG;
	error = objects_get(OBJECT_PROG, fd, &program);
	if (error)
		return error;
	error = install(map, index, program);
	objects_put(program);
	return error;
}

int prog_array_delete(struct object *map, const void *key)
{
	int error;
	u32 index;

	memcpy(&index, key, sizeof(index));
	if (index >= map->map->spec.max_entries)
		return -E2BIG;
	prog_lock();
	error = prog_array_set_id(map->map, index, 0) ? 0 : -ENOENT;
	if (!error)
		error = set_slot(map, index, NULL);
	prog_unlock();
	if (!error)
		prog_array_wait_followed(map->map);
	return error;
}

/* -- Programs that make tail calls -- */

void prog_array_track(struct object *program)
{
	struct exec_code *code = program->program.code;

	if (!code->tail_cnt)
		return;
	for (u32 i = 0; i < code->tail_cnt; i++) {
		const struct object *map = program->program.maps[code->tails[i].map_index];
		const struct tail_target *target =
			map ? prog_array_slots(map->map)->slots[code->tails[i].key] : NULL;
		struct exec_tail_change change = {code, i, target ? target->entry : 0};

		exec_tail_update(&change, target != NULL, -1);
	}
	program->program.next_tails = users;
	users = program;
}

void prog_array_untrack(struct object *program)
{
	prog_lock();
	for (struct object **at = &users; *at; at = &(*at)->program.next_tails) {
		if (*at == program) {
			*at = program->program.next_tails;
			break;
		}
	}
	prog_unlock();
}

bool prog_array_used_by(const struct object *program)
{
	for (u32 i = 0; i < program->program.map_cnt; i++) {
		if (program->program.maps[i] && is_prog_array(program->program.maps[i]))
			return true;
	}
	return false;
}

int prog_array_check_user(struct object *program)
{
	int error = 0;

	for (u32 i = 0; i < program->program.map_cnt && !error; i++) {
		struct object *map = program->program.maps[i];

		if (map && is_prog_array(map))
			error = check_program(map, program);
	}
	return error;
}

/* -- Maps -- */

/* Slots of this process become what the ids say. A program that cannot be had leaves its slot empty here. */
static void catch_up(struct object *map)
{
	u64 generation = prog_array_generation(map->map);

	if (map->generation == generation)
		return;
	for (u32 i = 0; i < map->map->spec.max_entries; i++) {
		u32 id = prog_array_id(map->map, i);
		struct object *now = program_in(map, i), *program = NULL;

		if (id == (now ? now->id : 0))
			continue;
		if (id && !objects_get_id(OBJECT_PROG, id, &program))
			prog_code(program);
		if (set_slot(map, i, program))
			objects_put(program);
	}
	map->generation = generation;
}

void prog_array_catch_up(void)
{
	prog_lock();
	for (struct object *map = arrays; map; map = map->next_array)
		catch_up(map);
	prog_unlock();
}

u32 prog_array_take_over(struct prog_array_watched *watched, u32 max)
{
	u32 count = 0;

	prog_lock();
	for (struct object *map = arrays; map; map = map->next_array) {
		prog_array_add_follower(map->map, participant_self());
		catch_up(map);
		prog_array_set_followed(map->map, participant_self(), map->generation);
		if (count < max)
			watched[count++] = (struct prog_array_watched){
				prog_array_generation_word(map->map), map->generation};
	}
	prog_unlock();
	return count;
}

void prog_array_appeared(struct object *map)
{
	if (!is_prog_array(map))
		return;
	prog_lock();
	map->next_array = arrays;
	arrays = map;
	catch_up(map);
	prog_unlock();
}

/* Empties the slots of targets, for one grace period at most in each. */
static void empty_elsewhere(const struct object *map)
{
	u32 count = map->map->spec.max_entries, used = 0;
	struct link_slot *slots = calloc(count, sizeof(*slots));

	for (u32 i = 0; slots && i < count; i++) {
		if (prog_array_slots(map->map)->slots[i])
			slots[used++] = slot_with(i, NULL);
	}
	if (used)
		link_set_slots(map->map, slots, used);
	free(slots);
}

/* Empties the slots of this process, for one grace period at most. */
static void empty(struct object *map)
{
	struct tail_slots *slots = prog_array_slots(map->map);
	u64 graces = sync_grace_count();
	struct changes changes = {0};
	struct object *old;

	empty_elsewhere(map);
	for (u32 i = 0; i < slots->count; i++) {
		if (slots->slots[i] && collect(&changes, map, i, 0))
			break;
	}
	if (exec_tail_update(changes.list, changes.count, -1))
		graces = sync_grace_count();
	free(changes.list);
	for (u32 i = 0; i < slots->count; i++) {
		old = program_of(slots->slots[i]);
		__atomic_store_n(&slots->slots[i], NULL, __ATOMIC_RELEASE);
		if (old)
			let_go(old, graces);
	}
}

void prog_array_abandoned(struct object *map)
{
	if (!is_prog_array(map) || registry_held_elsewhere(OBJECT_MAP, map->id))
		return;
	prog_lock();
	for (u32 i = 0; i < map->map->spec.max_entries; i++) {
		if (prog_array_id(map->map, i))
			prog_array_set_id(map->map, i, 0);
	}
	empty(map);
	prog_unlock();
}

void prog_array_gone(struct object *map)
{
	if (!is_prog_array(map))
		return;
	prog_lock();
	for (struct object **at = &arrays; *at; at = &(*at)->next_array) {
		if (*at == map) {
			*at = map->next_array;
			break;
		}
	}
	empty(map);
	prog_unlock();
}
