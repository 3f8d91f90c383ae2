/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies from and to the client's memory, where attributes point. It is this process's own, but a bad pointer must be
 * answered -EFAULT as the kernel answers it, so the copies are made by the kernel. Any thread; no state.
 */
#ifndef INLAY_OBJECT_USER_H
#define INLAY_OBJECT_USER_H

#include "base/types.h"

/* 0 or -EFAULT. size 0 succeeds whatever the pointer. */
int user_read(void *to, u64 from, size_t size);
int user_write(u64 to, const void *from, size_t size);
/* Reads a string with its NUL into room bytes; its length without NUL, -EFAULT, or -E2BIG when it does not end in time. */
int user_read_string(char *to, u64 from, size_t room);
/* A fresh copy (malloc; owned by the caller) in *ret_copy. 0, -EFAULT or -ENOMEM. */
int user_copy(u64 from, size_t size, void **ret_copy);

#endif
