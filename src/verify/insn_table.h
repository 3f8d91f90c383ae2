/* SPDX-License-Identifier: BSD-2-Clause */
/* Is one instruction well formed, by itself? One row an opcode; no state. */
#ifndef INLAY_VERIFY_INSN_TABLE_H
#define INLAY_VERIFY_INSN_TABLE_H

#include "format/insn.h"

struct verifier;

/* Is there an instruction with this opcode byte? */
bool insn_table_knows(u8 code);
/* Reserved fields and operand ranges. 0 or -EINVAL with the log line written. */
int insn_table_check(struct verifier *env, const struct bpf_insn *insn);

#endif
