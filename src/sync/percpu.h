/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slots instead of CPUs (design decision 9).
 *
 * A user thread can be preempted inside a program, so its CPU number protects nothing. A program run that uses
 * a per-CPU map takes a slot for its duration: the one it had last (at first its CPU's) if that is free, else the next
 * free one; slots = possible CPUs. Slot words are owner words as in shared_lock.h, in the registry file that all
 * participants of the user map, so slots of a killed process come free. A run that finds none after a bounded wait is
 * missed.
 *
 *   enter: CAS 0 (or a gone owner) -> owner, acquire: sees the last holder's writes to its slot of every map
 *   leave: store 0, release
 *   nested (signal handler, tail call): the same slot, counted in the thread's reader record. The outer run may be in the
 *   middle of a read-modify-write: as in the kernel, where an NMI's program shares the CPU with the one it interrupts.
 */
#ifndef INLAY_SYNC_PERCPU_H
#define INLAY_SYNC_PERCPU_H

#include "base/types.h"

#define PERCPU_MAX 1024

/* Possible CPUs, as /sys/devices/system/cpu/possible says (what libbpf_num_possible_cpus gives). Read once; 1 where that
 * cannot be read. Call it first outside a hit. */
u32 percpu_count(void);

/* The slot table; count <= PERCPU_MAX. Set once by whoever maps it; participant_join offers the registry file's. */
void percpu_set_table(u64 *slots, u32 count);
/* The same, unless there is a table already. Without any, a table of this process serves. */
void percpu_offer_table(u64 *slots, u32 count);

/* Takes a slot, nested runs of one thread share it. Returns the slot or -EBUSY. At a hit. */
int percpu_enter(void);
void percpu_leave(void);
/* The slot the calling thread holds, or its CPU number (below percpu_count) when it holds none (system call side). */
u32 percpu_slot(void);

#endif
