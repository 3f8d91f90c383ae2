/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tail calls in the target: slots of the session's prog arrays, and the direct calls that follow them.
 *
 * A slot is written first, then every direct call is made to go where its slot points. So a program that is compiled later
 * needs to know nothing but the slots.
 */
#include "agent/session.h"

#include "base/arena.h"
#include "base/sys.h"
#include "maps/prog_array.h"

struct changes {
	struct exec_tail_change *list; /* NULL: they are only counted */
	u32 count;
};

static bool is_prog_array(const struct map *map)
{
	return map->spec.type == BPF_MAP_TYPE_PROG_ARRAY;
}

/* The direct calls of a program that do not go where their slots point. */
static void collect_of(struct changes *changes, const struct session_prog *program)
{
	struct exec_code *code = program->code;

	for (u32 i = 0; i < code->tail_cnt; i++) {
		const struct map *map = program->maps[code->tails[i].map_index];
		const struct tail_target *target = prog_array_slots(map)->slots[code->tails[i].key];
		u64 entry = target ? target->entry : 0;

		if (entry == code->tails[i].entry)
			continue;
		if (changes->list)
			changes->list[changes->count] = (struct exec_tail_change){code, i, entry};
		changes->count++;
	}
}

/* only: that program's alone; NULL: those of every program of the session. */
static void collect(struct changes *changes, struct session *session,
		    const struct session_prog *only)
{
	for (u32 i = 0; i < READER_SLOTS + session->tail_limit; i++) {
		const struct session_prog *program = program_at(session, i);

		if (program && !only)
			collect_of(changes, program);
	}
	if (only)
		collect_of(changes, only);
}

static int follow(struct session *session, const struct session_prog *only)
{
	struct changes changes = {0};
	u32 count;
	int error;

	collect(&changes, session, only);
	count = changes.count;
	if (!count)
		return 0;
	changes = (struct changes){arena_alloc(count * sizeof(*changes.list)), 0};
	if (!changes.list)
		return -ENOMEM;
	collect(&changes, session, only);
	error = exec_tail_update(changes.list, count, SESSION_GRACE_MS);
	arena_free(changes.list);
	return error;
}

int tail_follow(struct session *session, struct session_prog *program)
{
	for (u32 i = 0; i < program->code->tail_cnt; i++) {
		const struct exec_tail *tail = &program->code->tails[i];
		const struct map *map = program->maps[tail->map_index];

		if (!is_prog_array(map) || tail->key >= prog_array_slots(map)->count)
			return -EINVAL;
	}
	return follow(session, program);
}

int tail_settle(const struct session_prog *program)
{
	if (!program->left || program->left != sync_grace_count() + 1)
		return 0;
	return sync_grace(SESSION_GRACE_MS);
}

static struct session_prog *program_of(struct tail_target *target)
{
	return target ? (struct session_prog *)((char *)target -
						offsetof(struct session_prog, target))
		      : NULL;
}

/* Does every entry name a slot, and a program that may be in one? */
static bool valid(struct session *session, const struct tail_slots *slots,
		  const struct wire_slots *request)
{
	for (u32 i = 0; i < request->count; i++) {
		const struct wire_slot *slot = &request->slots[i];

		if (slot->index >= slots->count)
			return false;
		if (slot->program != WIRE_NO_PROGRAM &&
		    (slot->program < READER_SLOTS || !program_at(session, slot->program)))
			return false;
	}
	return true;
}

/* Swaps what slots hold with old[]: done twice, everything is as it was. */
static void exchange(struct tail_slots *slots, const struct wire_slots *request,
		     struct tail_target **old)
{
	for (u32 i = 0; i < request->count; i++) {
		struct tail_target **slot = &slots->slots[request->slots[i].index];

		old[i] = __atomic_exchange_n(slot, old[i], __ATOMIC_ACQ_REL);
	}
}

/* Programs that left their slots. stuck: threads are on their way into them yet. */
static void leave(struct session *session, struct tail_target **old, u32 count, u64 graces,
		  bool stuck)
{
	for (u32 i = 0; i < count; i++) {
		struct session_prog *program = program_of(old[i]);

		if (program)
			program->left = graces + 1;
		if (program && stuck)
			program_keep(session, program);
	}
}

static int set_slots(struct session *session, struct tail_slots *slots,
		     const struct wire_slots *request)
{
	struct tail_target **targets = arena_alloc((request->count + 1) * sizeof(*targets));
	u64 graces = sync_grace_count();
	int error;

	if (!targets)
		return -ENOMEM;
	for (u32 i = 0; i < request->count; i++) {
		struct session_prog *program = program_at(session, request->slots[i].program);

		targets[i] = program ? &program->target : NULL;
	}
	exchange(slots, request, targets);
	error = follow(session, NULL);
	if (error == -ERANGE || error == -ENOMEM)
		exchange(slots, request, targets); /* calls go where they went */
	else
		leave(session, targets, request->count, graces, error != 0);
	arena_free(targets);
	return error;
}

void tail_serve_slots(struct session *session)
{
	const struct wire_slots *request = (const void *)session->message.payload;
	u32 size = session->message.size;
	const struct map *map = NULL;
	int error = -EPROTO;

	if (size >= sizeof(*request) && request->map < SESSION_MAX_MAPS &&
	    size == sizeof(*request) + (u64)request->count * sizeof(request->slots[0]))
		map = session->maps[request->map].map;
	if (map && is_prog_array(map) && valid(session, prog_array_slots(map), request))
		error = set_slots(session, prog_array_slots(map), request);
	session_reply(session, error, 0, NULL);
}
