/* SPDX-License-Identifier: BSD-2-Clause */
/* Checkpoints: states that were seen, and whether a new one is covered by them. */
#ifndef INLAY_VERIFY_PRUNE_H
#define INLAY_VERIFY_PRUNE_H

#include "verify/verify_priv.h"

enum prune_outcome { PRUNE_GO_ON, PRUNE_COVERED };

/*
 * At a prune point: is everything from here already known to be safe? Otherwise keeps a checkpoint now and then. Returns
 * enum prune_outcome or -errno (an infinite loop, no memory).
 */
int prune_visit(struct verifier *env);
/* The current path ended: its checkpoints lose a branch. */
void prune_path_ended(struct state *state);

#endif
