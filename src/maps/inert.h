/* SPDX-License-Identifier: BSD-2-Clause */
/* The storage of CGROUP_STORAGE and PERCPU_CGROUP_STORAGE maps: their one value, or the caller's slot of it. At a hit. */
#ifndef INLAY_MAPS_INERT_H
#define INLAY_MAPS_INERT_H

struct map;

void *map_local_storage(struct map *map);

#endif
