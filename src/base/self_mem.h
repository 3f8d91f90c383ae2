/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * This process's memory through /proc/PID/mem: the one way to write code without ever mapping it writable.
 *
 * What is written becomes a private page of the process: a child that was forked before keeps what it had, and one
 * call's bytes within a page are written all before or all after a fork. An address that has been unmapped is an
 * error, not a fault. A child of fork() never writes to its parent: the descriptor belongs to the process that it was
 * set or opened in, and others open their own. Any thread; not at a hit.
 */
#ifndef INLAY_BASE_SELF_MEM_H
#define INLAY_BASE_SELF_MEM_H

#include "base/types.h"

/*
 * The descriptor to use, which a process may be given because it could not open it itself; owned. Closes the one
 * before. -1: none (the next use opens /proc/self/mem). Not while another thread reads or writes.
 */
void self_mem_set_fd(int fd);
/* 0, or -errno; -EIO when only part could be read or written. */
int self_mem_read(u64 address, void *to, u32 size);
int self_mem_write(u64 address, const void *from, u32 size);

#endif
