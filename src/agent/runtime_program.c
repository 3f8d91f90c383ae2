/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs of a session: compiled here from the images that the loader sends. */
#include "agent/session.h"

#include "base/arena.h"
#include "base/code_map.h"
#include "base/mem.h"
#include "base/sys.h"
#include "helpers/helpers.h"
#include "maps/map.h"

/* Bits of program slots in use, all sessions together. */
static u64 slots_used;

static void *env_map_handle(void *opaque, u32 index)
{
	const struct session_prog *program = opaque;

	return index < program->image->map_cnt ? program->maps[index] : NULL;
}

static void *env_map_value(void *opaque, u32 index, u32 offset)
{
	const struct session_prog *program = opaque;
	struct map *map = index < program->image->map_cnt ? program->maps[index] : NULL;

	return map && map->ops->value_addr ? map->ops->value_addr(map, offset) : NULL;
}

static bool env_in_place(void *opaque, u32 id, u32 map_index, struct jit_in_place *ret_how)
{
	return helper_in_place(id, env_map_handle(opaque, map_index), ret_how);
}

static int map_image(struct session_prog *program, int fd)
{
	long size = sys_lseek(fd, 0, SEEK_END);
	void *image;

	if (size < (long)sizeof(struct image_header))
		return -EINVAL;
	image = sys_mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	if (sys_is_error(image))
		return (int)(long)image;
	program->image = image;
	program->size = (size_t)size;
	return image_check(program->image, program->size);
}

/*
 * Programs that tail calls leave or lead into are near each other, whatever sites they belong to, so that direct calls reach.
 * anchor: where the first of them was.
 */
static int compile(struct session_prog *program, u64 near, bool tail)
{
	static u64 anchor;
	struct exec_env env = {
		.helper = helper_address,
		.map_handle = env_map_handle,
		.map_value = env_map_value,
		.in_place = env_in_place,
		.opaque = program,
		.helper_clobbers = helper_clobbers,
		.tail_slots = offsetof(struct map, type_view),
	};
	bool together = tail || program->image->facts & IMAGE_FACT_TAIL_CALL;
	int error;

	if (together && anchor)
		near = anchor;
	error = exec_compile(program->image, &env, near, false, &program->code);
	if (error == -ERANGE || error == -ENOMEM)
		error = exec_compile(program->image, &env, 0, false, &program->code);
	if (!error && together && !anchor)
		anchor = ptr_to_u64(program->code->text);
	return error;
}

static int take_slot(u32 *ret_slot)
{
	u32 slot = 0;

	while (slot < READER_SLOTS && slots_used >> slot & 1)
		slot++;
	if (slot == READER_SLOTS)
		return -ENOSPC;
	slots_used |= 1ull << slot;
	reader_hits_clear(slot);
	*ret_slot = slot;
	return 0;
}

static void release(struct session_prog *program)
{
	if (program->code)
		exec_free(program->code);
	if (program->image)
		sys_munmap((void *)(uintptr_t)program->image, program->size);
	mem_zero(program, sizeof(*program));
}

static int find_maps(struct session *session, struct session_prog *program,
		     const struct wire_prog *request)
{
	if (program->image->map_cnt > request->map_count)
		return -EINVAL;
	for (u32 i = 0; i < request->map_count; i++) {
		u32 handle = request->maps[i];

		program->map_handles[i] = handle;
		program->maps[i] = handle < SESSION_MAX_MAPS ? session->maps[handle].map : NULL;
		if (!program->maps[i])
			return -EINVAL;
	}
	return 0;
}

static int load(struct session *session, struct session_prog *program, const char **ret_text)
{
	const struct wire_prog *request = (const void *)session->message.payload;
	int fd = session->message.fd_count ? session->message.fds[0] : -1;
	int error;

	if (fd < 0 || session->message.size != sizeof(*request) ||
	    request->map_count > IMAGE_MAX_MAPS)
		return -EPROTO;
	*ret_text = "the program's image is not intact";
	error = map_image(program, fd);
	if (!error)
		error = find_maps(session, program, request);
	if (error)
		return error;
	*ret_text = "the program cannot be compiled for this processor";
	error = compile(program, request->near, request->tail);
	if (error)
		return error;
	program->target = (struct tail_target){program->code->tail_entry, program->image, NULL};
	*ret_text = "a program that it calls is out of reach, or there is no memory for the calls";
	error = tail_follow(session, program);
	if (error || request->tail)
		return error;
	*ret_text = "64 programs are attached to the process, and there is room for no more";
	return take_slot(&program->slot);
}

