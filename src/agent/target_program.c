/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs and maps that the agent has, from the loader's side.
 *
 * With a prog array go the programs in its slots, and with those their maps. A map is known to the target before its slots are
 * filled, so that programs that lead back to it end the recursion.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/target.h"
#include "maps/map.h"

int target_send_map(struct target *target, u32 kind, const struct map *map, u32 *ret_handle)
{
	struct wire_map request = {.map_id = map->shared->map_id,
				   .has_event_fd = map->event_fd >= 0};
	int fds[2] = {map->fd, map->event_fd};
	struct wire_reply reply;
	int error = target_ask(target, kind, &request, sizeof(request), fds,
			       1 + request.has_event_fd, &reply);

	if (!error && ret_handle)
		*ret_handle = (u32)reply.value;
	return error;
}

static struct target_map *find_map(struct target *target, const struct map *map)
{
	for (u32 i = 0; i < target->map_count; i++) {
		if (target->maps[i].map_id == map->shared->map_id)
			return &target->maps[i];
	}
	return NULL;
}

static int send_maps(struct target *target, int prog_fd, u64 near, const struct problem *problem,
		     u32 *handles, u32 *ret_count);

/* ---- programs that tail calls lead into ---- */

static int add_tail(struct target *target, u32 *ret_index)
{
	struct target_tail *grown;
	u32 i = 0;

	while (i < target->tail_count && target->tails[i].prog_id)
		i++;
	if (i == target->tail_count) {
		grown = realloc(target->tails, (i + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		target->tails = grown;
		target->tail_count++;
		memset(&grown[i], 0, sizeof(*grown));
	}
	*ret_index = i;
	return 0;
}

static bool find_tail(struct target *target, u32 prog_id, u32 *ret_number)
{
	for (u32 i = 0; i < target->tail_count; i++) {
		if (target->tails[i].prog_id != prog_id)
			continue;
		target->tails[i].users++;
		*ret_number = i + 1;
		return true;
	}
	return false;
}

/* Index + 1 of the program in tails, with one more user. */
static int get_tail(struct target *target, const struct link_slot *slot, u64 near,
		    const struct problem *problem, u32 *ret_number)
{
	struct target_place place = {near, true};
	u32 handle, i, maps[IMAGE_MAX_MAPS], count;
	int error;

	if (find_tail(target, slot->prog_id, ret_number))
		return 0;
	/* Its maps first: their slots may lead back to it. */
	error = send_maps(target, slot->prog_fd, near, problem, maps, &count);
	if (!error && find_tail(target, slot->prog_id, ret_number))
		return 0;
	if (!error)
		error = target_send_prog(target, slot->prog_fd, slot->prog_id, place, problem,
					 &handle);
	if (!error)
		error = add_tail(target, &i);
	if (error)
		return error;
	target->tails[i] = (struct target_tail){slot->prog_id, handle, 1};
	*ret_number = i + 1;
	return 0;
}

static void put_tail(struct target *target, u32 number)
{
	struct target_tail *tail = number ? &target->tails[number - 1] : NULL;
	struct wire_handle request;
	struct wire_reply reply;

	if (!tail || --tail->users)
		return;
	request.handle = tail->handle;
	tail->prog_id = 0;
	target_ask(target, WIRE_DROP_PROG, &request, sizeof(request), NULL, 0, &reply);
}

/* ---- slots ---- */

/* As many as a packet holds; numbers: what each slot is to hold. Takes over the users. */
static int send_slots(struct target *target, const struct target_map *map,
		      const struct link_slot *slots, const u32 *numbers, u32 count)
{
	u32 size = (u32)sizeof(struct wire_slots) + count * (u32)sizeof(struct wire_slot);
	struct wire_slots *request = malloc(size);
	struct wire_reply reply;
	int error = -ENOMEM;

	if (request) {
		request->map = map->handle;
		request->count = count;
		for (u32 i = 0; i < count; i++)
			request->slots[i] = (struct wire_slot){
				slots[i].index, numbers[i] ? target->tails[numbers[i] - 1].handle
							   : WIRE_NO_PROGRAM};
		error = target_ask(target, WIRE_SLOTS, request, size, NULL, 0, &reply);
		free(request);
	}
	/* A thread of the target stays in a program: calls go where they are to go, and what it runs is kept. */
	if (error == -ETIMEDOUT)
		error = 0;
	for (u32 i = 0; i < count; i++) {
		u32 *slot = &map->slots[slots[i].index], old = *slot;

		if (!error)
			*slot = numbers[i];
		put_tail(target, error ? numbers[i] : old);
	}
	return error;
}

static int set_chunk(struct target *target, u32 map, const struct link_slot *slots, u32 count,
		     u64 near, const struct problem *problem)
{
	u32 *numbers = calloc(count, sizeof(*numbers));
	int error = numbers ? 0 : -ENOMEM;

	for (u32 i = 0; !error && i < count; i++) {
		if (slots[i].prog_id)
			error = get_tail(target, &slots[i], near, problem, &numbers[i]);
	}
	/* Only now: sending programs may have moved the list of maps. */
	if (!error)
		error = send_slots(target, &target->maps[map], slots, numbers, count);
	else
		for (u32 i = 0; numbers && i < count; i++)
			put_tail(target, numbers[i]);
	free(numbers);
	return error;
}

static int set_all(struct target *target, u32 map, const struct link_slot *slots, u32 count,
		   u64 near, const struct problem *problem)
{
	int error = 0;

	for (u32 done = 0; !error && done < count;) {
		u32 chunk = MIN(count - done, (u32)WIRE_SLOTS_PER_PACKET);

		error = set_chunk(target, map, slots + done, chunk, near, problem);
		done += chunk;
	}
	return error;
}

int target_set_slots(struct target *target, struct map *map, const struct link_slot *slots,
		     u32 count)
{
	const struct target_map *known = target->exited ? NULL : find_map(target, map);
	char text[256];
	struct problem problem = {text, sizeof(text)};
	int error = 0;

	if (known && known->slots)
		error = set_all(target, (u32)(known - target->maps), slots, count, 0, &problem);
	return error == -ESRCH ? 0 : error;
}

/* The target has the map now: its slots get what they hold here. */
static int fill(struct target *target, u32 at, const struct map *map, u64 near,
		const struct problem *problem)
{
	u32 room = map->spec.max_entries, count = 0;
	struct link_slot *slots = calloc(room, sizeof(*slots));
	int error = -ENOMEM;

	target->maps[at].slots = calloc(room, sizeof(u32));
	for (u32 i = 0; slots && i < room; i++) {
		slots[count] = object_prog_array_slot(map, i);
		count += slots[count].prog_id != 0;
	}
	if (slots && target->maps[at].slots)
		error = set_all(target, at, slots, count, near, problem);
	free(slots);
	if (error) {
		/* It is sent anew the next time. */
		free(target->maps[at].slots);
		target->maps[at] = (struct target_map){0};
	}
	return error;
}

/* ---- programs and their maps ---- */

static int find_or_send_map(struct target *target, const struct map *map, u64 near,
			    const struct problem *problem, u32 *ret_handle)
{
	const struct target_map *known = find_map(target, map);
	struct target_map *grown;
	int error;

	if (known) {
		*ret_handle = known->handle;
		return 0;
	}
	grown = realloc(target->maps, (target->map_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	target->maps = grown;
	error = target_send_map(target, WIRE_MAP, map, ret_handle);
	if (error)
		return problem_set(problem, error, "a map cannot be shared with process %d: %s",
				   target->pid, strerror(-error));
	grown[target->map_count++] = (struct target_map){map->shared->map_id, *ret_handle, NULL};
	return map->spec.type == BPF_MAP_TYPE_PROG_ARRAY
		       ? fill(target, target->map_count - 1, map, near, problem)
		       : 0;
}

static int send_maps(struct target *target, int prog_fd, u64 near, const struct problem *problem,
		     u32 *handles, u32 *ret_count)
{
	struct map *maps[IMAGE_MAX_MAPS];
	int count = object_prog_maps(prog_fd, maps, IMAGE_MAX_MAPS), error = 0;

	if (count < 0)
		return problem_set(problem, count, "the program's maps cannot be found");
	for (int i = 0; !error && i < count; i++)
		error = find_or_send_map(target, maps[i], near, problem, &handles[i]);
	*ret_count = (u32)count;
	return error;
}

int target_send_prog(struct target *target, int prog_fd, u32 prog_id, struct target_place place,
		     const struct problem *problem, u32 *ret_handle)
{
	struct wire_prog request = {.prog_id = prog_id, .tail = place.tail, .near = place.near};
	struct wire_reply reply;
	int error =
		send_maps(target, prog_fd, place.near, problem, request.maps, &request.map_count);

	if (error)
		return error;
	error = target_ask(target, WIRE_PROG, &request, sizeof(request), &prog_fd, 1, &reply);
	if (error)
		return problem_set(problem, error, "process %d: %s", target->pid,
				   reply.text[0] ? reply.text : strerror(-error));
	*ret_handle = (u32)reply.value;
	return 0;
}

void target_free_maps(struct target *target)
{
	for (u32 i = 0; i < target->map_count; i++)
		free(target->maps[i].slots);
	free(target->maps);
	free(target->tails);
}
