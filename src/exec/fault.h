/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads that may fault (design decision 11).
 *
 * A bad pointer must cost the target nothing, whatever signals its threads block. So a load is a plain load
 * only where the address lies in a snapshot of the process's readable mappings (refreshed by the agent's
 * thread, published by one pointer); elsewhere it is a process_vm_readv of one's own memory, which answers
 * -EFAULT. A mapping that vanished since the snapshot faults at an instruction listed in an exception table;
 * the SIGSEGV/SIGBUS handler resumes at its fixup and passes every other fault on to the program's handler.
 */
#ifndef INLAY_EXEC_FAULT_H
#define INLAY_EXEC_FAULT_H

#include "base/types.h"

/* Installs the handler and takes the first snapshot. Returns 0 or -errno. Once a process; agent thread or loader. */
int fault_init(void);
/* Puts the program's own handlers back where they are still ours. */
void fault_done(void);
/* Takes a new snapshot and, where the program has put a handler of its own in our place since, chains to that; the old
 * snapshot is freed after sync_grace(). Agent thread. Returns 0 or -errno. */
int fault_refresh(void);
/* Only the handlers' part of it: two system calls, for the agent's every tick. Nothing outside fault_init ... fault_done. */
void fault_keep_handlers(void);
/* Set to 1 when the snapshot proved old: a load outside it succeeded, or one inside it faulted. fault_refresh clears it. */
extern u32 fault_wants_refresh;

/* Copies size bytes. Returns 0 or -EFAULT (then `to` is zeroed, as bpf_probe_read does). Any thread, at a hit. */
int fault_read(void *to, u64 from, u32 size);
/* Copies a string with its NUL, cut to size bytes with NUL. Returns its length with NUL or -EFAULT (`to` zeroed). */
int fault_read_str(char *to, u64 from, u32 size);
/* Loads through BTF pointers: the value, or 0. Called by JITed code for INSN_MODE_PROBE_MEM when it does not inline. */
u64 fault_load(u64 address, u32 size);

#endif
