/* SPDX-License-Identifier: BSD-2-Clause */
/* What the client says about the types of functions, as far as safety depends on it. */
#ifndef INLAY_VERIFY_FUNC_INFO_H
#define INLAY_VERIFY_FUNC_INFO_H

#include "verify/verify_priv.h"

/*
 * A tail call or a packet load may end a subprogram, with a number as its result: allowed only where the subprogram is
 * known to return one. 0 or -EINVAL with the log line. Subprograms are known, nothing else yet.
 */
int func_info_check_ends(struct verifier *env);

#endif
