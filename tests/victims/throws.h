/* SPDX-License-Identifier: BSD-2-Clause */
/* What throws.cc and throws_frames.c know of each other. */
#ifndef INLAY_TESTS_VICTIMS_THROWS_H
#define INLAY_TESTS_VICTIMS_THROWS_H

#define PROBED __attribute__((noinline, noclone))

#ifdef __cplusplus
extern "C" {
#endif

extern int destroyed; /* frames of middle() that were left, one way or the other */

int thrower(int how, void *to);
int middle(int how, int level, void *to);
int outer(int how, void *to);
/* Called by thrower: does what is asked. */
int act(int how, void *to);

#ifdef __cplusplus
}
#endif

#endif
