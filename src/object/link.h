/* SPDX-License-Identifier: BSD-2-Clause */
/* Links as the rest of object/ sees them: programs that run in other processes. Private to object/. */
#ifndef INLAY_OBJECT_LINK_H
#define INLAY_OBJECT_LINK_H

#include "base/types.h"

struct link_slot;
struct map;

/* The backend's set_slots. Under prog_lock(). 0 where no program of this process's runs elsewhere; -errno. */
int link_set_slots(struct map *map, const struct link_slot *slots, u32 count);

#endif
