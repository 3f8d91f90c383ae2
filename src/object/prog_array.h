/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prog arrays as bpf(2) shows them: descriptors in, program ids out; and this process's side of them: which programs
 * their slots point to, and whose direct tail calls go where. Private to object/.
 *
 * A map's slot holds a reference to its program, and the program holds its maps, so a circle is the normal case. As in
 * the kernel it is cut when nobody could change the map any more: its last descriptor goes.
 *
 * Everything here takes prog_lock() itself. Functions about maps accept maps of any type.
 */
#ifndef INLAY_OBJECT_PROG_ARRAY_H
#define INLAY_OBJECT_PROG_ARRAY_H

#include "object/objects.h"

/*
 * value: a program's descriptor. -EINVAL (flags, or a program unlike the map's others), -E2BIG (key), -EBADF; -ERANGE (the
 * program's code is out of reach of code that jumps to it). When it returns, every direct tail call of this process goes there.
 */
int prog_array_update(struct object *map, const void *key, const void *value, u64 flags);
/* -E2BIG, -ENOENT. */
int prog_array_delete(struct object *map, const void *key);

/* A program was compiled: its direct tail calls follow the maps from now on. Under prog_lock(). */
void prog_array_track(struct object *program);
void prog_array_untrack(struct object *program);
/* Is a newly loaded program like the others of the maps it uses? Compiles it where it uses some. 0 or -EINVAL. */
int prog_array_check_user(struct object *program);
/* Is one of its maps a prog array? */
bool prog_array_used_by(const struct object *program);

/* A map was made or imported; its last descriptor of the client's was closed; it is being released. */
void prog_array_appeared(struct object *map);
void prog_array_abandoned(struct object *map);
void prog_array_gone(struct object *map);

/* Takes over what other processes have changed, in every prog array of this one. Not a reader. */
void prog_array_catch_up(void);

/* -- Other processes' updates (prog_array_follow.c) -- */

struct prog_array_watched {
	u32 *word; /* of the map's generation */
	u64 generation;
};

/* As prog_array_catch_up, and says so in the maps. Fills up to max rows to wait on; returns how many. */
u32 prog_array_take_over(struct prog_array_watched *watched, u32 max);
/* From now on a thread of this process takes updates over as they are made. Once a process. Under prog_lock(). 0 or -errno. */
int prog_array_start_following(void);
/* Waits until every follower has taken the map's last update over; 2 s at most. Without prog_lock(). */
void prog_array_wait_followed(const struct map *map);

#endif
