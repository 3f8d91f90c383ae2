/* SPDX-License-Identifier: BSD-2-Clause */
/* The SIGSEGV and SIGBUS handlers. Private to exec/fault*.c. */
#ifndef INLAY_EXEC_FAULT_SIGNAL_H
#define INLAY_EXEC_FAULT_SIGNAL_H

/* Puts our handlers in front of whatever is installed now; does nothing where they already are. 0 or -errno. */
int fault_signal_install(void);
/* Puts back what was there, where the handler is still ours. */
void fault_signal_remove(void);

#endif
