/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory without malloc: blocks cut from anonymous mappings.
 *
 * In a target malloc belongs to the program: it may be the probed function, its lock may be held by a
 * stopped thread, and its heap is the program's to account for. One arena a process, one internal spin lock.
 * Not at a hit and not in a signal handler. Any thread.
 */
#ifndef INLAY_BASE_ARENA_H
#define INLAY_BASE_ARENA_H

#include "base/types.h"

/* size bytes, zeroed, 16-aligned; NULL when the kernel gives no more memory. Freed with arena_free. */
void *arena_alloc(size_t size);
/* A block of the new size with the old contents, bytes beyond them zeroed; NULL: nothing changed. block may be NULL. */
void *arena_resize(void *block, size_t size);
/* NULL accepted. */
void arena_free(void *block);
/* Bytes now handed out, headers included: for leak tests. */
size_t arena_in_use(void);

#endif
