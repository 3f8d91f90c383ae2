/* SPDX-License-Identifier: BSD-2-Clause */
/* Which expected_attach_type goes with which program type. */
#ifndef INLAY_OBJECT_PROG_TYPE_H
#define INLAY_OBJECT_PROG_TYPE_H

#include "base/types.h"

/* The attach type that a load without one means, for types whose first attach type is not 0. */
u32 prog_type_fix_attach(u32 prog_type, u32 attach_type);
/* 0 or -EINVAL, as BPF_PROG_LOAD. */
int prog_type_check_attach(u32 prog_type, u32 attach_type);
/* May BPF_PROG_LOAD of this type name an attach_btf_id? */
bool prog_type_takes_btf_id(u32 prog_type);

#endif