static int serve_attachable(struct session *session, u32 *ret_handle, const char **ret_text)
{
	u32 i = 0;
	int error;

	while (i < READER_SLOTS && session->programs[i].image)
		i++;
	if (i == READER_SLOTS)
		return -ENOSPC;
	error = load(session, &session->programs[i], ret_text);
	if (error)
		release(&session->programs[i]);
	*ret_handle = i;
	return error;
}

static int serve_tail(struct session *session, u32 *ret_handle, const char **ret_text)
{
	struct session_prog *program;
	u32 i = 0;
	int error;

	while (i < SESSION_MAX_TAILS && session->tails[i])
		i++;
	*ret_text = "tail calls lead to more programs than there is room for";
	if (i == SESSION_MAX_TAILS)
		return -ENOSPC;
	program = arena_alloc(sizeof(*program));
	if (!program)
		return -ENOMEM;
	error = load(session, program, ret_text);
	if (error) {
		release(program);
		arena_free(program);
		return error;
	}
	session->tails[i] = program;
	session->tail_limit = MAX(session->tail_limit, i + 1);
	*ret_handle = READER_SLOTS + i;
	return 0;
}

void program_serve(struct session *session)
{
	const struct wire_prog *request = (const void *)session->message.payload;
	const char *text = NULL;
	u32 handle = 0;
	int error = -EPROTO;

	if (session->message.size == sizeof(*request))
		error = request->tail ? serve_tail(session, &handle, &text)
				      : serve_attachable(session, &handle, &text);
	/* Others are shown when they are attached. */
	if (!error && request->tail)
		code_map_publish();
	session_reply(session, error, handle, error ? text : NULL);
}

struct session_prog *program_at(struct session *session, u64 handle)
{
	if (handle < READER_SLOTS)
		return session->programs[handle].image ? &session->programs[handle] : NULL;
	return handle < SESSION_PROGRAMS ? session->tails[handle - READER_SLOTS] : NULL;
}

void program_keep(struct session *session, struct session_prog *program)
{
	program->kept = true;
	for (u32 i = 0; i < program->image->map_cnt; i++)
		session->maps[program->map_handles[i]].kept = true;
	if (!(program->image->facts & IMAGE_FACT_TAIL_CALL))
		return;
	for (u32 i = 0; i < session->tail_limit; i++) {
		if (session->tails[i] && !session->tails[i]->kept)
			program_keep(session, session->tails[i]);
	}
}

static void drop_attachable(struct session_prog *program)
{
	if (program->kept)
		return;
	slots_used &= ~(1ull << program->slot);
	release(program);
}

static void drop_tail(struct session *session, u32 index)
{
	struct session_prog *program = session->tails[index];

	if (program->kept)
		return;
	session->tails[index] = NULL;
	release(program);
	arena_free(program);
}

void program_serve_drop(struct session *session)
{
	struct session_prog *program;
	u64 handle;

	if (!session_handle(session, SESSION_PROGRAMS, &handle) ||
	    !(program = program_at(session, handle))) {
		session_reply(session, -EPROTO, 0, NULL);
		return;
	}
	if (handle < READER_SLOTS) {
		drop_attachable(program);
	} else {
		if (tail_settle(program))
			program_keep(session, program);
		drop_tail(session, (u32)handle - READER_SLOTS);
	}
	code_map_publish();
	session_reply(session, 0, 0, NULL);
}

void program_drop_all(struct session *session)
{
	for (u32 i = 0; i < READER_SLOTS; i++) {
		if (session->programs[i].image)
			drop_attachable(&session->programs[i]);
	}
	for (u32 i = 0; i < session->tail_limit; i++) {
		if (session->tails[i])
			drop_tail(session, i);
	}
	code_map_publish();
}
