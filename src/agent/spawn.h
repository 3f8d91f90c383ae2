/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start a command and hold it at its program's first instruction, so that probes are in place before it runs (`-c`).
 *
 * The dynamic linker has finished by then: every library the command is linked to is there. While it is held it is our ptrace
 * child and dies with us. All calls come from the thread that started it.
 */
#ifndef INLAY_AGENT_SPAWN_H
#define INLAY_AGENT_SPAWN_H

#include <sys/types.h>

/* argv[0] is looked up in PATH. 0 and the held child's pid; -errno of exec, -ECHILD (it ended before its first instruction). */
int spawn_start(char *const argv[], pid_t *ret_pid);
/* The thread that is held, when pid is a process that is; else 0. */
pid_t spawn_held(pid_t pid);
/* Lets it run, from now on as an ordinary child. 0 or -ESRCH. */
int spawn_resume(pid_t pid);
/* Ends a held child and collects it. */
void spawn_kill(pid_t pid);

#endif
