/* SPDX-License-Identifier: BSD-2-Clause */
/* Which registers may hold a pointer, before the search knows: a forward dataflow. */
#ifndef INLAY_VERIFY_MAY_POINT_H
#define INLAY_VERIFY_MAY_POINT_H

#include "verify/verify_priv.h"

/* Fills may_point of every instruction. A register that is not in it holds a number on every path. */
void may_point_analyse(struct verifier *env);

#endif
