/* SPDX-License-Identifier: BSD-2-Clause */
/* Which helper goes with which map type; locks and timers inside values; keys that are known. */
#ifndef INLAY_VERIFY_HELPER_MAP_H
#define INLAY_VERIFY_HELPER_MAP_H

#include "verify/verify_priv.h"

/* 0 or -EINVAL with the log line. map may be NULL. */
int helper_map_compatible(struct verifier *env, const struct verify_map *map,
			  const struct helper_proto *proto);
/* bpf_spin_lock (lock) or bpf_spin_unlock of the value at regno. */
int helper_map_lock(struct verifier *env, int regno, bool lock);
int helper_map_timer(struct verifier *env, int regno);
/* Is the key at regno a constant inside this array, so that a lookup cannot fail? */
bool helper_map_key_known(struct verifier *env, const struct verify_map *map, int regno);
/* May programs of this type use this map at all? */
int helper_map_usable(struct verifier *env, const struct verify_map *map);

#endif
