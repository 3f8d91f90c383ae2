/* SPDX-License-Identifier: BSD-2-Clause */
/* What /proc/PID/status and stat say that decides whether a process can be entered. */
#ifndef INLAY_BINARY_STATUS_H
#define INLAY_BINARY_STATUS_H

#include "binary/process.h"

/* Fills the facts that need no ELF file. 0, -ESRCH, -EACCES or -errno, with elf_file_set_problem called. */
int status_read(pid_t pid, struct process_facts *facts);

#endif
