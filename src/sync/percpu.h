/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slots instead of CPUs (design decision 9).
 *
 * A user thread can be preempted inside a program, so its CPU number protects nothing. A program run that uses
 * a per-CPU map takes a slot for its duration: the CPU's own if it is free, else the next free one; slots =
 * possible CPUs. Slot words are robust lock words in the *map group's* shared memory (participant + thread),
 * so slots of a killed process come free. A run that finds none after a bounded wait is missed.
 */
#ifndef INLAY_SYNC_PERCPU_H
#define INLAY_SYNC_PERCPU_H

#include "base/types.h"

#define PERCPU_MAX 1024

/* Possible CPUs, as /sys/devices/system/cpu/possible says (what libbpf_num_possible_cpus gives). */
u32 percpu_count(void);

/* The slot table of this user's processes; mapped from the registry file. Set once by object/ or the agent. */
void percpu_set_table(u64 *slots, u32 count);

/* Takes a slot, nested runs of one thread share it. Returns the slot or -EBUSY. At a hit. */
int percpu_enter(void);
void percpu_leave(void);
/* The slot the calling thread holds, or its CPU number when it holds none (system call side). */
u32 percpu_slot(void);

#endif
