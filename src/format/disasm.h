/* SPDX-License-Identifier: BSD-2-Clause */
/* One instruction as text, in the format of the kernel's verifier log and of bpftool: "(b7) r0 = 0". */
#ifndef INLAY_FORMAT_DISASM_H
#define INLAY_FORMAT_DISASM_H

#include "format/insn.h"

#define DISASM_MAX 96

/* insn[1] is read for 64-bit constants. buffer is always terminated. Pure; any thread. */
void disasm_insn(const struct bpf_insn *insn, char *buffer, size_t size);
/* Where a client resolves names: returns the name of a helper ("bpf_map_lookup_elem") or NULL. */
typedef const char *(*disasm_helper_name)(u32 id);
void disasm_insn_named(const struct bpf_insn *insn, disasm_helper_name helper, char *buffer,
		       size_t size);

#endif
