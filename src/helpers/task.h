/* SPDX-License-Identifier: BSD-2-Clause */
/* What the helpers about the running task prepare before the first hit. */
#ifndef INLAY_HELPERS_TASK_H
#define INLAY_HELPERS_TASK_H

/* Learns the process's id in a way that notices forks. Idempotent, any thread, not at a hit. */
void task_init(void);

#endif
