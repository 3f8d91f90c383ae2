/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * May a stopped thread be borrowed for dlopen?
 *
 * dlopen takes the allocator's and the dynamic linker's locks. Another thread that holds one will let it go; the borrowed thread
 * itself never would. So a thread is fit only when none of its frames is in code that holds such a lock. Loader.
 */
#ifndef INLAY_AGENT_SAFE_H
#define INLAY_AGENT_SAFE_H

#include "base/sys_regs.h"
#include "binary/process.h"

struct safe;

/* Reads what judging needs; before any thread is stopped. 0 or -errno. */
int safe_open(struct process *process, struct safe **ret_safe);
void safe_close(struct safe *safe);
/* The thread is stopped under the caller's ptrace, with these registers. */
bool safe_thread(struct safe *safe, pid_t tid, const sys_regs *regs);

#endif
