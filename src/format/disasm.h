/* SPDX-License-Identifier: BSD-2-Clause */
/* One instruction as text, in the format of the kernel's verifier log and of bpftool: "(b7) r0 = 0". */
#ifndef INLAY_FORMAT_DISASM_H
#define INLAY_FORMAT_DISASM_H

#include "format/insn.h"

#define DISASM_MAX 96

/* insn[1] is read for 64-bit constants. buffer is always terminated. Pure; any thread. */
void disasm_insn(const struct bpf_insn *insn, char *buffer, size_t size);
/* The same, with the name of the helper that a call of one means ("bpf_map_lookup_elem"; NULL: unknown). */
void disasm_insn_calling(const struct bpf_insn *insn, const char *helper, char *buffer,
			 size_t size);
/* The same, asking for the name: NULL when the number has none. */
typedef const char *(*disasm_helper_name)(u32 id);
void disasm_insn_named(const struct bpf_insn *insn, disasm_helper_name name, char *buffer,
		       size_t size);

#endif
