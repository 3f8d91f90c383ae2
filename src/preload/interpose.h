/* SPDX-License-Identifier: BSD-2-Clause */
/* Definitions of syscall, mmap, mmap64, epoll_ctl and close that know our objects; see interpose.c. */
#ifndef INLAY_PRELOAD_INTERPOSE_H
#define INLAY_PRELOAD_INTERPOSE_H

/* Does nothing. A reference to it makes a linker take the definitions in front of libc's. */
void interpose_anchor(void);

#endif
