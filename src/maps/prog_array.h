/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PROG_ARRAY: the programs that tail calls go to.
 *
 * Shared memory holds program ids, and the map's owner: what the first program that used the map was, which every later
 * one must be too. A process's own side of a slot is in its struct tail_slots (map->type_view).
 *
 * Whoever changes a slot holds the object layer's lock in its process; ids are written atomically, and generation counts
 * changes, so that other processes notice.
 */
#ifndef INLAY_MAPS_PROG_ARRAY_H
#define INLAY_MAPS_PROG_ARRAY_H

#include "format/tail.h"
#include "maps/map.h"

/* What must agree between a map's programs. Words, so that the owner fits map_shared.type_state. */
struct prog_array_owner {
	u64 type; /* program type + 1; 0: no owner yet */
	u64 compiled;
	u64 attach_type;
	u64 xdp_frags;
	u64 signature; /* of typed programs: one number for each signature that their functions may have; else 0 */
};

static inline struct tail_slots *prog_array_slots(const struct map *map)
{
	return map->type_view;
}

/* Changes whenever an id does. */
u64 prog_array_generation(const struct map *map);
/* The program id in a slot; 0: empty. index is inside the map. */
u32 prog_array_id(const struct map *map, u32 index);
/* Writes a slot's id (0: empties it) and returns the one before. */
u32 prog_array_set_id(struct map *map, u32 index, u32 id);
/* Is this what the map's programs are? The first to ask makes it so. */
bool prog_array_compatible(struct map *map, const struct prog_array_owner *program);

/*
 * Followers: processes that look after programs in others, whose slots must agree with the map before an update of it returns.
 * The map keeps who they are (participants, sync/participant.h), and the generation that each has taken over.
 */
#define PROG_ARRAY_FOLLOWERS 16

/* Makes the participant a follower; again is no harm. Takes places of dead ones. False: there is no room. */
bool prog_array_add_follower(struct map *map, u32 participant);
void prog_array_set_followed(struct map *map, u32 participant, u64 generation);
/* Has every living follower but the participant taken this generation over? */
bool prog_array_is_followed(const struct map *map, u32 participant, u64 generation);
/* The word of shared memory that changes with every generation, for futexes. */
u32 *prog_array_generation_word(const struct map *map);

#endif
